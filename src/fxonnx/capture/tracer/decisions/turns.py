"""Loops that data ends: what Python asks in each turn, while err > tol or if done.all(): break.

A run may be told after how many turns such a loop ends; then it has those, whatever the data, and its tape says in each
what was asked.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, pairwise
from types import CodeType, FrameType
from typing import Any, TypeAlias

import torch

from fxonnx.capture.syntax import around
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.locations import asking_frames

_ALIKE = 6  # questions at one place, answered alike, before they are taken for a loop's

Place: TypeAlias = "tuple[tuple[CodeType, Any], ...]"
"""where Python asks: the code and the expression of each frame, from the innermost outwards"""


@dataclass(frozen=True, slots=True)
class Turns:
    """The question of a loop: its place, the answer with which the loop goes on, and how often it does; and whether
    the states of Python are noted in which it asks."""

    place: Place
    goes_on: bool
    count: int = 0
    are_noted: bool = True


@dataclass(slots=True, eq=False)
class Asked:
    """What one run is asked, by place. The loop with these `turns`, if any, is answered by them."""

    turns: Turns | None
    places: list[Place] = field(default_factory=list)  # of the questions that the run decides, in order
    times: int = 0  # how often the loop has asked
    states: list[Any] = field(default_factory=list)  # of Python, each time; None where that cannot be told
    _goes_through: bool = False  # whether Python goes through something while the loop asks
    _held: list[torch.Tensor] = field(default_factory=list)  # what states know by identity

    def turn(self, state: Callable[[], tuple[Any, Sequence[torch.Tensor]]]) -> bool | None:
        """The answer to the question that Python asks now in this `state`, if it is the loop's."""
        if self.turns is None or self.is_over or place() != self.turns.place:
            return None
        self.times += 1
        if not self.turns.are_noted:
            return self.turns.goes_on is (self.times <= self.turns.count)
        key, tensors = state()
        self.states.append(None if key is None else (key, len(tensors)))
        self._goes_through |= any(map(_goes_through, asking_frames()))
        return self.turns.goes_on is (self.times <= self.turns.count)

    def holding(self, knows: Callable[[torch.Tensor], bool]) -> Callable[[torch.Tensor], bool]:
        """The same, which holds what it is asked for: no other tensor is to have its identity later."""

        def held(tensor: torch.Tensor) -> bool:
            self._held.append(tensor)
            return knows(tensor)

        return held

    def is_alike(self, first: int) -> bool:
        """Whether Python was in one state whenever the loop asked after so many turns, but for what is in tensors: then
        it does the same behind it, whenever data ends it."""
        one, *others = self.states[first:]
        return one is not None and all(each == one for each in others)

    def is_free(self, first: int) -> bool:
        """Whether each turn comes to that state again, and so does what the one before did, however many there are. So
        many turns have told what becomes of each tensor in it, if there are fewer of those; what iterators of for have
        left no state tells."""
        return self.is_over and self.is_alike(first) and self.states[first][1] < first and not self._goes_through

    @property
    def is_over(self) -> bool:
        """Whether the loop has been told to end; else it has ended by itself before."""
        return self.turns is not None and self.times > self.turns.count

    def is_to_be_rolled(self, symbols: SymbolTable, answers: Sequence[bool]) -> bool:
        """Whether a loop asks once more that may be rolled up, which `symbols` keep, or one that is rolled up begins
        anew; `answers` are those to all questions so far."""
        symbols.repeated = self._repeated(answers) if symbols.rolls_turns else None
        begins_anew = self.turns is not None and self.is_over and place() == self.turns.place
        return symbols.repeated is not None or begins_anew

    def _repeated(self, answers: Sequence[bool]) -> Turns | None:
        """The loop whose question Python asks now, if it has been asked often and always answered alike."""
        asking = place()
        alike = [answer for each, answer in zip(self.places, answers, strict=True) if each == asking]
        is_often = len(alike) + 1 >= _ALIKE and len(set(alike)) == 1
        return Turns(asking, alike[0]) if is_often and any(map(_ends_loop, asking_frames())) else None

    def note(self) -> None:
        """Note where Python asks what the run decides."""
        self.places.append(place())


def place() -> Place:
    """Where Python asks now."""
    return tuple((frame.f_code, _expression(frame.f_code, frame.f_lasti)) for frame in asking_frames())


def _ends_loop(frame: FrameType) -> bool:
    """Whether a frame leaves a loop by the truth that it asks for: the test of a while, or an if with a break in it.
    Layers that each mend their result ask as often, and are no loop's turns. Python may have the place of the whole
    statement for what jumps by its test."""
    is_in_loop = False
    for node, part in pairwise([*around(frame), None]):
        is_test = part is None or part is getattr(node, "test", None)
        if is_test and isinstance(node, ast.While):
            return True
        if is_test and is_in_loop and isinstance(node, ast.If):
            return any(isinstance(each, ast.Break | ast.Return) for each in ast.walk(node))
        is_in_loop |= isinstance(node, ast.For | ast.While)
    return False


def _goes_through(frame: FrameType) -> bool:
    """Whether a frame is in a for, or in a comprehension."""
    return any(begin <= frame.f_lasti < end for begin, end in _loops_of(frame.f_code))


@cache
def _loops_of(code: CodeType) -> list[tuple[int, int]]:
    return [(each.offset, each.argval) for each in dis.get_instructions(code) if each.opname == "FOR_ITER"]


@cache
def _expression(code: CodeType, instruction: int) -> Any:
    """What Python evaluates at an instruction, as a part of the source: of a while it has two copies, one before the
    first turn and one behind each. The instruction itself where nothing tells."""
    found = next(islice(code.co_positions(), instruction // 2, None), (None,))
    return instruction if None in found else found
