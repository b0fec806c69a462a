"""The lengths of runs. Of a loop over chunks they are such that it has some iterations, whatever one chunk takes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Set
from dataclasses import dataclass

from fxonnx.capture.tracer.sizes.primes import is_prime
from fxonnx.ir.dims import Dim, evaluate, symbols_of


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of runs, some at a time: what is found at some is proved at the others; and the one to play at."""

    series: tuple[tuple[int, ...], ...]
    played: int


STEPS = Lengths(((7, 8, 11, 13),), 13)
# Each usual size of a chunk divides one of them, and leaves 1 of another; of the one to play at it leaves more.
CHUNKS = Lengths(((36, 40, 48, 49, 55, 61), (500, 501, 512, 513, 640, 641)), 599)
FEW = Lengths(((4, 5, 6, 7),), 7)  # of what counts the elements of a short axis
INSIDE = {STEPS: Lengths(((6, 9, 10, 12, 14),), 17), CHUNKS: Lengths(((42, 45, 51, 53, 58),), 607)}
"""of a loop inside of those over another dim"""
_TRIPS = (6, 7, 8, 9, 10)
_GREATEST = 1 << 26


def of_chunks(counts: Iterable[Dim], over: str, taken: Set[int] = frozenset()) -> Lengths | None:
    """Lengths for loops that go as often as `counts` say, of a size of this name: whole chunks, and one element, or a
    few, beside those; none that is `taken` by another size. None where none of them goes by several elements."""
    starts = [found for count in counts if symbols_of([count]) == {over} and (found := _starts(count, over))]
    longest = max(starts, default=())
    if not longest or longest[1] == longest[0] + 1:
        return None
    first, second, third, fourth, fifth = longest
    step = second - first
    lengths = {first - 1, first, second + 1, third - 1, fourth - 2, fifth}
    return Lengths((tuple(sorted(lengths - taken)),), _with_a_part(fifth, step, taken))


def _with_a_part(least: int, step: int, taken: Set[int]) -> int:
    """A prime size, some chunks of this step beyond the least of a number of them, whose last one has some elements:
    not one, which is a size of its own, and not all."""
    sizes = (least + each for each in range(step, 20 * step) if 0 < each % step < max(step - 1, 2))
    return next((each for each in sizes if is_prime(each) and each not in taken), least + step + step // 3)


def _starts(count: Dim, over: str) -> tuple[int, ...]:
    """The least sizes at which a loop goes so often; none where it does not by sizes that a tensor has."""
    try:
        sizes = range(1, _GREATEST)
        found = tuple(1 + bisect_left(sizes, trips, key=lambda size: evaluate(count, {over: size})) for trips in _TRIPS)
    except ZeroDivisionError:
        return ()
    return found if found[-1] < _GREATEST else ()


__all__ = ["CHUNKS", "FEW", "INSIDE", "STEPS", "Lengths", "of_chunks"]
