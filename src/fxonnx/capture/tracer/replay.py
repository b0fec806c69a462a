"""Two calls of a model on one tape, of other inputs each: whether the last does with its own what the first did.

What forward leaves in Python (a counter, a cache, a flag) is there at the next call, and not in a file. A cache that
holds what would be computed again makes no difference; a counter does, and so does a cache of what the inputs of the
first call held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxonnx.capture.call.effects import Effects
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.call.tree import Tree
from fxonnx.capture.equivalence.value_numbers import Number, NumberedGraph, ValueNumbers
from fxonnx.capture.locate import Locator
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.location import Location


@dataclass(frozen=True, slots=True)
class _Call:
    """The nodes of a call's inputs, those on the tape before and after it, and of its results; and what is around
    those."""

    inputs: tuple[fx.Node, ...]
    before: tuple[fx.Node, ...]
    after: tuple[fx.Node, ...]
    results: tuple[Any, ...]  # and the conditions that it decides by
    returned: tuple[Tree, Effects]


class Replay:
    """Calls of a model, numbered once nothing is recorded any more: that compares tensors."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._calls: list[_Call] = []

    def call(self, flat: Flat, fakes: Sequence[Any], inputs: Sequence[fx.Node]) -> None:
        """Call the model, with fake tensors that these placeholders stand for."""
        before = tuple(self._tape.graph.nodes)
        results = [self._tape.operand(self._tape.read(each)) for each in flat(*fakes)]
        returned = flat.returned.structure
        after, known = tuple(self._tape.graph.nodes), set(before)
        marks = (node for node in after if is_mark(node) and node not in known)
        given = (*results, *(mark.args[0] for mark in marks))
        self._calls.append(_Call(tuple(inputs), before, after, given, returned))

    def parting(self) -> Location | None:
        """Where the last call parts from the first; None where both return, write, draw and decide the same, each of
        its own inputs."""
        shared = ValueNumbers(frozenset(self._tape.cache.guard_log.hints))
        first, last = [(call, self._numbered(call, shared)) for call in (self._calls[0], self._calls[-1])]
        if _done(*first) == _done(*last):
            return None
        alone = _first_of_its_own(*first, last[1]) or _first_of_its_own(*last, first[1])
        return Locator()(alone) if alone is not None else Location()

    def _numbered(self, call: _Call, shared: ValueNumbers) -> NumberedGraph:
        """The tape up to the end of a call; its inputs have the numbers of those of the other."""
        numbered = NumberedGraph(shared, self._tape.weights, dim_of)
        numbered.add(call.inputs)
        numbered.add([node for node in call.before if node not in numbered.numbers], "input of another call")
        numbered.start_anew()
        numbered.add([node for node in call.after if node not in numbered.numbers], "input of another call")
        return numbered


def _done(call: _Call, numbered: NumberedGraph) -> Any:
    """What a call does, in numbers."""
    return call.returned, numbered.of(call.results), numbered.writes(), numbered.draws()


def _first_of_its_own(call: _Call, numbered: NumberedGraph, other: NumberedGraph) -> fx.Node | None:
    """The first value that a call computes and the other does not."""
    before, known = set(call.before), set(other.numbers.values())
    made = (node for node in call.after if node.op == "call_function" and node not in before)
    return next(
        (node for node in made if isinstance(numbered.numbers[node], Number) and numbered.numbers[node] not in known),
        None,
    )
