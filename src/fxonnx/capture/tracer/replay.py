"""Two calls of a model on one tape: whether the last does what the first did.

What forward leaves in Python (a counter, a cache, a flag) is there at the next call, and not in a file. A cache that
holds what would be computed again makes no difference; a counter does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxonnx.capture.call.effects import Effects
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.call.tree import Tree
from fxonnx.capture.equivalence.value_numbers import NumberedGraph, ValueNumbers
from fxonnx.capture.tracer.decisions import is_mark
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of


@dataclass(frozen=True, slots=True)
class _Call:
    """The nodes on the tape before and after a call, the nodes of its results, and what is around those."""

    before: tuple[fx.Node, ...]
    after: tuple[fx.Node, ...]
    results: tuple[Any, ...]  # and the conditions that it decides by
    returned: tuple[Tree, Effects]


class Replay:
    """Calls of a model, numbered together once nothing is recorded any more: that compares tensors."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._calls: list[_Call] = []

    def call(self, flat: Flat, fakes: Sequence[Any]) -> None:
        """Call the model."""
        before = tuple(self._tape.graph.nodes)
        results = [self._tape.operand(self._tape.read(each)) for each in flat(*fakes)]
        returned = flat.returned.tree, flat.returned.effects
        after, known = tuple(self._tape.graph.nodes), set(before)
        marks = (node for node in after if is_mark(node) and node not in known)
        self._calls.append(_Call(before, after, (*results, *(mark.args[0] for mark in marks)), returned))

    def is_one(self) -> bool:
        """Whether the first and the last call return, write, draw and decide the same."""
        hints = self._tape.cache.guard_log.hints
        numbered = NumberedGraph(ValueNumbers(frozenset(hints)), self._tape.weights, dim_of)
        first, *_, last = [_done(each, numbered) for each in self._calls]
        return bool(first == last)


def _done(call: _Call, numbered: NumberedGraph) -> Any:
    """What a call does, in numbers."""
    numbered.add(node for node in call.before if node not in numbered.numbers)
    numbered.start_anew()
    numbered.add(node for node in call.after if node not in numbered.numbers)
    return call.returned, numbered.of(call.results), numbered.writes(), numbered.draws()
