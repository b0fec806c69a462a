"""A decoder of transformers, compiled for any prompt and any past, generating by transformers' own loop."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Cache

from fxonnx.compiled import Compiled
from fxonnx.compiler import compile as compile_model
from fxonnx.errors import InvalidOption, NotAModel
from fxonnx.hf.caches import CacheLayout, ask_ahead, is_empty, past_of
from fxonnx.hf.genai import write_config
from fxonnx.hf.shared import SharedCache
from fxonnx.hf.twin import refuse_inner, twin_of

CACHES = ("copy", "shared")
LOGITS = ("all", "last")
KEPT = "logits_to_keep"  # transformers' name for of how many tokens, from the last on; 0 is all
_TOKENS = {0: "batch", 1: "sequence"}
_DIMS: Mapping[str, Mapping[int, str]] = {
    "input_ids": _TOKENS, "position_ids": _TOKENS, "attention_mask": {0: "batch", 1: "total"},
}  # fmt: skip
_LONE_TOKENS = {"past": 0, "sequence": 1, "total": 1}, {"past": 1, "sequence": 1}  # a prompt of one, and what follows
_PAST, _NEW = 5, 3  # tokens of an example: there already, and to come


def compile_causal_lm(model: Any, *, cache: str = "copy", logits: str = "all", **options: Any) -> CausalLM:
    """Compile a `…ForCausalLM` of transformers with its cache: any batch, prompt and past.

    `cache` says how it grows from step to step: "copy", each writes a longer one; or "shared", each writes the new
    tokens into the memory of the old ones, which has room for more. The file of the latter takes and leaves keys and
    values of `room` tokens, of which those are there that `attention_mask` counts.

    `logits` says of which tokens a step computes them: "all"; or "last", which is all that sampling and beams ask for,
    and spares a long prompt the largest product of most models.

    `options` are `fxonnx.compile`'s. The file's inputs are `input_ids` and `attention_mask`, `position_ids` where the
    model has them, and `past_key_values.N.key` and `.value`: f32[batch, heads, past, width]; its outputs are `logits`,
    f32[batch, sequence, vocabulary], and `present.N.key` and `.value`. Recurrent layers have `.conv` and `.recurrent`
    for these, and take a prompt in another file. Raises NotAModel for what is no decoder, InvalidOption for a
    cache that cannot be shared, and what compiling raises.
    """
    if not getattr(model, "can_generate", bool)():
        raise NotAModel(
            f"{type(model).__name__} is no language model",
            cause="it has no generate() of transformers' own",
            cure="give a …ForCausalLM of transformers; others compile with fxonnx.compile",
        )
    for name, given, known in (("cache", cache, CACHES), ("logits", logits, LOGITS)):
        if given not in known:
            raise InvalidOption.among(name, given, known)
    kept = _keeps_last(model) if logits == "last" else {}
    layout, is_shared = CacheLayout.of(model), cache == "shared"
    if not layout.is_recurrent:
        call = {**_call(model, past=_PAST, tokens=_NEW), layout.argument: layout.of_size(2, _PAST), **kept}
        options = {**options, "optimize": _with_heads_apart(options.get("optimize", True))} if is_shared else options
        compiled = _compiled(model, call, layout, options)
        ask_ahead(compiled, {"past": 0}, {"sequence": 1}, *_LONE_TOKENS)
        room = SharedCache(compiled, layout.argument) if is_shared else None
        return CausalLM(model, compiled, layout, shared=room, kept=kept)
    if is_shared:
        raise InvalidOption(
            'cache="shared": layers of this decoder keep a state of fixed size',
            cause="a state is written anew at each step, and does not grow",
            cure='compile_causal_lm(model, cache="copy")',
        )
    first = {**_call(model, past=0, tokens=_PAST), layout.argument: layout.empty(2), **kept}
    named = {**_named(first), "attention_mask": _TOKENS} if "attention_mask" in first else _named(first)
    prefill = compile_model(model, (), {**first, "use_cache": True}, dynamic_shapes=named, **options)
    call = {**_call(model, past=_PAST, tokens=1), layout.argument: layout.filled, **kept}
    if not layout.has_keys:  # earlier tokens are in the states, and none can be left out
        call.pop("attention_mask", None)
    step = _compiled(model, call, layout, options)
    ask_ahead(prefill, {})
    ask_ahead(step, {})
    return CausalLM(model, step, layout, prefill, kept=kept)


def _keeps_last(model: Any) -> dict[str, int]:
    """The argument with which a model computes the logits of the last token alone."""
    if KEPT not in inspect.signature(model.forward).parameters:
        raise InvalidOption(
            f'logits="last": {type(model).__name__} computes those of all tokens',
            cause=f"its forward has no argument {KEPT}",
            cure='compile_causal_lm(model, logits="all")',
        )
    return {KEPT: 1}


def _with_heads_apart(optimize: Any) -> Any:
    """The rules without the one that hides heads in the last axis, where those of a cache are not."""
    if optimize is True:
        optimize = {}
    return {"joined_heads_with_past": False, **optimize} if isinstance(optimize, Mapping) else optimize


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
        "input_ids": torch.arange(2 * tokens).reshape(2, tokens),
        "attention_mask": torch.ones(2, past + tokens, dtype=torch.long),
        "position_ids": torch.arange(past, past + tokens).expand(2, -1).contiguous(),
    }
    return {name: value for name, value in arguments.items() if name in parameters}


def _other_logits(asked: Any) -> InvalidOption:
    return InvalidOption(
        f"{KEPT}={asked}: these steps compute the logits of the last token",
        cause="the decoder was compiled so, and drafts, scores and prompt lookups want those of others",
        cure=f'compile_causal_lm(model, logits="all"); or {KEPT}=1 where the last ones do',
    )


class Generating(ABC):
    """What generates as a model of transformers does, whose steps somebody else runs.

    `generate` is transformers' own: the same arguments, processors, criteria and random numbers; each step runs in ONNX
    Runtime, and the cache stays in its tensors from step to step.
    """

    def __init__(self, model: Any, layout: CacheLayout, *, keeps_last: bool = False) -> None:
        self._layout, self._keeps_last = layout, keeps_last
        self._model = twin_of(model, self._step)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As `model.generate`: int64[batch, sequence] of the prompt and what follows, or what `return_dict_in_generate`
        asks for. Takes its arguments."""
        return self._model.generate(*args, **kwargs)

    def __call__(self, **kwargs: Any) -> Any:
        """One step: `input_ids`, and `attention_mask`, `position_ids`, `past_key_values` where they are not the usual
        ones. Returns what the model returns, with `logits` and `past_key_values`."""
        return self._model(**kwargs)

    @abstractmethod
    def _run(self, known: Mapping[str, torch.Tensor], cache: Cache) -> Any:
        """A step: of the tensors by name it takes those that it has inputs for."""

    def _step(self, **given: Any) -> Any:
        """What the model's forward is while it generates."""
        refuse_inner(given)
        tokens = given["input_ids"]
        if self._keeps_last and tokens.shape[1] > 1 and given.get(KEPT) != 1:
            raise _other_logits(given.get(KEPT, 0))
        there = given.get(self._layout.argument)
        cache = self._layout.empty(len(tokens)) if there is None else there
        self._layout.prepare(cache, len(tokens))
        mask, past = given.get("attention_mask"), past_of(cache)
        mask = tokens.new_ones(len(tokens), past + tokens.shape[1]) if mask is None else mask
        known = {"input_ids": tokens, "attention_mask": mask, "position_ids": _positions(given, past, tokens)}
        result = self._run(known, cache)
        if there is None and given.get("use_cache") is False:  # the next step is given all tokens again
            return type(result)(**{name: each for name, each in result.items() if name != self._layout.argument})
        return result


class CausalLM(Generating):
    """A compiled decoder. `compiled` is one step: tokens and a cache in, logits and the cache grown out; `prefill`
    is the first step, where it is another graph."""

    def __init__(
        self, model: Any, compiled: Compiled, layout: CacheLayout, prefill: Compiled | None = None,
        shared: SharedCache | None = None, kept: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, layout, keeps_last=bool(kept))
        self.compiled, self.prefill, self._shared, self._kept = compiled, prefill, shared, kept or {}

    def save(self, folder: str | Path, *, tokenizer: Any = None) -> Path:
        """Write `model.onnx`, its weights, `config.json`, `generation_config.json` and `genai_config.json`, and the
        tokenizer's files if one is given: what onnxruntime-genai, optimum's ORTModelForCausalLM (a shared cache it does
        not) and `fxonnx.hf.load` load; of recurrent layers `prefill.onnx` too, which takes the prompt. Returns the
        folder. Raises CannotWrite for a shared cache where a model computes something else while it is empty."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (self.compiled if self._shared is None else self._shared.for_file()).save(folder / "model.onnx")
        if self.prefill is not None:
            self.prefill.save(folder / "prefill.onnx")
        config = copy.copy(self._model.config)
        config.architectures = [type(self._model).__name__]
        config.save_pretrained(folder)
        self._model.generation_config.save_pretrained(folder)
        has_room = self._shared is not None
        write_config(folder, config, self._model.generation_config, self.compiled, shared=has_room)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        return folder

    def _run(self, known: Mapping[str, torch.Tensor], cache: Cache) -> Any:
        program = self.prefill if self.prefill is not None and is_empty(cache) else self.compiled
        taken = {name for name, _ in program.program.signature.inputs}
        call = {name: value for name, value in known.items() if name in taken}
        if self._shared is not None and not is_empty(cache):
            result = self._shared(program, call, cache)
            if result is not None:
                return result
        return program(**call, **{self._layout.argument: cache}, use_cache=True, **self._kept)


def _positions(given: Mapping[str, Any], past: int, tokens: torch.Tensor) -> torch.Tensor:
    """The places of the new tokens, by default those that the model itself gives them: padding counts."""
    positions = given.get("position_ids")
    if positions is None:
        positions = torch.arange(past, past + tokens.shape[1])[None]
    return positions.expand(len(tokens), -1).contiguous()
