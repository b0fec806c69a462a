"""The regularized incomplete gamma functions, computed in double for every dtype."""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.lowering.aten.math.special import lgamma
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, number

_MOST_TERMS = 10_000  # about 6·√a are needed where x is near a
_ENOUGH = 2.0**-52


@lower("aten.igamma", "aten.special_gammainc", promote=FLOAT, given={"upper": False})
@lower("aten.igammac", "aten.special_gammaincc", promote=FLOAT, given={"upper": True})
def incomplete_gamma(op: Builder, self: Tensor, other: Tensor, upper: bool) -> Tensor:
    """P(a, x) = γ(a, x) / Γ(a), or Q = 1 - P: by the series below a + 1, by the continued fraction from there on.

    NaN for negative arguments, and where both are 0 or infinite. A&S 6.5.29 and 6.5.31, the latter as Lentz sums it.
    """
    a, x = (cast(op, each, dtypes.FLOAT64) for each in (self, other))
    is_plain = op.And(op.And(a > 0.0, x > 0.0), op.Not(op.Or(op.IsInf(a), op.IsInf(x))))
    plain_a, plain_x = op.Where(is_plain, a, 1.0), op.Where(is_plain, x, 1.0)
    below = plain_x < plain_a + 1.0
    scale = op.Exp(plain_a * op.Log(plain_x) - plain_x - lgamma(op, plain_a))
    series = scale * _series(op, plain_a, op.Where(below, plain_x, 0.0))
    fraction = scale * _fraction(op, plain_a, op.Where(below, plain_a * 16.0 + 1024.0, plain_x))
    value = op.Where(below, 1.0 - series, fraction) if upper else op.Where(below, series, 1.0 - fraction)
    return cast(op, op.Where(is_plain, value, _at_the_edges(op, a, x, upper)), dtype_of(self))


def _at_the_edges(op: Builder, a: Tensor, x: Tensor, upper: bool) -> Tensor:
    """Where an argument is 0, infinite, negative or NaN: all of it lies on one side, or nobody knows. In torch's order,
    for which a 0 or an infinity beside NaN is enough."""
    none, everything = (1.0, 0.0) if upper else (0.0, 1.0)
    no_x, no_a = op.Equal(x, 0.0), op.Equal(a, 0.0)
    is_none = op.Or(op.And(no_x, op.Not(no_a)), op.And(op.IsInf(a), op.Not(op.IsInf(x))))
    is_all = op.Or(op.And(no_a, x > 0.0), op.And(op.IsInf(x), op.Not(op.IsInf(a))))
    value = op.Where(is_all, everything, op.Where(is_none, none, number(op, math.nan, x)))
    return op.Where(op.Or(x < 0.0, a < 0.0), math.nan, value)


def _series(op: Builder, a: Tensor, x: Tensor) -> Tensor:
    """Σ xⁿ / (a(a + 1)…(a + n))."""

    def step(inner: Builder, iteration: Tensor, going: Tensor, term: Tensor, total: Tensor) -> list[Tensor]:
        place = inner.Cast(iteration, to=dtypes.FLOAT64) + 1.0
        term = term * inner.use(x.value) / (inner.use(a.value) + place)
        return [_any(inner, term > total * _ENOUGH), term, total + term]

    first = op.Reciprocal(a) + x * 0.0
    return record_loop(op, [first, first], step, op.constant(_MOST_TERMS), op.constant(True))[1]


def _fraction(op: Builder, a: Tensor, x: Tensor) -> Tensor:
    """1 / (x + 1 - a - 1(1 - a) / (x + 3 - a - …)), from the front."""

    def step(
        inner: Builder, iteration: Tensor, going: Tensor, c: Tensor, d: Tensor, total: Tensor
    ) -> list[Tensor]:  # fmt: skip
        place = inner.Cast(iteration, to=dtypes.FLOAT64) + 1.0
        above = (inner.use(a.value) - place) * place
        below = inner.use(x.value) - inner.use(a.value) + (place * 2.0 + 1.0)
        d = inner.Reciprocal(above * d + below)
        c = above / c + below
        change = c * d
        return [_any(inner, inner.Abs(change - 1.0) > _ENOUGH), c, d, total * change]

    start = x + 1.0 - a
    first = op.Reciprocal(start)
    return record_loop(op, [start + 1e300, first, first], step, op.constant(_MOST_TERMS), op.constant(True))[2]


def _any(op: Builder, condition: Tensor) -> Tensor:
    return op.ReduceSum(op.Cast(condition, to=dtypes.INT64), keepdims=0) > 0
