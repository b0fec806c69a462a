"""A plain number that differs between runs, as an expression of their sizes.

Expressions are tried from the simplest on; the first that is right for all runs is taken. That it is right for others
is for its user to prove.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, permutations

from fxonnx.ir.dims import Dim, ceil_divide, evaluate, floor_divide, maximum, minimum, modulo, symbol, symbols_of

Sizes = Mapping[str, int]
_STEPS = range(2, 129)
_MANY = 12  # dims; of more than that no pairs are tried


def solve(values: Sequence[int], runs: Sequence[Sizes], likely: Sequence[Dim]) -> Dim | None:
    """The dim that has these values at the sizes of these runs, or None. `likely` are dims to try first."""
    known = {dim: _values(dim, runs) for dim in (*likely, *map(symbol, runs[0])) if _is_told(dim, runs)}
    known = {dim: found for dim, found in known.items() if len(set(found)) > 1}
    for dim in _expressions(values, known):
        if _is_told(dim, runs) and _values(dim, runs) == list(values):
            return dim
    return None


def _is_told(dim: Dim, runs: Sequence[Sizes]) -> bool:
    return symbols_of([dim]) <= runs[0].keys()


def _values(dim: Dim, runs: Sequence[Sizes]) -> list[int]:
    try:
        return [evaluate(dim, sizes) for sizes in runs]
    except ZeroDivisionError:
        return []


def _expressions(values: Sequence[int], known: Mapping[Dim, Sequence[int]]) -> Iterator[Dim]:
    """Candidates, the simplest first."""
    yield from known
    for dim, found in known.items():
        yield from _affine(values, dim, found)
    for dim in known:
        yield from _divided(dim)
    few = dict(list(known.items())[:_MANY])
    for one, other in combinations_with_replacement(few, 2):
        yield one * other
        yield from _affine(values, one * other, [a * b for a, b in zip(few[one], few[other], strict=True)])
    for one, other in permutations(few, 2):
        yield from (floor_divide(one, other), ceil_divide(one, other), modulo(one, other), modulo(-1 * one, other))
        yield from (maximum(one, other), minimum(one, other))
        for sign in (1, -1):
            sums = [a + sign * b for a, b in zip(few[one], few[other], strict=True)]
            yield from _affine(values, one + sign * other, sums)
    for one, other, third in combinations_with_replacement(few, 3):
        yield from (one * other * third, floor_divide(one * other, third))
    for dim, found in known.items():
        yield from _steps(values, dim, found)


def _affine(values: Sequence[int], dim: Dim, found: Sequence[int]) -> Iterator[Dim]:
    """k*d + c, by the first two runs in which the dim differs."""
    pairs = [(value, size) for value, size in zip(values, found, strict=True)]
    (value, size), *others = pairs
    different = next(((v, s) for v, s in others if s != size), None)
    if different is not None and (different[0] - value) % (different[1] - size) == 0:
        slope = (different[0] - value) // (different[1] - size)
        if slope:
            yield slope * dim + (value - slope * size)


def _divided(dim: Dim) -> Iterator[Dim]:
    """Quotients of one dim by numbers, and rests."""
    for step in _STEPS:
        yield from (floor_divide(dim, step), ceil_divide(dim, step), modulo(dim, step), modulo(-1 * dim, step))
    for step in _STEPS:
        for offset in range(1, min(step, 8)):
            yield from (floor_divide(dim + offset, step), floor_divide(dim - offset, step))


def _steps(values: Sequence[int], dim: Dim, found: Sequence[int]) -> Iterator[Dim]:
    """Multiples of quotients: sizes that are padded to whole windows."""
    for step in _STEPS:
        if any(size >= step for size in found):
            yield from _affine(values, floor_divide(dim, step), [size // step for size in found])
            yield from _affine(values, ceil_divide(dim, step), [-(-size // step) for size in found])
