"""A folder that `CausalLM.save` wrote, generating again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, Cache, GenerationConfig
from transformers.modeling_outputs import CausalLMOutputWithPast

from fxonnx.errors import CannotRead
from fxonnx.hf.caches import CacheLayout, filled, past_of
from fxonnx.hf.causal_lm import Generating
from fxonnx.hf.shared import with_room
from fxonnx.ir.dims import symbol
from fxonnx.saved.model import Loaded
from fxonnx.saved.model import load as load_file

_PAST, _PRESENT = "past_key_values.", "present."


def load(folder: str | Path, **options: Any) -> SavedLM:
    """A decoder from the folder that `CausalLM.save` wrote, which generates as it did. `model.onnx` computes; of the
    model itself there is the code that prepares its steps, without weights. `options` are `fxonnx.load`'s.

    Raises CannotRead for another folder, and for one whose cache is not keys and values alone; and what loading raises.
    """
    folder = Path(folder)
    file = load_file(folder / "model.onnx", **options)
    model = _without_weights(folder)
    states = [each.name for each in file.inputs if each.name.startswith(_PAST)]
    if not states or not all(name.endswith((".key", ".value")) for name in states):
        raise CannotRead(
            f"{folder} has no cache of keys and values",
            cause=f"its model.onnx takes {', '.join(each.name for each in file.inputs)}",
            cure="compile the model again; or call the file by the names of its inputs: fxonnx.load(…).run({…})",
        )
    return SavedLM(model, file, states)


def _without_weights(folder: Path) -> Any:
    """The model that a folder's `config.json` tells of, on the device that holds nothing."""
    try:
        config = AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, (config.architectures or [""])[0])
        generation = GenerationConfig.from_pretrained(folder)
    except (OSError, ValueError, AttributeError) as error:
        raise CannotRead(
            f"{folder} does not tell its model", cause=str(error),
            cure="give a folder that compile_causal_lm(model).save(folder) wrote, of a class of transformers' own",
        ) from error  # fmt: skip
    with torch.device("meta"):
        model = kind(config).eval()
    model.generation_config = generation
    return model


class SavedLM(Generating):
    """A decoder of a file: `file` is one step. `states` are the names of its keys and values, in turn."""

    def __init__(self, model: Any, file: Loaded, states: Sequence[str]) -> None:
        self.file, self._states = file, states
        self._ports = {each.name: each for each in file.inputs}
        shapes = [self._ports[name].shape or () for name in states]
        empty = [torch.zeros(1, heads, 0, size, dtype=self._ports[states[0]].dtype) for _, heads, _, size in shapes]
        self._has_room = shapes[0][2] == symbol("room")
        logits = next(each.shape for each in file.outputs if each.name == "logits")
        layout = CacheLayout("past_key_values", model.config, filled(empty))
        super().__init__(model, layout, keeps_last=logits is not None and logits[1] == 1)

    def _run(self, known: Mapping[str, torch.Tensor], cache: Cache) -> CausalLMOutputWithPast:
        keys, values = ("all_keys", "all_values") if self._has_room else ("keys", "values")
        total = past_of(cache) + known["input_ids"].shape[1]
        if self._has_room:
            cache.layers[:] = [with_room(layer, total) for layer in cache.layers]
        given = [getattr(layer, each) for layer in cache.layers for each in (keys, values)]
        inputs = {name: each for name, each in known.items() if name in self._ports}
        results = self.file.run({**inputs, **dict(zip(self._states, given, strict=True))})
        present = iter([results[name.replace(_PAST, _PRESENT)] for name in self._states])
        for layer in cache.layers:
            setattr(layer, keys, next(present))
            setattr(layer, values, next(present))
            if self._has_room:
                layer.hold(total)
        return CausalLMOutputWithPast(logits=results["logits"], past_key_values=cache)
