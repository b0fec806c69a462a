"""A decoder of transformers, compiled for any prompt and any past, generating by transformers' own loop."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fxonnx.compiled import Compiled
from fxonnx.compiler import compile as compile_model
from fxonnx.errors import NotAModel
from fxonnx.hf.caches import CacheLayout, is_empty, past_of
from fxonnx.hf.genai import write_config
from fxonnx.hf.twin import refuse_inner, twin_of

_TOKENS = {0: "batch", 1: "sequence"}
_DIMS: Mapping[str, Mapping[int, str]] = {
    "input_ids": _TOKENS, "position_ids": _TOKENS, "attention_mask": {0: "batch", 1: "total"},
}  # fmt: skip
_PAST, _NEW = 5, 3  # tokens of an example: there already, and to come


def compile_causal_lm(model: Any, **options: Any) -> CausalLM:
    """Compile a `…ForCausalLM` of transformers with its cache: any batch, prompt and past.

    `options` are `fxonnx.compile`'s. The file's inputs are `input_ids` and `attention_mask`, `position_ids` where the
    model has them, and `past_key_values.N.key` and `.value`: f32[batch, heads, past, width]; its outputs are `logits`,
    f32[batch, sequence, vocabulary], and `present.N.key` and `.value`. Recurrent layers have `.conv` and `.recurrent`
    for these, and take a prompt in another file. Raises NotAModel for what is no decoder, and what compiling raises.
    """
    if not getattr(model, "can_generate", bool)():
        raise NotAModel(
            f"{type(model).__name__} is no language model",
            cause="it has no generate() of transformers' own",
            cure="give a …ForCausalLM of transformers; others compile with fxonnx.compile",
        )
    layout = CacheLayout.of(model)
    if not layout.is_recurrent:
        call = {**_call(model, past=_PAST, tokens=_NEW), layout.argument: layout.of_size(2, _PAST)}
        return CausalLM(model, _compiled(model, call, layout, options), layout)
    first = {**_call(model, past=0, tokens=_PAST), layout.argument: layout.empty(2)}
    prefill = compile_model(model, (), {**first, "use_cache": True}, dynamic_shapes=_named(first), **options)
    step = {**_call(model, past=_PAST, tokens=1), layout.argument: layout.filled}
    return CausalLM(model, _compiled(model, step, layout, options), layout, prefill)


def _compiled(model: Any, call: dict[str, Any], layout: CacheLayout, options: Mapping[str, Any]) -> Compiled:
    """A step with a past."""
    named = {**_named(call), **dict(layout.dims())}
    return compile_model(model, (), {**call, "use_cache": True}, dynamic_shapes=named, **options)


def _named(call: Mapping[str, Any]) -> dict[str, Mapping[int, str]]:
    """The dims that vary; a lone new token is one for good."""
    lone = call["input_ids"].shape[1] == 1
    known = {name: dims for name, dims in _DIMS.items() if name in call}
    return {name: {0: "batch"} if lone and dims is _TOKENS else dims for name, dims in known.items()}


def _call(model: Any, *, past: int, tokens: int) -> dict[str, Any]:
    """The arguments of a call for two rows, by name, but for the cache."""
    parameters = inspect.signature(model.forward).parameters
    arguments = {
        "input_ids": torch.zeros(2, tokens, dtype=torch.long),
        "attention_mask": torch.ones(2, past + tokens, dtype=torch.long),
        "position_ids": torch.arange(past, past + tokens).expand(2, -1).contiguous(),
    }
    return {name: value for name, value in arguments.items() if name in parameters}


class CausalLM:
    """A compiled decoder. `compiled` is one step: tokens and a cache in, logits and the cache grown out; `prefill`
    is the first step, where it is another graph.

    `generate` is transformers' own: the same arguments, processors, criteria and random numbers; each step runs in ONNX
    Runtime, and the cache stays in its tensors from step to step.
    """

    def __init__(self, model: Any, compiled: Compiled, layout: CacheLayout, prefill: Compiled | None = None) -> None:
        self.compiled, self.prefill, self._layout = compiled, prefill, layout
        self._arguments = [name for name in compiled.program.signature.parameters.parameters if name in _DIMS]
        self._model = twin_of(model, self._step)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As `model.generate`: int64[batch, sequence] of the prompt and what follows, or what `return_dict_in_generate`
        asks for. Takes its arguments."""
        return self._model.generate(*args, **kwargs)

    def __call__(self, **kwargs: Any) -> Any:
        """One step: `input_ids`, and `attention_mask`, `position_ids`, `past_key_values` where they are not the usual
        ones. Returns what the model returns, with `logits` and `past_key_values`."""
        return self._model(**kwargs)

    def save(self, folder: str | Path, *, tokenizer: Any = None) -> Path:
        """Write `model.onnx`, its weights, `config.json`, `generation_config.json` and `genai_config.json`, and the
        tokenizer's files if one is given: what onnxruntime-genai and optimum's ORTModelForCausalLM load. Returns the
        folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.compiled.save(folder / "model.onnx")
        self._model.config.save_pretrained(folder)
        self._model.generation_config.save_pretrained(folder)
        write_config(folder, self._model.config, self._model.generation_config, self.compiled)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        return folder

    def _step(self, **given: Any) -> Any:
        """What the model's forward is while it generates."""
        refuse_inner(given)
        tokens = given["input_ids"]
        cache = given.get(self._layout.argument)
        cache = self._layout.empty(len(tokens)) if cache is None else cache
        self._layout.prepare(cache, len(tokens))
        program = self.prefill if self.prefill is not None and is_empty(cache) else self.compiled
        mask = given.get("attention_mask")
        mask = tokens.new_ones(len(tokens), past_of(cache) + tokens.shape[1]) if mask is None else mask
        known = {"input_ids": tokens, "attention_mask": mask, "position_ids": _positions(given, mask, tokens)}
        call = {name: value for name, value in known.items() if name in self._arguments}
        return program(**call, **{self._layout.argument: cache}, use_cache=True)


def _positions(given: Mapping[str, Any], mask: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The places of the new tokens, which padding has none of."""
    positions = given.get("position_ids")
    if positions is not None:
        return positions.expand(len(tokens), -1).contiguous()
    counted = (mask.long().cumsum(-1) - 1).clamp(min=0)
    return counted[:, -tokens.shape[1] :].contiguous()
