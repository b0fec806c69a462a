"""Decisions: where Python asks data for a truth and goes one way or the other.

if x.sum() > 0: …      while err > tol: …      y if mask.any() else z      value in tensor      max(a, b)

A run answers each question by its script, and with True beyond that; a mark on the tape tells what was asked. Which
ways there are, and how they join, is up to `paths`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import fx

from fxonnx.capture.tracer.decisions.answered import Answered
from fxonnx.capture.tracer.locations import asking_frames
from fxonnx.location import Location

MOST_TIMES = 24
"""how often a loop may ask before it is taken to end"""
_FEW_TURNS = 4  # of a line that need not be in a loop


def decided(condition: Any, number: int, live: Sequence[Any] = ()) -> None:
    """The target of marks: the run's decision with this number was taken by this condition. `live` are the tensors that
    Python holds then."""


def is_mark(node: fx.Node) -> bool:
    """Whether a node is the mark of a decision."""
    return node.op == "call_function" and node.target is decided


@dataclass(frozen=True, slots=True)
class Decision:
    """A question that a run was asked, as its mark on the tape, its answer and its place; how many symbols of data
    there were, and the state that Python was in, if that can be told, for the `turns`-th time; whether what was
    answered before leaves it no other answer."""

    mark: fx.Node
    answer: bool
    location: Location
    symbols: int
    state: Any
    turns: tuple[int, ...]
    is_implied: bool


@dataclass(slots=True, eq=False)
class Decisions:
    """The questions of one run, in order, and the `script` of answers to the first ones."""

    script: tuple[bool, ...]
    locate: Callable[[], Location]
    made: list[Decision] = field(default_factory=list)
    answered: Answered = field(default_factory=Answered)
    _asked: dict[tuple[FrameType, int], list[bool]] = field(default_factory=dict)  # frame and instruction -> answers
    _turns: dict[FrameType, dict[int, tuple[Any, int]]] = field(default_factory=dict)  # callee that asked, how many

    @property
    def answers(self) -> tuple[bool, ...]:
        """What was answered."""
        return tuple(each.answer for each in self.made)

    @property
    def is_own(self) -> bool:
        """Whether the next question is none that the script answers."""
        return len(self.made) >= len(self.script)

    def forget(self) -> None:
        """Another call begins, of which the answers so far say nothing."""
        self.answered.forget()

    def implied(self, condition: Any) -> bool | None:
        """What the answers so far say of a condition that is asked for next; None where they say nothing."""
        return self.answered.says(condition, len(self.made))

    def answer(
        self, condition: Any, implied: bool | None, mark: Callable[[Any, int], fx.Node], symbols: int, state: Any
    ) -> bool:
        """The answer to the next question, whether a condition is true, which may be implied by those before;
        `mark(condition, number)` marks it on the tape."""
        number = len(self.made)
        said = (True if self.is_own else self.script[number]) if implied is None else implied
        made = mark(condition, number), said, self.locate(), symbols, state, self._turn(), implied is not None
        self.made.append(Decision(*made))
        self._asked.setdefault(_asking(), []).append(said)
        self.answered.keep(condition, said, number)
        return said

    def asked(self, frame: FrameType) -> Iterable[int]:
        """The instructions of a frame that have led to questions."""
        return self._turns.get(frame, ())

    def _turn(self) -> tuple[int, ...]:
        """For each frame, innermost first, how many calls that asked it has made where it is now, this one included:
        what tells the iterations of a loop apart whose iterator only the frame's stack of values knows."""
        counts: list[int] = []
        callee: Any = object()  # each question is a call of its own
        for frame in asking_frames():
            places = self._turns.setdefault(frame, {})
            last, count = places.get(frame.f_lasti, (None, 0))
            counts.append(count + (last is not callee))
            places[frame.f_lasti] = callee, counts[-1]
            callee = frame
        return tuple(counts)

    def end_of_loop(self) -> bool | None:
        """The answer that leaves a loop which has asked often enough, this always answered alike; else None. What its
        other lines have asked as often counts as well: each question is a branch in the branches of those before."""
        frame, _ = asking = _asking()
        answers = self._asked.get(asking, [])
        if len(answers) < _FEW_TURNS or len(set(answers)) > 1:
            return None
        others = (each for (other, _), each in self._asked.items() if other is frame)
        total = sum(len(each) for each in others if len(each) >= len(answers))
        return not answers[0] if total >= MOST_TIMES else None


def _asking() -> tuple[FrameType, int]:
    """The frame of the model that asks, and its instruction."""
    frame = next(asking_frames())
    return frame, frame.f_lasti
