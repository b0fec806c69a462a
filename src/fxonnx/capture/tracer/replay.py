"""Two calls of a model on one tape: whether the second does what the first did.

What forward leaves in Python (a counter, a cache, a flag) is there at the next call, and not in a file. A cache that
holds what would be computed again makes no difference; a counter does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.equivalence.value_numbers import NumberedGraph, ValueNumbers
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of


class Replay:
    """Calls of a model, numbered together."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        hints = tape.cache.guard_log.hints
        self._numbered = NumberedGraph(ValueNumbers(frozenset(hints)), tape.weights, dim_of)

    def call(self, flat: Flat, fakes: Sequence[Any]) -> Any:
        """What the model returns, writes and draws, called now: equal for calls that do the same."""
        self._number_new()
        self._numbered.start_anew()
        results = [self._tape.operand(self._tape.read(each)) for each in flat(*fakes)]
        self._number_new()
        returned, numbered = flat.returned, self._numbered
        return (returned.tree, returned.effects), numbered.of(results), numbered.writes(), numbered.draws()

    def _number_new(self) -> None:
        self._numbered.add(node for node in self._tape.graph.nodes if node not in self._numbered.numbers)
