"""Where sequences of tokens of several lengths repeat themselves: the longer ones repeat the same body more often.

a b  c d c d c d  e                  straight a b, then c d three, five or seven times, then straight e
a b  c d c d c d c d c d  e
a b  c d c d c d c d c d c d c d  e
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_LEAST_TRIPS = 4  # fewer equal bodies in a row come about by accident


@dataclass(frozen=True, slots=True)
class Straight:
    """Steps that all sequences have alike; `starts` says where in each."""

    starts: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class Period:
    """A body of `length` steps, which each sequence repeats `trips` times; `slack` steps more may stand before it, so
    that it may as well begin that much later."""

    starts: tuple[int, ...]
    length: int
    trips: tuple[int, ...]
    slack: int = 0


class NotRolled(Exception):
    """Tapes of several lengths are not one with loops; the text says why."""


class NoLoop(NotRolled):
    """Tapes of several lengths have as many calls: nothing loops over the size."""


class Irregular(Exception):
    """The first or the last iteration of a loop is another one than the rest."""

    def __init__(self, loop: int, *, first: bool) -> None:
        super().__init__(f"loop {loop} has {'a first' if first else 'a last'} iteration of its own")
        self.loop, self.first = loop, first


class NotPeriodic(Exception):
    """The sequences differ in another way."""


def segments(sequences: Sequence[Sequence[Any]]) -> list[Straight | Period]:
    """The sequences, shortest first, as what they have alike and what they repeat, if anything. Raises NotPeriodic.

    Linear in their lengths, but for the bodies that are tried where they part.
    """
    found: list[Straight | Period] = []
    starts = tuple(0 for _ in sequences)
    while True:
        alike = _alike(sequences, starts)
        ends = tuple(start + alike for start in starts)
        if all(end == len(each) for end, each in zip(ends, sequences, strict=True)):
            found = _with_straight(found, starts, alike)
            break
        period = next(_periods(sequences, starts, ends), None)
        if period is None:
            raise NotPeriodic
        found = _with_straight(found, starts, period.starts[0] - starts[0])
        found.append(period)
        starts = tuple(start + trips * period.length for start, trips in zip(period.starts, period.trips, strict=True))
    return found


def _with_straight(found: list[Straight | Period], starts: tuple[int, ...], length: int) -> list[Straight | Period]:
    return [*found, Straight(starts, length)] if length else found


def _alike(sequences: Sequence[Sequence[Any]], starts: Sequence[int]) -> int:
    """How many tokens the sequences have alike from here on."""
    count = 0
    for tokens in zip(*(each[start:] for each, start in zip(sequences, starts, strict=True)), strict=False):
        if any(token != tokens[0] for token in tokens):
            break
        count += 1
    return count


def _periods(sequences: Sequence[Sequence[Any]], starts: tuple[int, ...], ends: tuple[int, ...]) -> Iterator[Period]:
    """The periods that may end where the sequences part, shortest first."""
    longest, end = sequences[-1], ends[-1]
    for length in _lengths(longest, starts[-1], end):
        begin = end - length
        while begin > starts[-1] and longest[begin - 1] == longest[begin - 1 + length]:
            begin -= 1
        back = end - begin
        froms = tuple(each - back for each in ends)
        tos = [_end(each, at, length) for each, at in zip(sequences, ends, strict=True)]
        counts = {(to - at) % length for to, at in zip(tos, froms, strict=True)}
        if len(counts) == 1:
            trips = tuple((to - at) // length for to, at in zip(tos, froms, strict=True))
            if trips[0] >= _LEAST_TRIPS and len(set(trips)) > 1:
                yield Period(froms, length, trips, counts.pop())


def _lengths(tokens: Sequence[Any], start: int, end: int) -> Iterator[int]:
    """How long bodies may be that end here and begin again."""
    if end >= len(tokens):
        return
    for length in range(1, min(end - start, len(tokens) - end) + 1):
        if tokens[end - length] == tokens[end] and tokens[end - length : end] == tokens[end : end + length]:
            yield length


def _end(tokens: Sequence[Any], end: int, length: int) -> int:
    """Up to where a sequence goes on repeating."""
    while end < len(tokens) and tokens[end] == tokens[end - length]:
        end += 1
    return end
