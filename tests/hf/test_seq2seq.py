"""Encoders with decoders generate, token by token, what transformers generates with them; what cross-attention reads is
computed once."""

from __future__ import annotations

import json

import onnxruntime
import pytest
import torch
import transformers

from fxonnx import errors
from fxonnx.hf import Seq2SeqLM, compile_seq2seq

TOKENS = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
RELATIVE = {
    **TOKENS, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0,
}  # fmt: skip
ABSOLUTE = {
    **TOKENS, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "init_std": 0.5,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37, "decoder_start_token_id": 2,
}  # fmt: skip
SPEECH = {**ABSOLUTE, "num_mel_bins": 8, "max_source_positions": 50, "suppress_tokens": [], "begin_suppress_tokens": []}

MODELS = {
    "T5ForConditionalGeneration": RELATIVE,
    "BartForConditionalGeneration": ABSOLUTE,
    "WhisperForConditionalGeneration": SPEECH,
    "MarianMTModel": ABSOLUTE,
    "M2M100ForConditionalGeneration": ABSOLUTE,
}


def made(name: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**MODELS[name])).eval()
    model.generation_config.eos_token_id = None
    return model


@pytest.fixture(scope="module")
def compiled():
    """The models, each compiled once."""
    known: dict[str, tuple[transformers.PreTrainedModel, Seq2SeqLM]] = {}

    def get(name: str) -> tuple[transformers.PreTrainedModel, Seq2SeqLM]:
        if name not in known:
            model = made(name)
            known[name] = model, compile_seq2seq(model)
        return known[name]

    return get


def given(name: str, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Features, or tokens and their mask; the second row is padded."""
    if name.startswith("Whisper"):
        return {"input_features": torch.randn(rows, 8, 100)}
    tokens, mask = torch.randint(3, 99, (rows, length)), torch.ones(rows, length, dtype=torch.long)
    tokens[1:2, length // 2 :], mask[1:2, length // 2 :] = 0, 0
    return {"input_ids": tokens, "attention_mask": mask}


def generated(model: transformers.PreTrainedModel | Seq2SeqLM, **arguments: object) -> torch.Tensor:
    torch.manual_seed(7)
    return model.generate(max_new_tokens=32, **{"do_sample": False, **arguments})


@pytest.mark.parametrize("name", MODELS)
def test_generates_what_transformers_generates(name: str, compiled) -> None:
    model, ours = compiled(name)
    for rows, length in ((1, 7), (4, 9)):
        inputs = given(name, rows, length)
        assert torch.equal(generated(ours, **inputs), generated(model, **inputs)), rows


@pytest.mark.parametrize("options", [{"do_sample": True}, {"num_beams": 3}], ids=["sampled", "beams"])
def test_other_ways_to_choose_tokens(options, compiled) -> None:
    model, ours = compiled("T5ForConditionalGeneration")
    for rows, length in ((1, 1), (4, 9)):
        inputs = given("T5", rows, length)
        assert torch.equal(generated(ours, **inputs, **options), generated(model, **inputs, **options)), rows


def test_a_prompt_of_the_decoder(compiled) -> None:
    model, ours = compiled("BartForConditionalGeneration")
    inputs = given("Bart", 2, 6)
    start = torch.tensor([[2, 5, 6], [0, 2, 7]])
    for mask in (None, (start != 0).long()):
        prompted = {**inputs, "decoder_input_ids": start, "decoder_attention_mask": mask}
        assert torch.equal(generated(ours, **prompted), generated(model, **prompted))


def test_a_whisper_starts_with_the_tokens_that_are_asked_for(compiled) -> None:
    model, ours = compiled("WhisperForConditionalGeneration")
    inputs = {**given("Whisper", 2, 0), "decoder_input_ids": torch.tensor([[2, 50, 60, 61]] * 2)}
    assert torch.equal(generated(ours, **inputs), generated(model, **inputs))


def test_states_of_the_callers_own(compiled) -> None:
    model, ours = compiled("T5ForConditionalGeneration")
    inputs = given("T5", 2, 6)
    with torch.no_grad():
        states = model.get_encoder()(**inputs)
    given_states = {"encoder_outputs": states, "attention_mask": inputs["attention_mask"]}
    assert torch.equal(generated(ours, **given_states), generated(model, **inputs))


def test_a_step_is_a_step_of_the_model(compiled) -> None:
    model, ours = compiled("T5ForConditionalGeneration")
    inputs = {**given("T5", 2, 6), "decoder_input_ids": torch.randint(3, 99, (2, 4))}
    with torch.no_grad():
        theirs = model(**inputs)
    result = ours(**inputs)
    torch.testing.assert_close(result.logits, theirs.logits)
    assert result.past_key_values.get_seq_length() == 4


def test_the_files_call_the_caches_as_others_do(tmp_path, compiled) -> None:
    compiled("WhisperForConditionalGeneration")[1].save(tmp_path)
    config = json.loads((tmp_path / "genai_config.json").read_text())["model"]
    for half in ("encoder", "decoder"):
        path = tmp_path / config[half]["filename"]
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for side, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            names = config[half][side].values()
            wanted = {name % layer if "%" in name else name for name in names for layer in range(2)}
            assert wanted == {each.name for each in values}


def test_the_decoder_computes_no_keys_of_the_encoder(compiled) -> None:
    decoder = compiled("T5ForConditionalGeneration")[1].decoder
    names = {value.name for value in decoder.graph.constants()}
    assert not [name for name in names if name and "EncDecAttention.k" in name]


def test_attentions_are_refused(compiled) -> None:
    ours = compiled("T5ForConditionalGeneration")[1]
    with pytest.raises(errors.InvalidOption, match="output_attentions"):
        ours.generate(**given("T5", 1, 5), output_attentions=True, return_dict_in_generate=True)


def test_what_has_no_encoder_is_said() -> None:
    config = transformers.GPT2Config(vocab_size=99, n_embd=32, n_layer=1, n_head=2)
    with pytest.raises(errors.NotAModel, match="no encoder"):
        compile_seq2seq(transformers.GPT2LMHeadModel(config))


def test_an_example_is_asked_for() -> None:
    model = made("WhisperForConditionalGeneration")
    model.main_input_name = "input_values"
    with pytest.raises(errors.InvalidOption, match="input_values"):
        compile_seq2seq(model)
