"""Runs of few turns, of loops that go by what data says: with none a list is empty, which the model's own Python may
ask, and a variable is what it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fxonnx.capture.failures import ModelStopped
from fxonnx.capture.tracer.loops.find import Loops
from fxonnx.capture.tracer.loops.flow import Made, Recipe
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.play import Player
from fxonnx.capture.tracer.loops.questions.said import read_behind
from fxonnx.capture.tracer.loops.rolled import RolledRun
from fxonnx.errors import Error

_SHORTEST = 4  # up to here runs are too short to tell a loop


@dataclass(eq=False)
class RunOfTurns(RolledRun):
    """As RolledRun, of loops that may have few turns: as many as the calls of shorter runs say, and not fewer."""

    least: int = field(default=0, init=False)  # the least number for which the loops are right
    _shortest: int = field(default=_SHORTEST, init=False)
    _short: dict[int, Plain | None] = field(default_factory=dict, init=False)

    def _player(self, runs: Sequence[Plain], loops: Loops, recipe: Recipe) -> Player:
        player = super()._player(runs, loops, recipe)
        self.least = self._shortest
        while self.least and (found := self._behind(self.least - 1, runs, loops, recipe)) is not None:
            self.least -= 1
            player.initials |= found
        return player

    def _behind(
        self, length: int, runs: Sequence[Plain], loops: Loops, recipe: Recipe
    ) -> dict[tuple[Made, int], Any] | None:
        """What is read behind the loops that have too few turns to have made it; None where the run is another."""
        if length not in self._short:
            self._short[length] = self._of_few_turns(length)
        run = self._short[length]
        matched = None if run is None else loops.match(run, length)
        if run is None or matched is None or not self._returns(run, length, runs, loops):
            return None
        return read_behind(matched, loops, recipe, length, is_strict=False)

    def _returns(self, run: Plain, length: int, runs: Sequence[Plain], loops: Loops) -> bool:
        """Whether a run returns, and leaves behind, what the others say of its length."""
        try:
            counted, others = self._counted([*runs, run]), self._counted(runs)
        except NotRolled:
            return False
        said = (loops.number_at(others.numbers[place], length) == each[-1] for place, each in counted.numbers.items())
        return counted.numbers.keys() == others.numbers.keys() and all(said)

    def _of_few_turns(self, length: int) -> Plain | None:
        try:
            return self._plain(length)
        except (ModelStopped, Error, NotRolled):
            return None  # what raises for a number has no program for it


__all__ = ["RunOfTurns"]
