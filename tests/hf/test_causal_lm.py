"""Decoders generate, token by token, what transformers generates with them: greedy and sampled, one prompt and padded
ones, prompts longer and shorter than a sliding window."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from fxonnx import errors
from fxonnx.hf import CausalLM, compile_causal_lm, load

TOKENS = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
SMALL = {
    **TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 2}
EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "head_dim": 8}
LATENT = {
    **SMALL, "moe_intermediate_size": 16, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "kv_lora_rank": 8,
    "num_experts_per_tok": 2, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
    "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip

MODELS = {
    "LlamaForCausalLM": GROUPED,
    "Qwen2ForCausalLM": GROUPED,
    "Qwen3ForCausalLM": {**GROUPED, "head_dim": 8},
    "Gemma2ForCausalLM": {**GROUPED, "head_dim": 8, "sliding_window": 4},
    "Gemma3ForCausalLM": {**GROUPED, "head_dim": 8, "sliding_window": 4},
    "MistralForCausalLM": {**GROUPED, "sliding_window": 4},
    "Phi3ForCausalLM": {**GROUPED, "sliding_window": None},
    "GPT2LMHeadModel": {**TOKENS, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "GPTNeoXForCausalLM": SMALL,
    "OPTForCausalLM": {**SMALL, "ffn_dim": 37, "word_embed_proj_dim": 32},
    "FalconForCausalLM": SMALL,
    "BloomForCausalLM": {**TOKENS, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "Glm4ForCausalLM": {**GROUPED, "head_dim": 8},
    "MixtralForCausalLM": {**GROUPED, "num_local_experts": 4},
    "Qwen3MoeForCausalLM": {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 16},
    "GptOssForCausalLM": {**EXPERTS, "num_local_experts": 4, "sliding_window": 4},
    "DeepseekV3ForCausalLM": LATENT,
    "Lfm2ForCausalLM": {**GROUPED, "layer_types": ["conv", "full_attention"]},
    "Mamba2ForCausalLM": {**TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "num_heads": 4,
                          "head_dim": 16, "expand": 2, "n_groups": 1, "chunk_size": 4},
    "MambaForCausalLM": {**TOKENS, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4},
    "CohereForCausalLM": GROUPED,
    "GPTJForCausalLM": {**TOKENS, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64},
    "BartForCausalLM": {**TOKENS, "d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 4,
                        "decoder_ffn_dim": 40},
}  # fmt: skip
PROMPTS = ((1, 7), (4, 9), (4, 5))


def made(name: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return kind(kind.config_class(**MODELS[name])).eval()


def prompt(rows: int, length: int) -> dict[str, torch.Tensor]:
    """Tokens and their mask; the second row is padded on the left."""
    tokens, mask = torch.randint(3, 99, (rows, length)), torch.ones(rows, length, dtype=torch.long)
    tokens[1:2, : length // 2], mask[1:2, : length // 2] = 0, 0
    return {"input_ids": tokens, "attention_mask": mask}


def generated(model: transformers.PreTrainedModel | CausalLM, **arguments: object) -> torch.Tensor:
    torch.manual_seed(7)
    return model.generate(max_new_tokens=32, **arguments)


@pytest.mark.parametrize("name", MODELS)
def test_generates_what_transformers_generates(name: str) -> None:
    model = made(name)
    compiled = compile_causal_lm(model)
    for rows, length in PROMPTS:
        given = prompt(rows, length)
        for sample in (False, True) if rows > 1 else (False,):
            ours, theirs = (generated(each, do_sample=sample, **given) for each in (compiled, model))
            assert torch.equal(ours, theirs), (rows, length, sample)


@pytest.mark.parametrize("length", [1, 2])
def test_a_prompt_of_one_token(length: int) -> None:
    model = made("LlamaForCausalLM")
    compiled = compile_causal_lm(model)
    given = prompt(1, length)
    assert torch.equal(generated(compiled, **given), generated(model, **given))


def test_beams() -> None:
    model = made("GPT2LMHeadModel")
    compiled = compile_causal_lm(model)
    given = {**prompt(2, 6), "num_beams": 3}
    assert torch.equal(generated(compiled, **given), generated(model, **given))


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_a_step_is_a_step_of_the_model(name: str) -> None:
    model = made(name)
    compiled = compile_causal_lm(model)
    given = prompt(2, 6)
    with torch.no_grad():
        theirs = model(**given)
    ours = compiled(**given)
    torch.testing.assert_close(ours.logits, theirs.logits)
    assert ours.past_key_values.get_seq_length() == 6


def test_verify_compares_on_several_tokens_and_a_past_that_is_not_zero() -> None:
    compiled = compile_causal_lm(made("LlamaForCausalLM")).compiled
    compiled.verify().check()
    constant = [name for name, each in zip(compiled.program.signature.names, compiled.examples, strict=True)
                if len(each.unique()) == 1]  # fmt: skip
    assert constant == ["attention_mask"]


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "Gemma2ForCausalLM", "Gemma3ForCausalLM"])
def test_a_cache_that_grows_where_it_lies(name: str) -> None:
    model = made(name)
    compiled = compile_causal_lm(model, cache="shared")
    for rows, length in PROMPTS:
        given = prompt(rows, length)
        arguments = {"do_sample": rows > 1, **given}
        assert torch.equal(generated(compiled, **arguments), generated(model, **arguments)), (rows, length)


def test_a_shared_cache_is_moved_by_beams_and_when_it_is_full() -> None:
    model = made("LlamaForCausalLM")
    compiled = compile_causal_lm(model, cache="shared")
    for options in ({"num_beams": 3}, {"max_new_tokens": 90}):
        given = {"do_sample": False, "max_new_tokens": 32, **prompt(2, 6), **options}
        assert torch.equal(compiled.generate(**given), model.generate(**given))


def test_a_shared_cache_stays_where_it_is() -> None:
    compiled = compile_causal_lm(made("LlamaForCausalLM"), cache="shared")
    cache = compiled(input_ids=torch.randint(3, 99, (2, 6))).past_key_values
    for tokens in (1, 3, 1):  # a cache that is cut is written over
        compiled(input_ids=torch.randint(3, 99, (2, tokens)), past_key_values=cache)
    memory = cache.layers[0].keys.data_ptr()
    before = cache.layers[0].keys.clone()
    compiled(input_ids=torch.randint(3, 99, (2, 2)), past_key_values=cache)
    assert cache.layers[0].keys.data_ptr() == memory
    assert torch.equal(cache.layers[0].keys[:, :, :11], before)
    assert cache.get_seq_length() == 13


def test_a_file_with_a_shared_cache_takes_prompts_and_steps(tmp_path) -> None:
    model = made("LlamaForCausalLM")
    compile_causal_lm(model, cache="shared").save(tmp_path)
    assert json.loads((tmp_path / "genai_config.json").read_text())["search"]["past_present_share_buffer"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    given = {name: each.numpy() for name, each in prompt(2, 6).items()}
    tokens, mask = given["input_ids"], given["attention_mask"]
    cache = {each.name: np.zeros((2, 2, 50, 8), np.float32) for each in session.get_inputs() if "past" in each.name}
    text = [tokens]
    for _ in range(8):
        places = (mask.cumsum(-1) - 1).clip(min=0)[:, -tokens.shape[1] :]
        feed = {"input_ids": tokens, "attention_mask": mask, "position_ids": places, **cache}
        results = dict(zip(names, session.run(None, feed), strict=True))
        tokens = results["logits"][:, -1:].argmax(-1)
        text.append(tokens)
        mask = np.concatenate([mask, np.ones_like(tokens)], 1)
        cache = {name: results[name.replace("past_key_values", "present")] for name in cache}
    expected = model.generate(max_new_tokens=8, do_sample=False, **{k: torch.from_numpy(v) for k, v in given.items()})
    assert np.array_equal(np.concatenate(text, 1), expected)


@pytest.mark.parametrize("cache", ["copy", "shared"])
def test_a_folder_that_is_loaded_generates_the_same(cache: str, tmp_path) -> None:
    model = made("LlamaForCausalLM")
    compile_causal_lm(model, cache=cache).save(tmp_path)
    loaded = load(tmp_path)
    for rows, length in (*PROMPTS, (1, 1)):
        for options in ({"do_sample": True}, {"num_beams": 2}):
            given = {**prompt(rows, length), **options}
            assert torch.equal(generated(loaded, **given), generated(model, **given)), (rows, length)


@pytest.mark.parametrize("cache", ["copy", "shared"])
def test_logits_of_the_last_token_alone(cache: str, tmp_path) -> None:
    model, given = made("LlamaForCausalLM"), prompt(4, 9)
    compiled = compile_causal_lm(model, cache=cache, logits="last")
    assert [str(size) for size in compiled.compiled.graph.outputs[0].type.shape] == ["batch", "1", "99"]
    compiled.save(tmp_path / "llama")
    for steps in (compiled, load(tmp_path / "llama")):
        assert torch.equal(generated(steps, **given), generated(model, **given))
        assert torch.equal(generated(steps, num_beams=3, **given), generated(model, num_beams=3, **given))
        ours, theirs = (each(**given, logits_to_keep=1).logits for each in (steps, model))
        torch.testing.assert_close(ours, theirs)
        with pytest.raises(errors.InvalidOption, match="logits of the last token"):
            steps(**given)


def test_what_keeps_the_logits_of_all_tokens_is_said() -> None:
    class Llama(transformers.LlamaForCausalLM):
        def forward(self, input_ids=None, attention_mask=None, past_key_values=None, use_cache=None):
            return super().forward(input_ids, attention_mask, None, past_key_values, use_cache=use_cache)

    with pytest.raises(errors.InvalidOption, match="computes those of all tokens"):
        compile_causal_lm(Llama(transformers.LlamaConfig(**MODELS["LlamaForCausalLM"])), logits="last")
    with pytest.raises(errors.InvalidOption, match="logits='first'"):
        compile_causal_lm(made("GPT2LMHeadModel"), logits="first")


def test_a_folder_that_cannot_be_loaded_is_said(tmp_path) -> None:
    compile_causal_lm(made("Lfm2ForCausalLM")).save(tmp_path)
    assert (tmp_path / "prefill.onnx").exists()
    with pytest.raises(errors.CannotRead, match="no cache of keys and values"):
        load(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(errors.CannotRead, match="does not tell its model"):
        load(tmp_path)


def test_what_cannot_be_shared_is_said() -> None:
    with pytest.raises(errors.InvalidOption, match="state of fixed size"):
        compile_causal_lm(made("Lfm2ForCausalLM"), cache="shared")
    with pytest.raises(errors.InvalidOption, match="can grow in place"):
        compile_causal_lm(made("LlamaForCausalLM"), cache="shared", opset=21)
    with pytest.raises(errors.InvalidOption, match="it is one of 'copy', 'shared'"):
        compile_causal_lm(made("LlamaForCausalLM"), cache="moved")


def test_a_model_that_is_asked_to_keep_no_cache() -> None:
    model = made("LlamaForCausalLM")
    compiled = compile_causal_lm(model)
    given = {**prompt(2, 6), "use_cache": False}
    assert torch.equal(generated(compiled, **given), generated(model, **given))


def test_the_folder_has_what_others_load(tmp_path) -> None:
    compile_causal_lm(made("LlamaForCausalLM")).save(tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    config = json.loads((tmp_path / "genai_config.json").read_text())["model"]["decoder"]
    inputs, outputs = ({each.name for each in values} for values in (session.get_inputs(), session.get_outputs()))
    for names, there in ((config["inputs"], inputs), (config["outputs"], outputs)):
        wanted = {name % layer if "%" in name else name for name in names.values() for layer in range(2)}
        assert wanted == there
    assert {"config.json", "generation_config.json"} <= {path.name for path in tmp_path.iterdir()}


def test_what_generates_without_a_cache_is_said() -> None:
    config = transformers.OpenAIGPTConfig(vocab_size=99, n_embd=32, n_layer=1, n_head=2)
    with pytest.raises(errors.NotAModel, match="without a cache"):
        compile_causal_lm(transformers.OpenAIGPTLMHeadModel(config))


def test_what_is_no_decoder_is_said() -> None:
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=37)
    with pytest.raises(errors.NotAModel, match="no language model"):
        compile_causal_lm(transformers.BertModel(config))


@pytest.mark.parametrize("logits", ["all", "last"])
@pytest.mark.parametrize("cache", ["copy", "shared"])
def test_genai_loads_the_folder_and_generates_the_same(cache: str, logits: str, tmp_path) -> None:
    genai = pytest.importorskip("onnxruntime_genai")
    model, given = made("LlamaForCausalLM"), torch.randint(3, 99, (1, 6))
    compile_causal_lm(model, cache=cache, logits=logits).save(tmp_path)
    loaded = genai.Model(str(tmp_path))
    options = genai.GeneratorParams(loaded)
    options.set_search_options(max_length=12, do_sample=False)
    generator = genai.Generator(loaded, options)
    generator.append_tokens(given.int().numpy())
    while not generator.is_done():
        generator.generate_next_token()
    expected = model.generate(given, max_length=12, min_length=12, do_sample=False)
    assert [*generator.get_sequence(0)] == expected[0].tolist()
