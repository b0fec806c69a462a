"""Encoders and decoders of transformers, compiled as two programs, generating by transformers' own loop."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils import ModelOutput

from fxonnx.compiled import Compiled
from fxonnx.compiler import compile as compile_model
from fxonnx.errors import InvalidOption, NotAModel
from fxonnx.hf.caches import ask_ahead, states_like
from fxonnx.hf.genai import AUDIO, write_speech_config
from fxonnx.hf.halves import Decoder, Encoder, cache_of, names
from fxonnx.hf.twin import refuse_inner, twin_of

_ROWS, _SOURCE, _PAST, _NEW = 2, 7, 5, 3  # of an example: rows, tokens that the encoder reads, decoded, and to come
_TOKENS: Mapping[int, str] = {0: "batch", 1: "sequence"}
_DIMS: Mapping[str, Mapping[int, str]] = {
    "decoder_input_ids": _TOKENS, "decoder_position_ids": _TOKENS, "decoder_attention_mask": {0: "batch", 1: "total"},
}  # fmt: skip
_PASTS: Mapping[int, str] = {0: "batch", 2: "past"}
_BATCH: Mapping[int, str] = {0: "batch"}
_TEXT: tuple[Mapping[int, str], ...] = {0: "batch", 1: "encoder_sequence"}, {0: "batch", 2: "encoder_sequence"}
_CROSS = "cross"


def compile_seq2seq(model: Any, inputs: Mapping[str, Tensor] | None = None, **options: Any) -> Seq2SeqLM:
    """Compile a `…ForConditionalGeneration` of transformers as an encoder and a decoder that share its weights.

    The encoder takes any batch of `input_ids` and `attention_mask`, or of features, and returns
    `encoder_hidden_states`, f32[batch, encoder_sequence, width], and `present.N.encoder.key` and `.value`,
    f32[batch, heads, encoder_sequence, size]: what cross-attention reads of them, computed once. The decoder takes
    `decoder_input_ids`, i64[batch, sequence], the `attention_mask`, these as `past_key_values.N.encoder.key` and those
    of earlier tokens as `past_key_values.N.decoder.key`, and returns `logits`, f32[batch, sequence, vocabulary], and
    `present.N.decoder.key` and `.value`.

    `inputs` is an example of two rows of what the encoder takes, by name, where these are neither tokens nor the
    features of a Whisper; `options` are `fxonnx.compile`'s. Raises NotAModel for what has no encoder, or no cache of
    what it reads; InvalidOption where an example is missing; and what compiling raises.
    """
    if not getattr(model.config, "is_encoder_decoder", False) or not getattr(model, "can_generate", bool)():
        raise NotAModel(
            f"{type(model).__name__} is no encoder with a decoder that generates",
            cause="its config does not say is_encoder_decoder, or it has no generate() of transformers' own",
            cure="give a …ForConditionalGeneration of transformers; decoders compile with compile_causal_lm",
        )
    return Seq2SeqLM(model, dict(_example(model) if inputs is None else inputs), options)


def _example(model: Any) -> dict[str, Tensor]:
    """What the encoder takes, where its config tells."""
    name, config = model.main_input_name, model.config
    if name == "input_ids":
        tokens = torch.arange(_ROWS * _SOURCE).reshape(_ROWS, _SOURCE)
        return {name: tokens, "attention_mask": torch.ones_like(tokens)}
    if name == "input_features" and hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):
        stride = model.get_encoder().conv1.stride[0] * model.get_encoder().conv2.stride[0]
        sizes = _ROWS, config.num_mel_bins, stride * config.max_source_positions
        return {name: torch.linspace(-1, 1, math.prod(sizes)).reshape(sizes)}
    raise InvalidOption(
        f"the encoder of {type(model).__name__} reads {name}, of sizes that its config does not tell",
        cause="an example shows them",
        cure=f'compile_seq2seq(model, {{"{name}": …}}), two rows as the processor makes them',
    )


class Seq2SeqLM:
    """A compiled model: `encoder` is run once for an input, `decoder` for every token.

    `generate` is transformers' own: the same arguments, processors, criteria and random numbers; each step runs in ONNX
    Runtime, and the caches stay in its tensors from step to step.
    """

    def __init__(self, model: Any, example: dict[str, Tensor], options: Mapping[str, Any]) -> None:
        self._example, self._options = example, options
        self._parameters = inspect.signature(model.forward).parameters
        self._reading, self._crossing = _TEXT if "input_ids" in example else (_BATCH, _BATCH)
        with torch.no_grad():
            self._outputs = type(model.get_encoder()(**example))
            self._halves = Encoder(model, self._outputs).eval(), Decoder(model, self._outputs).eval()
            self._cross = self._halves[0](**example)[1:]
            self._own = _first_states(self._halves[1], example, self._cross)
        self.encoder, self.decoder = self._compiled_encoder(), self._compiled_decoder("decoder_input_ids")
        ask_ahead(self.encoder, {})
        ask_ahead(self.decoder, {"sequence": 1}, {"sequence": 1, "past": 0})
        reader = _Reader(model.get_encoder(), self._read)
        self._model = twin_of(model, self._step, get_encoder=lambda *_, **__: reader)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As `model.generate`: int64[batch, sequence] of what the decoder says, or what `return_dict_in_generate` asks
        for. Takes its arguments; raises InvalidOption for attentions and hidden states."""
        return self._model.generate(*args, **kwargs)

    def __call__(self, **kwargs: Any) -> Seq2SeqLMOutput:
        """One step: what the encoder takes, or its `encoder_outputs`, `decoder_input_ids`, and `past_key_values` of an
        earlier one. Returns what the model returns, with `logits` and `past_key_values`."""
        return self._model(**kwargs)

    def save(self, folder: str | Path, *, tokenizer: Any = None) -> Path:
        """Write `encoder_model.onnx`, `decoder_model.onnx`, their weights, `config.json` and `generation_config.json`,
        for a Whisper `genai_config.json`, which onnxruntime-genai loads, and the files of a tokenizer or processor if
        one is given. Returns the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder / "encoder_model.onnx")
        self.decoder.save(folder / "decoder_model.onnx")
        self._model.config.save_pretrained(folder)
        self._model.generation_config.save_pretrained(folder)
        if "input_features" in self._example:
            write_speech_config(folder, self._model.config, self._model.generation_config)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        return folder

    # ── running ──

    def _read(self, **given: Any) -> ModelOutput:
        """What the model's encoder returns, and beside it what cross-attention reads of it."""
        refuse_inner(given)
        inputs = {name: given[name] for name in self._example if given.get(name) is not None}
        if "attention_mask" in self._example and "attention_mask" not in inputs:
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        states, *cross = self.encoder(**inputs)
        outputs = self._outputs(last_hidden_state=states)
        outputs |= {f"{_CROSS}{number}": each for number, each in enumerate(cross)}
        return outputs

    def _step(self, **given: Any) -> Seq2SeqLMOutput:
        """What the model's forward is while it generates."""
        refuse_inner(given)
        outputs, there = given.get("encoder_outputs"), given.get("past_key_values")
        outputs = self._read(**given) if outputs is None else outputs
        cache = there
        tokens, mask = given["decoder_input_ids"], given.get("attention_mask")
        if cache is None or not any(cache.is_updated.values()):
            cache = self._started(cache, outputs, mask)
        call = {"decoder_input_ids": tokens, **self._masks(given, tokens, cache)}
        program = self.decoder if len(call) == 1 else self._padded
        if "attention_mask" in self._example:
            size = (len(tokens), cache.cross_attention_cache.get_seq_length())
            call["attention_mask"] = tokens.new_ones(size) if mask is None else mask
        logits, *_ = program(past_key_values=cache, **call)
        if there is None and given.get("use_cache") is False:  # the next step is given all tokens again
            return Seq2SeqLMOutput(logits=logits)
        return Seq2SeqLMOutput(logits=logits, past_key_values=cache)

    def _started(self, cache: Cache | None, outputs: Any, mask: Tensor | None) -> Cache:
        """A cache in which no token is yet, with what cross-attention reads; the one given, where there is one."""
        states = outputs[0]
        cross = [each for name, each in dict(outputs).items() if name.startswith(_CROSS)]
        if not cross:  # these are states of the caller's own
            with torch.no_grad():
                cross = self._halves[0].cross(states, mask)
        fresh = cache_of([states_like(each, len(states)) for each in self._own], cross)
        if cache is None:
            return fresh
        vars(cache).clear()
        vars(cache).update(vars(fresh))
        return cache

    def _masks(self, given: Mapping[str, Any], tokens: Tensor, cache: Cache) -> dict[str, Tensor]:
        """The mask and the places of the decoder's tokens, where its prompt is padded."""
        mask, past = given.get("decoder_attention_mask"), cache.get_seq_length()
        if mask is None or bool(mask.all()):
            return {}
        places = given.get("decoder_position_ids")
        usual = torch.arange(past, past + tokens.shape[1]).expand(len(tokens), -1)
        known = {"decoder_attention_mask": mask, "decoder_position_ids": usual if places is None else places}
        return {name: each.contiguous() for name, each in known.items() if name in self._parameters}

    # ── compiling ──

    def _compiled_encoder(self) -> Compiled:
        called = ["encoder_hidden_states", *names(len(self._cross) // 2, "present", "encoder")]
        dims = dict.fromkeys(self._example, self._reading)
        return compile_model(
            self._halves[0], (), self._example, dynamic_shapes=dims, output_names=called,
            input_names=[AUDIO if name == "input_features" else name for name in self._example], **self._options,
        )  # fmt: skip

    def _compiled_decoder(self, *arguments: str) -> Compiled:
        """A step, given these and what cross-attention reads."""
        shapes = {"decoder_attention_mask": (_ROWS, _PAST + _NEW)}
        call = {name: torch.ones(shapes.get(name, (_ROWS, _NEW)), dtype=torch.long) for name in arguments}
        dims = {name: _DIMS[name] for name in arguments}
        if "attention_mask" in self._example:
            call["attention_mask"], dims["attention_mask"] = self._example["attention_mask"], self._reading
        cache = cache_of([states_like(each, _ROWS, _PAST) for each in self._own], self._cross)
        dims |= dict.fromkeys(names(len(self._own) // 2, "past_key_values", "decoder"), _PASTS)
        dims |= dict.fromkeys(names(len(self._cross) // 2, "past_key_values", "encoder"), self._crossing)
        called = ["logits", *names(len(self._own) // 2, "present", "decoder")]
        given = {"past_key_values": cache, **call}
        return compile_model(self._halves[1], (), given, dynamic_shapes=dims, output_names=called, **self._options)

    @cached_property
    def _padded(self) -> Compiled:
        """The decoder for prompts of its own that are padded, compiled when the first comes."""
        return self._compiled_decoder(*(name for name in _DIMS if name in self._parameters))


class _Reader:
    """The encoder, as transformers' loop of generation finds it."""

    def __init__(self, encoder: Any, read: Callable[..., ModelOutput]) -> None:
        self.forward, self._read = encoder.forward, read

    def __call__(self, **kwargs: Any) -> ModelOutput:
        return self._read(**kwargs)


def _first_states(decoder: Decoder, example: Mapping[str, Tensor], cross: Sequence[Tensor]) -> Any:
    """The keys and values of self-attention after a first token: they show how a cache looks.

    Raises NotAModel where the decoder reads of the encoder's states what is not in the cache.
    """
    masked = {name: each for name, each in example.items() if name == "attention_mask"}
    logits, *own = decoder(cache_of((), cross), decoder_input_ids=torch.zeros(_ROWS, 1, dtype=torch.long), **masked)
    if bool(logits.isnan().any()):
        raise NotAModel(
            f"{type(decoder.model).__name__} reads the encoder's states at every token",
            cause="its cache does not hold the keys and values of its cross-attention",
            cure="compile it with fxonnx.compile, with encoder_outputs as an argument",
        )
    return own
