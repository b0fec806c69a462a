"""What is known of a size without knowing its symbols: the least and the greatest value it can have.

Interval arithmetic (Moore 1966) on the normal form of a dim, after each symbol is written as its least size and what
is beyond: n*m - n over n, m ≥ 2 is a*b + a + 2*b + 2 over a, b ≥ 0, so at least 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from fxonnx.ir.dims import Call, Dim, Expr, Symbol, symbol
from fxonnx.ir.dims.expression import FUNCTIONS, product

Monomial: TypeAlias = "tuple[Symbol | Call, ...]"
Interval: TypeAlias = "tuple[float, float]"  # whole numbers, or an infinity
Known: TypeAlias = "tuple[tuple[str, int], ...]"  # a number for each symbol that has one

LEAST = 2  # sizes of 0 and 1 broadcast and end: they are held for the same as the rest, as torch.export does


def interval(dim: Dim, lows: Mapping[str, int], highs: Mapping[str, int]) -> Interval:
    """The least and greatest value of a dim whose symbols have at least and at most the given sizes."""
    if isinstance(dim, int):
        return dim, dim
    plain = _plain(dim, lows, highs)
    whole = next(filter(_is_floor, dim.terms), None)
    if whole is None:
        return plain
    relaxed = _without_floor(dim, whole, lows, highs)
    return max(plain[0], relaxed[0]), min(plain[1], relaxed[1])


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


def _is_floor(term: tuple[Monomial, int]) -> bool:
    """Whether a term is a multiple of a floor by a constant, and nothing else."""
    monomial, _ = term
    if len(monomial) != 1 or not isinstance(monomial[0], Call) or monomial[0].function != "//":
        return False
    return isinstance(monomial[0].right, int) and monomial[0].right > 0


def _without_floor(
    dim: Expr, term: tuple[Monomial, int], lows: Mapping[str, int], highs: Mapping[str, int]
) -> Interval:
    """Bounds of d + k*(a // c), by those of c*d + k*a, from which it is c times, less k*r for a rest r below c: in
    n // 2 - n neither part is bounded, in n - 2*n both are one."""
    (floor,), factor = term
    assert isinstance(floor, Call) and isinstance(floor.right, int)
    others = Expr(tuple(each for each in dim.terms if each is not term)) if len(dim.terms) > 1 else 0
    low, high = interval(others * floor.right + factor * floor.left, lows, highs)
    rest = factor * (floor.right - 1)
    low, high = (low - max(rest, 0)) / floor.right, (high - min(rest, 0)) / floor.right
    return low if math.isinf(low) else math.ceil(low), high if math.isinf(high) else math.floor(high)


def _plain(dim: Expr, lows: Mapping[str, int], highs: Mapping[str, int]) -> Interval:
    """Term by term."""
    names = sorted(dim.symbols)
    starts = tuple((name, lows.get(name, LEAST)) for name in names)
    ends = tuple((name, highs[name] - low) for name, low in starts if name in highs)
    return _of_dim(_shifted(dim, starts), ends)


# Sizes are made of sizes: padded, cropped and halved four times, one stands in the next some twenty times. So what is
# found of one is remembered.


@lru_cache(maxsize=1 << 16)
def _shifted(dim: Dim, starts: Known) -> Dim:
    """The dim over what its symbols are beyond their least sizes."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms:
        total = total + factor * product(_shifted_atom(atom, starts) for atom in monomial)
    return total


@lru_cache(maxsize=1 << 16)
def _shifted_atom(atom: Symbol | Call, starts: Known) -> Dim:
    if isinstance(atom, Symbol):
        return symbol(atom.text) + dict(starts)[atom.text]
    return FUNCTIONS[atom.function](_shifted(atom.left, starts), _shifted(atom.right, starts))


@lru_cache(maxsize=1 << 16)
def _of_dim(dim: Dim, ends: Known) -> Interval:
    if isinstance(dim, int):
        return dim, dim
    low, high = 0.0, 0.0
    for monomial, factor in dim.terms:
        term: Interval = (factor, factor)
        for atom in monomial:
            term = _times(term, _of_atom(atom, ends))
        low, high = low + term[0], high + term[1]
    return low, high


def _times(left: Interval, right: Interval) -> Interval:
    products = [0.0 if 0 in (a, b) else a * b for a in left for b in right]
    return min(products), max(products)


@lru_cache(maxsize=1 << 16)
def _of_atom(atom: Symbol | Call, ends: Known) -> Interval:
    if isinstance(atom, Symbol):
        return 0, dict(ends).get(atom.text, math.inf)
    left, right = _of_dim(atom.left, ends), _of_dim(atom.right, ends)
    match atom.function:
        case "max":
            return max(left[0], right[0]), max(left[1], right[1])
        case "min":
            return min(left[0], right[0]), min(left[1], right[1])
        case "%" if right[0] > 0:
            return 0, min(right[1] - 1, left[1]) if left[0] >= 0 else right[1] - 1
        case "//" if right[0] > 0:
            return _quotient(left[0], right), _quotient(left[1], right[::-1])
    return -math.inf, math.inf


def _quotient(value: float, divisors: Interval) -> float:
    """The value's floor by the divisor that makes it smaller: the large one of `divisors` for what is not negative.

    `divisors` is (low, high) for a lower bound, (high, low) for an upper one.
    """
    divisor = divisors[1] if value >= 0 else divisors[0]
    if math.isinf(value):
        return value
    return math.floor(value / divisor) if not math.isinf(divisor) else (0 if value >= 0 else -1)
