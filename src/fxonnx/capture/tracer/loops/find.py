"""The loops that runs at several lengths have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from fxonnx.capture.graph.checks import is_answer, is_check
from fxonnx.capture.tracer.loops.fit import Fit
from fxonnx.capture.tracer.loops.flow import Flow, Recipe, Source, Tape, recipe
from fxonnx.capture.tracer.loops.periods import Irregular, NotPeriodic, NotRolled, Period, Straight, segments
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.steps import Hole, Reader, Step, counts_of_parts
from fxonnx.capture.tracer.sizes.data import BELOW
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, evaluate, substitute, symbols_of

_LEAST_TRIPS = 4  # the first and the last, which may be others, and what numbers grow by between two


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """The steps of a run, and by their numbers the places that they have, as `Flow` names them."""

    steps: Sequence[Step]
    places: Mapping[int, Any]


class Loops:
    """Loops `over` a dim that runs at these `lengths` of it, shortest first, have in common. Inside of loops
    that are `around`, over these dims, it may be that only numbers are made of the dim. Raises NotPeriodic."""

    def __init__(
        self, runs: Sequence[Plain], over: str, lengths: tuple[int, ...], around: Set[str] = frozenset()
    ) -> None:
        parted = frozenset.intersection(*(counts_of_parts(each.run.tape.graph, dim_of, around) for each in runs))
        self._parted = parted
        self._measures = [each.measures(over) for each in runs]
        steps = [
            Reader(each.outside, dim_of, parted, measures).steps(each.run.tape.graph, each.results())
            for each, measures in zip(runs, self._measures, strict=True)
        ]
        self._tapes = [Tape(some, each.all_sizes()) for some, each in zip(steps, runs, strict=True)]
        numbers: dict[Any, int] = {}
        self._segments = segments([[numbers.setdefault(each.token, len(numbers)) for each in some] for some in steps])
        if around:
            self._segments = [part for each in self._segments for part in self._rows(each)]
        self._segments = list(_begun_later(self._segments, self._behind_question))
        self._found = self._segments
        if not around and not any(isinstance(each, Period) for each in self._segments):
            raise NotPeriodic
        logs = [each.run.guard_log for each in runs]
        plain = set[Dim].intersection(*({*(each.dim for each in log.plain), *log.ranges} for log in logs))
        above = (substitute(dim, {f"{over}{BELOW}": 0}) for dim in plain)
        dims = sorted({dim for dim in above if symbols_of([dim]) == {over}}, key=str)
        self.fit = Fit(over, lengths, tuple(sorted(set(self._strides()) - {0, 1})), tuple(dims))

    def _rows(self, segment: Straight | Period) -> list[Straight | Period]:
        """A loop in a loop that makes no call for a row of its own is one long period, in which numbers start over at
        each row: as a loop for each."""
        if isinstance(segment, Straight):
            return [segment]
        lengths = [self._row(tape, segment, at) for at, tape in enumerate(self._tapes)]
        rows = {divmod(trips, length) for trips, length in zip(segment.trips, lengths, strict=True)}
        (count, rest), *others = rows
        if others or rest or count == 1 or min(lengths) < _LEAST_TRIPS:
            return [segment]
        size = segment.length
        starts = [
            tuple(start + row * length * size for start, length in zip(segment.starts, lengths, strict=True))
            for row in range(count)
        ]
        return [Period(each, size, tuple(lengths)) for each in starts]

    def _row(self, tape: Tape, period: Period, at: int) -> int:
        """After how many iterations of a period a number is what it was in the first; all of them where none is."""
        start, trips = period.starts[at], period.trips[at]
        steps = tape.steps[start : start + trips * period.length]
        for step in range(period.length):
            for values in zip(*(each.leaves for each in steps[step :: period.length]), strict=True):
                if all(isinstance(each, int) for each in values) and values[0] != values[1] and values[0] in values[1:]:
                    return values.index(values[0], 1)
        return trips

    def _strides(self) -> Iterator[int]:
        """By what the numbers in the bodies grow with each iteration."""
        steps = self._tapes[0].steps
        for period in (each for each in self._segments if isinstance(each, Period)):
            for at in range(period.starts[0], period.starts[0] + period.length):
                for before, after in zip(steps[at].leaves, steps[at + period.length].leaves, strict=True):
                    if isinstance(before, int) and isinstance(after, int):
                        yield abs(after - before)

    @property
    def trips(self) -> tuple[int, ...]:
        """How often the longest loop's body is called, at each length."""
        periods = [each.trips for each in self._segments if isinstance(each, Period)]
        return tuple(map(max, zip(*periods, strict=True)))

    def recipe(self) -> Recipe:
        """What to play. Raises NotRolled; and Irregular where an iteration is to be peeled."""
        return recipe(self._tapes, self._segments, self.fit)

    def told(self, number: Dim) -> Source:
        """What tells a number from data outside of loops. Raises NotRolled."""
        leaves = [measures.leaf(number) for measures in self._measures]
        return Flow(self._tapes, self._segments, self.fit).outer(leaves)

    def number(self, numbers: Sequence[int]) -> Dim:
        """What a plain number is of the length. Raises NotRolled."""
        return Flow(self._tapes, self._segments, self.fit).number(numbers)

    def number_at(self, numbers: Sequence[int], length: int) -> int:
        """What a plain number is at a further length."""
        return evaluate(self.number(numbers), {self.fit.name: length})

    def match(self, run: Plain, length: int) -> Matched | None:
        """The calls of a run at a length that is too short to tell a loop, if they are what the loops say, whatever it
        is answered of numbers on the way: none of those that it needs is another, and all of theirs are among what it
        makes, though it may not need all. Else None."""
        said, needed = list(self._steps(length)), self._read(run, are_all=False)
        places = _matched(needed, said)
        all_made = iter([_of_any_list(each.token) for each in self._read(run, are_all=True)])
        is_all = all(_of_any_list(step.token) in all_made for step, _ in said if not is_answer(step.node))
        return Matched(needed, places) if places is not None and is_all else None

    def match_ended(self, run: Plain, length: int, *, is_asked_last: bool) -> Matched | None:
        """As `match`, of a run whose loop ends by itself: what is not made is needed by nothing, but for the last
        question, unless that `is_asked_last`."""
        said, needed = list(self._steps(length)), self._read(run, are_all=False)
        places = _matched(needed, said)
        if places is None:
            return None
        made = set(places.values())
        missing = [step for step, place in said if place not in made and is_check(step.node)]
        is_right = not missing if is_asked_last else [each.is_question for each in missing] == [True]
        return Matched(needed, places) if is_right else None

    def _read(self, run: Plain, *, are_all: bool) -> list[Step]:
        reader = Reader(run.outside, dim_of, self._parted, run.measures(self.fit.name))
        return reader.steps(run.run.tape.graph, run.results(), are_all=are_all)

    def _steps(self, length: int) -> Iterator[tuple[Step, Any]]:
        """The steps at a length, with their places as `Flow` has them."""
        steps, straight, loop = self._tapes[0].steps, 0, 0
        for each in self._segments:
            body = steps[each.starts[0] : each.starts[0] + each.length]
            if isinstance(each, Straight):
                yield from ((step, (straight + at,)) for at, step in enumerate(body))
                straight += each.length
                continue
            trips = self.fit(each.trips)
            for at in range(evaluate(trips, {self.fit.name: length}) if trips is not None else 0):
                yield from ((step, (loop, number, at)) for number, step in enumerate(body))
            loop += 1

    def begin_later(self) -> bool:
        """Let the bodies begin where as many steps as stand before their first iteration are done: those belong to
        iterations that began with what comes next. False where none stand there."""
        slack = [each.slack for each in self._found if isinstance(each, Period)]
        self._segments = self._found = list(_begun_later(self._found, lambda period: period.slack))
        return any(slack)

    def _behind_question(self, period: Period) -> int:
        """How much later a loop has to begin for its question to come last in the body. Raises NotRolled."""
        steps = self._tapes[0].steps[period.starts[0] : period.starts[0] + period.length]
        asked = [at for at, step in enumerate(steps) if step.is_question]
        if not asked:
            return 0
        later = (asked[0] + 1) % period.length
        if len(asked) > 1 or later > period.slack:
            raise NotRolled("a loop that data ends asks more than once in each turn")
        return later

    def peel(self, irregular: Irregular) -> None:
        """Take an iteration out of its loop. Raises NotPeriodic where too few are left to tell, and NotRolled where it
        is the last one and nobody knows which that is."""
        if not irregular.first and any(step.is_question for step in self._tapes[0].steps):
            raise NotRolled("the last turn is another one than the rest, and data says which it is")
        self._segments = list(_peeled(self._segments, irregular))
        if any(min(each.trips) < _LEAST_TRIPS for each in self._segments if isinstance(each, Period)):
            raise NotPeriodic


def _matched(needed: Sequence[Step], said: Iterable[tuple[Step, Any]]) -> dict[int, Any] | None:
    """The number of each step -> the place of the one that it is among those that are said, in this order; None where
    it is none."""
    rest, places = iter(said), {}
    for number, step in enumerate(needed):
        if is_answer(step.node):
            continue
        token = _of_any_list(step.token)
        place = next((place for each, place in rest if _of_any_list(each.token) == token), None)
        if place is None:
            return None
        places[number] = place
    return places


def _of_any_list(token: Any) -> Any:
    """A token in which a list of one tensor is one of many."""
    if token == ("list", Hole("tensor")):
        return Hole("many")
    return tuple(map(_of_any_list, token)) if type(token) is tuple else token


def _begun_later(
    segments: Sequence[Straight | Period], later: Callable[[Period], int]
) -> Iterator[Straight | Period]:
    """The segments, whose loops begin and end later by so much of their slack."""
    taken = 0  # of the straight steps after a loop
    for each in segments:
        starts = tuple(start + taken for start in each.starts)
        if isinstance(each, Straight):
            if each.length > taken:
                yield Straight(starts, each.length - taken)
            taken = 0
            continue
        by = later(each)
        if by:
            yield Straight(starts, by)
        yield replace(each, starts=tuple(start + by for start in starts), slack=each.slack - by)
        taken += by


def _peeled(segments: Sequence[Straight | Period], irregular: Irregular) -> Iterator[Straight | Period]:
    """The segments, one of whose loops has an iteration less, which stands beside it."""
    loop = -1
    for each in segments:
        loop += isinstance(each, Period)
        if isinstance(each, Straight) or loop != irregular.loop:
            yield each
        elif irregular.first:
            yield Straight(each.starts, each.length)
            starts = tuple(start + each.length for start in each.starts)
            yield replace(each, starts=starts, trips=tuple(trips - 1 for trips in each.trips))
        else:
            yield replace(each, trips=tuple(trips - 1 for trips in each.trips))
            pairs = zip(each.starts, each.trips, strict=True)
            yield Straight(tuple(start + (trips - 1) * each.length for start, trips in pairs), each.length)
