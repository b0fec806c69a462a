"""A cache that grows where it lies: the past and the present of a step are one memory, with room for more tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast

from fxonnx.capture.equivalence.same_graph import Difference
from fxonnx.compiled import Compiled
from fxonnx.errors import CannotWrite, InvalidOption
from fxonnx.ir.graph import Graph
from fxonnx.passes.past import past_in_place, written_in_place

_LEAST_ROOM = 64  # tokens; and an eighth of what is there, so that a token is moved a few times at most


class SharedCache:
    """Steps that write keys and values of new tokens into the memory of those before.

    `compiled` is a step that copies the cache; it is left as it is, and used where nothing is in the cache yet.
    """

    def __init__(self, compiled: Compiled, argument: str) -> None:
        self._argument = argument
        self._compiled = compiled
        self._in_place: dict[Graph, Compiled | None] = {}  # by the graph of what copies
        if self._of(compiled) is None:
            raise InvalidOption(
                'cache="shared": this decoder has no cache that can grow in place',
                cause="not all of its layers hand keys and values to an Attention alone, or the target has no kernel of"
                " TensorScatter (opset 24)",
                cure='compile_causal_lm(model, cache="copy")',
            )

    def for_file(self) -> Compiled:
        """The step as a file, which takes a prompt as well: with room, and nothing in it. Raises CannotWrite."""
        check, step = self._compiled.program.zero_one, self._of(self._compiled)
        assert step is not None
        try:
            if check is not None:
                check.assumptions({"past": 0})
        except Difference as difference:
            raise CannotWrite(
                "a file with a shared cache begins with an empty one, which is another graph of this model",
                cause=str(difference),
                cure='compile_causal_lm(model, cache="copy")',
            ) from difference
        return step

    def __call__(self, compiled: Compiled, call: Mapping[str, Any], cache: Cache) -> CausalLMOutputWithPast | None:
        """A step, given the tokens and masks by name; the cache has the new tokens after it. None where the program for
        sizes like these has no cache that can grow in place."""
        compiled.versions.check()
        step = self._of(compiled.for_sizes(self._inputs(compiled, call, cache, "keys", "values")))
        if step is None:
            return None
        total = cache.get_seq_length() + call["input_ids"].shape[1]
        cache.layers[:] = [with_room(layer, total) for layer in cache.layers]
        logits, *present = step.session.run(self._inputs(compiled, call, cache, "all_keys", "all_values"))
        for layer, keys, values in zip(cache.layers, present[::2], present[1::2], strict=True):
            layer.all_keys, layer.all_values = keys, values  # the same, where the session writes in place
            layer.hold(total)
        return CausalLMOutputWithPast(logits=logits, past_key_values=cache)

    def _inputs(self, compiled: Compiled, call: Mapping[str, Any], cache: Cache, *words: str) -> list[torch.Tensor]:
        """The tensors of a step in order; those of the cache are attributes of its layers."""
        named = dict(call)
        for number, layer in enumerate(cache.layers):
            for word, attribute in zip(("key", "value"), words, strict=True):
                named[f"{self._argument}.{number}.{word}"] = getattr(layer, attribute)
        return [named[each.name] for each in compiled.program.inputs]

    def _of(self, compiled: Compiled) -> Compiled | None:
        """The same step with its cache in place."""
        if compiled.graph not in self._in_place:
            self._in_place[compiled.graph] = _in_place(compiled)
        return self._in_place[compiled.graph]


def _in_place(compiled: Compiled) -> Compiled | None:
    """A step with a cache in place; None where it has none, or no target for it."""
    graph, target = compiled.graph, compiled.target
    named = {value.name: value for value in graph.inputs}
    program = compiled.program
    if not {"input_ids", "attention_mask"} <= named.keys() or program.states or program.writebacks or program.checks:
        return None
    if target.opset not in target.opsets_with_kernel("TensorScatter", {}):
        return None
    made = past_in_place(graph, named["input_ids"], named["attention_mask"])
    return None if made is None else compiled.followed_by("past in place", made, written_in_place(made))


class _Room(DynamicLayer):
    """Keys and values that are the first tokens of larger tensors."""

    def __init__(self, layer: DynamicLayer, tokens: int) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.all_keys, self.all_values = _moved(layer.keys, tokens), _moved(layer.values, tokens)
        self.hold(layer.keys.shape[2])

    def hold(self, tokens: int) -> None:
        """Have so many tokens."""
        self.keys, self.values = (each.narrow(2, 0, tokens) for each in (self.all_keys, self.all_values))

    def has_room(self, tokens: int) -> bool:
        """Whether so many fit in, and nobody has put other tensors in the place of what was held, as beams do."""
        pairs = (self.keys, self.all_keys), (self.values, self.all_values)
        return all(every.shape[2] >= tokens and _is_front(part, every) for part, every in pairs)


def with_room(layer: DynamicLayer, tokens: int) -> _Room:
    """The layer, if it has room for so many tokens; else its keys and values where there is some for more."""
    if isinstance(layer, _Room) and layer.has_room(tokens):
        return layer
    return _Room(layer, tokens + max(tokens // 8, _LEAST_ROOM))


def _moved(part: torch.Tensor, tokens: int) -> torch.Tensor:
    """Room for so many tokens, the first of which are these."""
    rows, heads, known, size = part.shape
    every = part.new_zeros(rows, heads, tokens, size)  # what is masked is multiplied by zero, and must not be NaN
    every[:, :, :known] = part
    return every


def _is_front(part: torch.Tensor, every: torch.Tensor) -> bool:
    alike = part.shape[0] == every.shape[0] and part.stride() == every.stride()
    return alike and part.data_ptr() == every.data_ptr()
