"""What is known of a dim from the least and greatest sizes of its symbols: its own least and greatest value.

Each symbol is written as its least size and what is beyond: n*m - n over n, m ≥ 2 is a*b + a + 2*b + 2 over a, b ≥ 0,
so at least 2. And floors are taken off: in n // 2 - n neither part is bounded, in n - 2*n both are one. So are minima,
which are at most what each side is: min(8, n) - n is at most n - n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fxonnx.ir.dims.algebra import fold
from fxonnx.ir.dims.expression import Dim, Expr, of_atom, symbol, with_joined_halves
from fxonnx.ir.dims.ranges import Interval, Ranges
from fxonnx.ir.dims.substitute import Substitution
from fxonnx.ir.dims.terms import Call

_FEW = 2  # minima that are taken apart: each twice as many dims
_STEPS = 64  # dims that are looked at for the bounds of one; those that models have need fewer than 20


class Bounds:
    """The bounds of dims over symbols that have at least and at most the given sizes; `least` where none is given.

    The mappings may get more symbols later on. What is found of a dim, or of one in it, is found once. Of floors and
    extrema nested in each other there are more parts than anybody could wait for: after so many, bounds are wider than
    they might be.
    """

    def __init__(self, lows: Mapping[str, int], highs: Mapping[str, int], least: int = 0) -> None:
        self._shift = _Shift(lows, least)
        self._beyond = _Beyond(lows, highs, least)
        self._known: dict[Expr, Interval] = {}
        self._steps = 0

    def interval(self, dim: Dim) -> Interval:
        """The least and greatest value of a dim."""
        self._steps = _STEPS
        return self._interval(with_joined_halves(dim))

    def _interval(self, dim: Dim) -> Interval:
        if isinstance(dim, int):
            return dim, dim
        if dim not in self._known:
            self._steps -= 1
            bounds = fold(fold(dim, self._shift), self._beyond)
            self._known[dim] = bounds if self._steps < 0 else self._narrowed(dim, bounds)
        return self._known[dim]

    def _narrowed(self, dim: Expr, bounds: Interval) -> Interval:
        """Bounds by those of the dim without one of its floors, and on each side of an extremum."""
        low, high = bounds
        floors = _floors(dim)
        if floors:  # the longest has the others in it
            relaxed = self._without_floor(dim, *max(floors, key=lambda each: len(each[0].text)))
            low, high = max(low, relaxed[0]), min(high, relaxed[1])
        extrema = _lone(dim, "min", "max")
        for extremum, factor in extrema[:1] if len(extrema) <= _FEW else ():
            sides = [self._interval(dim + factor * (side - of_atom(extremum))) for side in _sides(extremum)]
            if (extremum.function == "min") == (factor > 0):
                high = min(high, *(most for _, most in sides))
            else:
                low = max(low, *(least for least, _ in sides))
        return low, high

    def _without_floor(self, dim: Expr, floor: Call, divisor: int, factor: int) -> Interval:
        """Bounds of d + k*(a // c), by those of c*d + k*a, from which it is c times, less k*r for a rest r below c."""
        low, high = self._interval((dim - factor * of_atom(floor)) * divisor + factor * floor.left)
        rest = factor * (divisor - 1)
        return -(-(low - max(rest, 0)) // divisor), (high - min(rest, 0)) // divisor


class _Shift(Substitution):
    """Sizes as the least and what is beyond."""

    def __init__(self, lows: Mapping[str, int], least: int) -> None:
        super().__init__({})
        self._lows, self._least = lows, least

    def symbol(self, name: str) -> Dim:
        return symbol(name) + self._lows.get(name, self._least)


class _Beyond(Ranges):
    """What is beyond the least size."""

    def __init__(self, lows: Mapping[str, int], highs: Mapping[str, int], least: int) -> None:
        super().__init__()
        self._lows, self._highs, self._least = lows, highs, least

    def symbol(self, name: str) -> Interval:
        return 0, self._highs.get(name, math.inf) - self._lows.get(name, self._least)


def _floors(dim: Expr) -> list[tuple[Call, int, int]]:
    """The floors by a constant that stand alone in a term, with that and their factors."""
    return [(call, call.right, factor) for call, factor in _lone(dim, "//") if isinstance(call.right, int)]


def _lone(dim: Expr, *functions: str) -> list[tuple[Call, int]]:
    """The calls of these functions that stand alone in a term, with their factors."""
    alone = [(monomial[0], factor) for monomial, factor in dim.terms if len(monomial) == 1]
    return [(atom, factor) for atom, factor in alone if isinstance(atom, Call) and atom.function in functions]


def _sides(call: Call) -> tuple[Dim, Dim]:
    return call.left, call.right


def certain(relation: str, low: float, high: float) -> bool | None:
    """What the comparison of a number from low to high with 0 comes out as, whichever it is, or None."""
    surely, never = {
        ">": (low > 0, high <= 0),
        ">=": (low >= 0, high < 0),
        "<": (high < 0, low >= 0),
        "<=": (high <= 0, low > 0),
        "==": (low == high == 0, low > 0 or high < 0),
        "!=": (low > 0 or high < 0, low == high == 0),
    }[relation]
    return True if surely else False if never else None
