"""The loops that runs at several lengths have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

from fxonnx.capture.graph.checks import is_answer
from fxonnx.capture.tracer.loops.fit import Fit
from fxonnx.capture.tracer.loops.flow import Flow, Recipe, Source, Tape, recipe
from fxonnx.capture.tracer.loops.periods import Irregular, NotPeriodic, Period, Straight, segments
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.steps import Hole, Reader, Step, counts_of_parts
from fxonnx.capture.tracer.sizes.data import BELOW
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, evaluate, substitute, symbols_of

_LEAST_TRIPS = 4  # the first and the last, which may be others, and what numbers grow by between two


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

    def say(self, run: Plain, length: int) -> bool:
        """Whether a run at a length that is too short to tell a loop makes the calls that the loops say, whatever it is
        answered of numbers on the way: none of those that it needs is another, and all of theirs are among what it
        makes, though it may not need all."""
        said = list(_calls(self._steps(length)))
        needed, made = (
            Reader(run.outside, dim_of, self._parted, run.measures(self.fit.name)).steps(
                run.run.tape.graph, run.results(), are_all=are_all
            )
            for are_all in (False, True)
        )
        return _are_among(_calls(needed), said) and _are_among(said, _calls(made))

    def _steps(self, length: int) -> Iterator[Step]:
        steps = self._tapes[0].steps
        for each in self._segments:
            trips = self.fit(each.trips) if isinstance(each, Period) else 1
            body = steps[each.starts[0] : each.starts[0] + each.length]
            for _ in range(evaluate(trips, {self.fit.name: length}) if trips is not None else 0):
                yield from body

    def begin_later(self) -> bool:
        """Let the bodies begin where as many steps as stand before their first iteration are done: those belong to
        iterations that began with what comes next. False where none stand there."""
        slack = [each.slack for each in self._found if isinstance(each, Period)]
        self._segments = self._found = list(_begun_later(self._found))
        return any(slack)

    def peel(self, irregular: Irregular) -> None:
        """Take an iteration out of its loop. Raises NotPeriodic where too few are left to tell."""
        self._segments = list(_peeled(self._segments, irregular))
        if any(min(each.trips) < _LEAST_TRIPS for each in self._segments if isinstance(each, Period)):
            raise NotPeriodic


def _calls(steps: Iterable[Step]) -> Iterator[Any]:
    return (_of_any_list(each.token) for each in steps if not is_answer(each.node))


def _are_among(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether these stand among others, in this order."""
    rest = iter(others)
    return all(each in rest for each in some)


def _of_any_list(token: Any) -> Any:
    """A token in which a list of one tensor is one of many."""
    if token == ("list", Hole("tensor")):
        return Hole("many")
    return tuple(map(_of_any_list, token)) if type(token) is tuple else token


def _begun_later(segments: Sequence[Straight | Period]) -> Iterator[Straight | Period]:
    """The segments, whose loops begin and end later by their slack."""
    taken = 0  # of the straight steps after a loop
    for each in segments:
        starts = tuple(start + taken for start in each.starts)
        if isinstance(each, Straight):
            if each.length > taken:
                yield Straight(starts, each.length - taken)
            taken = 0
            continue
        if each.slack:
            yield Straight(starts, each.slack)
        yield replace(each, starts=tuple(start + each.slack for start in starts), slack=0)
        taken += each.slack


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
