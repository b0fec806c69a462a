"""Sums that approximate functions, computed in double for every dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.vocabulary import cast, dtype_of, number


def in_double(op: Builder, x: Tensor, body: Callable[[Tensor], Tensor]) -> Tensor:
    """`body` of x in double, in the dtype of x."""
    return cast(op, body(cast(op, x, dtypes.FLOAT64)), dtype_of(x))


def quotient(x: Tensor, above: Sequence[float], below: Sequence[float]) -> Tensor:
    """The quotient of two polynomials."""
    return polynomial(x, above) / polynomial(x, below)


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """By Horner's rule, from the highest power down."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def chebyshev(op: Builder, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """½c₀ + Σ cₖ·Tₖ(x / 2) by Clenshaw's rule, from the last term down to c₀."""
    total = number(op, coefficients[0], x)
    before, last = number(op, 0.0, x), number(op, 0.0, x)
    for coefficient in coefficients[1:]:
        before, last = last, total
        total = x * last - before + coefficient
    return (total - before) * 0.5
