"""Decisions: where Python asks data for a truth and goes one way or the other.

if x.sum() > 0: …      while err > tol: …      y if mask.any() else z      value in tensor      max(a, b)

A run answers each question by its script, and with True beyond that; a mark on the tape tells what was asked. Which
ways there are, and how they join, is up to `paths`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from fxonnx.location import Location


def decided(condition: Any, number: int, live: Sequence[Any] = ()) -> None:
    """The target of marks: the run's decision with this number was taken by this condition. `live` are the tensors that
    Python holds then."""


def is_mark(node: fx.Node) -> bool:
    """Whether a node is the mark of a decision."""
    return node.op == "call_function" and node.target is decided


@dataclass(frozen=True, slots=True)
class Decision:
    """A question that a run was asked, as its mark on the tape, its answer and its place; how many symbols of data
    there were, and the state that Python was in, if that can be told: what comes next hangs on that alone."""

    mark: fx.Node
    answer: bool
    location: Location
    symbols: int
    state: Any


@dataclass(slots=True, eq=False)
class Decisions:
    """The questions of one run, in order, and the `script` of answers to the first ones."""

    script: tuple[bool, ...]
    locate: Callable[[], Location]
    made: list[Decision] = field(default_factory=list)

    @property
    def answers(self) -> tuple[bool, ...]:
        """What was answered."""
        return tuple(each.answer for each in self.made)

    def answer(self, mark: Callable[[int], fx.Node], symbols: int, state: Any) -> bool:
        """The answer to the next question; `mark(number)` marks it on the tape."""
        number = len(self.made)
        said = self.script[number] if number < len(self.script) else True
        self.made.append(Decision(mark(number), said, self.locate(), symbols, state))
        return said
