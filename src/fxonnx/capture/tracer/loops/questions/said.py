"""Whether a recipe says a run exactly, at a length that the recipe was not made of: each leaf of each call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fxonnx.capture.graph.checks import Said
from fxonnx.capture.tracer.loops.find import Loops, Matched
from fxonnx.capture.tracer.loops.flow import (
    ITERATION,
    Along,
    Call,
    Carried,
    Counted,
    Element,
    Grown,
    Here,
    Loop,
    Made,
    Parts,
    Recipe,
    Value,
)
from fxonnx.capture.tracer.loops.lists import Row
from fxonnx.capture.tracer.loops.steps import Many, Outside, Ref
from fxonnx.ir.dims import Expr, substitute


class _Unsaid(Exception):
    """A source of which it is not known here what it is at a length."""


def read_behind(
    matched: Matched, loops: Loops, recipe: Recipe, length: int, *, is_strict: bool
) -> dict[tuple[Made, int], Any] | None:
    """Compare a run with what a recipe says of this length. None where it is another. Else what is read behind loops
    that have too few turns to have made it: by what an iteration would have made, and how many there are. What data
    says of sizes is another run's unless that `is_strict`."""
    return _Comparison(matched, loops.fit.name, length, recipe, is_strict=is_strict).compare()


@dataclass(slots=True, eq=False)
class _Comparison:
    matched: Matched
    over: str
    length: int
    recipe: Recipe
    is_strict: bool
    trips: list[int] = field(init=False)
    found: dict[tuple[Made, int], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trips = [self._number(each.trips) for each in self.recipe if isinstance(each, Loop)]

    def compare(self) -> dict[tuple[Made, int], Any] | None:
        """What a run reads of turns that it does not have; None where one of its calls takes something else than the
        recipe says."""
        calls = [each for each in self.recipe if isinstance(each, Call)]
        bodies = [each.body for each in self.recipe if isinstance(each, Loop)]
        for number, place in self.matched.places.items():
            call = calls[place[0]] if len(place) == 1 else bodies[place[0]][place[1]]
            leaves = self.matched.steps[number].leaves
            if not all(self._agrees(*each, place) for each in zip(leaves, call.sources, strict=True)):
                return None
        return self.found

    def _agrees(self, leaf: Any, source: Any, place: Any) -> bool:
        try:
            said = self._said(source, place)
        except _Unsaid:
            return not self.is_strict
        actual = self._actual(leaf)
        said, actual = (each if isinstance(each, list) else [each] for each in (said, actual))  # a list of one is one
        return len(said) == len(actual) and all(map(self._is, said, actual))

    def _is(self, said: Any, actual: Any) -> bool:
        """Whether both are one; an iteration that there is not is what is found in its place, alike each time."""
        if isinstance(said, Made) and not 0 <= self.trips[said.loop] + said.iteration < self.trips[said.loop]:
            return self.found.setdefault((said, self.trips[said.loop]), actual) == actual
        return bool(said == actual)

    def _actual(self, leaf: Any) -> Any:
        if isinstance(leaf, Many):
            return [self._actual(each) for each in leaf.parts]
        if not isinstance(leaf, Ref):
            return leaf
        place = self.matched.places.get(leaf.step)
        if place is None:
            return None
        if len(place) == 1:
            return Value(place[0], leaf.result)
        loop, step, at = place
        return Made(loop, step, leaf.result, at - self.trips[loop])

    def _said(self, source: Any, place: Any) -> Any:
        """What a source is: as `_actual` names it; a list of tensors is a list."""
        loop, _, at = place if len(place) == 3 else (-1, 0, 0)
        match source:
            case Outside() | Said() | float() | Value():
                return source
            case int() | Expr():
                return self._number(source)
            case Counted(first, step):
                return self._number(first) + self._number(step) * at
            case Along(dim):
                return self._number(dim, {ITERATION: at})
            case Made():
                return self._made(*source)
            case Here(step, result):
                return self._made(loop, step, result, at)
            case Carried(step, result, distance, initial):
                before = at - distance
                return self._made(loop, step, result, before) if before >= 0 else self._said(initial[at], (0,))
            case Element(other, step, result, first, stride):
                return self._made(other, step, result, self._number(first) + stride * at)
            case Parts(parts):
                return [each for part in parts for each in self._parts(part, place)]
        raise _Unsaid

    def _parts(self, part: Any, place: Any) -> Iterator[Any]:
        if isinstance(part, Row):
            first, length = self._number(part.first), self._number(part.length)
            yield from (
                self._made(part.loop, part.step, part.result, first + part.stride * at) for at in range(length)
            )
        elif isinstance(part, Grown):
            loop, _, at = place
            yield from (self._made(loop, part.step, part.result, each) for each in range(at + 1 - part.distance))
        else:
            yield self._said(part, place)

    def _made(self, loop: int, step: int, result: Any, iteration: int) -> Made:
        """An iteration counted from the last one back, which is how one is named that there is not."""
        back = iteration if iteration < 0 else iteration - self.trips[loop]
        return Made(loop, step, result, back)

    def _number(self, dim: Any, known: Mapping[str, int] | None = None) -> Any:
        return substitute(dim, {self.over: self.length, **(known or {})}) if isinstance(dim, Expr) else dim


__all__ = ["read_behind"]
