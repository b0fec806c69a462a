"""Orthogonal polynomials by their recurrences, which torch follows too: unrolled where the degree is known when
compiling and small, else in a loop up to the largest degree.

In the dtype of the arguments. A fractional degree counts as the whole one towards 0, a negative one gives 0.
Source: Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964), 22.7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import dtype_of, number, truncated

_UNROLLED = 16  # the largest degree


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Of P₀ = 1 on: `first(x)` is P₁, and `step(x, k, P_{k-1}, P_{k-2})` is P_k; x and k are tensors or numbers."""

    first: Callable[[Any], Any]
    step: Callable[[Any, Any, Any, Any], Any]


def _chebyshev(constant: float, factor: float) -> Recurrence:
    """The four kinds differ in their P₁."""
    return Recurrence(lambda x: x * factor + constant, lambda x, k, last, before: (x + x) * last - before)


FAMILIES = {
    "chebyshev t": _chebyshev(0.0, 1.0),
    "chebyshev u": _chebyshev(0.0, 2.0),
    "chebyshev v": _chebyshev(-1.0, 2.0),
    "chebyshev w": _chebyshev(1.0, 2.0),
    "hermite h": Recurrence(lambda x: x + x, lambda x, k, last, before: (x + x) * last - before * ((k - 1.0) * 2.0)),
    "hermite he": Recurrence(lambda x: x, lambda x, k, last, before: x * last - before * (k - 1.0)),
    "laguerre": Recurrence(
        lambda x: 1.0 - x, lambda x, k, last, before: ((1.0 - x + (k - 1.0) * 2.0) * last - before * (k - 1.0)) / k
    ),
    "legendre": Recurrence(
        lambda x: x, lambda x, k, last, before: (x * (k + k - 1.0) * last - before * (k - 1.0)) / k
    ),
}

_HERMITE_LIMITS = {dtypes.FLOAT32: 128, dtypes.FLOAT64: 512}  # beyond them torch gives NaN (ATen/native/Math.h)


@lower("aten.special_chebyshev_polynomial_t", promote=FLOAT.of("x", "n"), given={"family": "chebyshev t"})
@lower("aten.special_chebyshev_polynomial_u", promote=FLOAT.of("x", "n"), given={"family": "chebyshev u"})
@lower("aten.special_chebyshev_polynomial_v", promote=FLOAT.of("x", "n"), given={"family": "chebyshev v"})
@lower("aten.special_chebyshev_polynomial_w", promote=FLOAT.of("x", "n"), given={"family": "chebyshev w"})
@lower("aten.special_legendre_polynomial_p", promote=FLOAT.of("x", "n"), given={"family": "legendre"})
@lower("aten.special_laguerre_polynomial_l", promote=FLOAT.of("x", "n"), given={"family": "laguerre"})
def orthogonal_polynomial(op: Builder, x: Tensor, n: Tensor, family: str) -> Tensor:
    """The polynomial of degree n of a family at x."""
    degree, recurrence = _known_degree(n), FAMILIES[family]
    return _in_loop(op, x, n, recurrence) if degree is None else _unrolled(op, x, degree, recurrence)


@lower("aten.special_shifted_chebyshev_polynomial_t", promote=FLOAT.of("x", "n"), given={"family": "chebyshev t"})
@lower("aten.special_shifted_chebyshev_polynomial_u", promote=FLOAT.of("x", "n"), given={"family": "chebyshev u"})
@lower("aten.special_shifted_chebyshev_polynomial_v", promote=FLOAT.of("x", "n"), given={"family": "chebyshev v"})
@lower("aten.special_shifted_chebyshev_polynomial_w", promote=FLOAT.of("x", "n"), given={"family": "chebyshev w"})
def shifted_polynomial(op: Builder, x: Tensor, n: Tensor, family: str) -> Tensor:
    """The same at 2x - 1."""
    return orthogonal_polynomial(op, x + x - 1.0, n, family)


@lower("aten.special_hermite_polynomial_h", promote=FLOAT.of("x", "n"), given={"family": "hermite h"})
@lower("aten.special_hermite_polynomial_he", promote=FLOAT.of("x", "n"), given={"family": "hermite he"})
def hermite_polynomial(op: Builder, x: Tensor, n: Tensor, family: str) -> Tensor:
    """Hermite's polynomial of degree n, the physicists' or the probabilists'; NaN beyond torch's largest degree."""
    value = orthogonal_polynomial(op, x, n, family)
    return op.Where(truncated(op, n) > float(_HERMITE_LIMITS[dtype_of(x)]), math.nan, value)


def _known_degree(n: Tensor) -> int | None:
    """The degree, where it is one number that is known and small."""
    data = n.value.data
    if data is None or n.shape:
        return None
    degree = float(data.array())
    return int(degree) if abs(degree) <= _UNROLLED else None


def _unrolled(op: Builder, x: Tensor, degree: int, family: Recurrence) -> Tensor:
    if degree < 1:
        return op.Expand(number(op, float(degree == 0), x), op.Shape(x))
    before: Any = 1.0
    last = family.first(x)
    for k in range(2, degree + 1):
        before, last = last, family.step(x, float(k), last, number(op, 1.0, x) if k == 2 else before)
    return op.Identity(last)


def _in_loop(op: Builder, x: Tensor, n: Tensor, family: Recurrence) -> Tensor:
    """Every element goes on until its own degree is reached."""
    shape, degree = op.Shape(x + n), truncated(op, n)
    x = op.Expand(x, shape)
    most = op.ReduceMax(op.Concat(op.Reshape(degree, [-1]), op.Reshape(number(op, 1.0, x), [1]), axis=0), keepdims=0)

    def step(inner: Builder, iteration: Tensor, going: Tensor, before: Tensor, last: Tensor) -> list[Tensor]:
        k = inner.Cast(iteration, to=dtype_of(x)) + 2.0
        following = family.step(inner.use(x.value), k, last, before)
        goes_on = k <= inner.use(degree.value)
        return [inner.Identity(going), inner.Where(goes_on, last, before), inner.Where(goes_on, following, last)]

    ones = op.Expand(number(op, 1.0, x), shape)
    trips = op.Cast(most, to=dtypes.INT64) - 1
    _, last = record_loop(op, [ones, family.first(x)], step, trips)
    value = op.Where(degree >= 1.0, last, 1.0)
    return op.Where(degree < 0.0, 0.0, value)
