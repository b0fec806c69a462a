"""The inverse trigonometric and hyperbolic functions of complex tensors, on pairs (see `pairs`).

Their formulas keep the digits that log(x + √(x² - 1)) and its kin lose; what comes before the last function is in
float64. Source: Kahan, Branch Cuts for Complex Elementary Functions, 1987.
"""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.complex.exponentials import out_of_turn, sqrt, turned
from fxonnx.lowering.aten.complex.pairs import conjugate, pair, parts, product
from fxonnx.lowering.aten.math.special import atan2, log1p
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import cast


def _roots(op: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """(√(1 - x), √(1 + x)) in float64, with the sign that a zero beside the real axis has."""
    a, b = parts(op, cast(op, x, dtypes.FLOAT64))
    return sqrt(op, pair(op, -a + 1.0, -b)), sqrt(op, pair(op, a + 1.0, b))


@lower("aten.asin", when=COMPLEX)
def asin(op: Builder, self: Tensor) -> Tensor:
    """(atan2(a, Re √(1 - x) √(1 + x)), asinh(Im √(1 - x)* √(1 + x)))."""
    less, more = _roots(op, self)
    height, _ = parts(op, product(op, less, more))
    _, slope = parts(op, product(op, conjugate(op, less), more))
    a, _ = parts(op, self)
    return pair(op, atan2(op, a, cast(op, height, self.dtype)), op.Asinh(cast(op, slope, self.dtype)))


@lower("aten.acos", when=COMPLEX)
def acos(op: Builder, self: Tensor) -> Tensor:
    """(2 atan2(Re √(1 - x), Re √(1 + x)), asinh(Im √(1 + x)* √(1 - x)))."""
    less, more = _roots(op, self)
    _, slope = parts(op, product(op, conjugate(op, more), less))
    low, high = (cast(op, parts(op, root)[0], self.dtype) for root in (less, more))
    return pair(op, atan2(op, low, high) * 2.0, op.Asinh(cast(op, slope, self.dtype)))


@lower("aten.acosh", when=COMPLEX)
def acosh(op: Builder, self: Tensor) -> Tensor:
    """(asinh(Re √(x - 1)* √(x + 1)), 2 atan2(Im √(x - 1), Re √(x + 1)))."""
    a, b = parts(op, cast(op, self, dtypes.FLOAT64))
    less, more = (sqrt(op, pair(op, a + number, b)) for number in (-1.0, 1.0))
    slope, _ = parts(op, product(op, conjugate(op, less), more))
    high, low = (cast(op, part, self.dtype) for part in (parts(op, less)[1], parts(op, more)[0]))
    return pair(op, op.Asinh(cast(op, slope, self.dtype)), atan2(op, high, low) * 2.0)


@lower("aten.asinh", when=COMPLEX)
def asinh(op: Builder, self: Tensor) -> Tensor:
    """-i asin(i x)."""
    return out_of_turn(op, asin(op, turned(op, self)))


@lower("aten.atanh", when=COMPLEX)
def atanh(op: Builder, self: Tensor) -> Tensor:
    """(log1p(4a / ((1 - a)² + b²)) / 4, atan2(2b, (1 - a) (1 + a) - b²) / 2)."""
    a, b = parts(op, cast(op, self, dtypes.FLOAT64))
    one = op.constant([1.0], a.dtype)
    beside = (one - a) * (one - a) + b * b
    size = log1p(op, a * 4.0 / beside) * 0.25
    across, along = (cast(op, part, self.dtype) for part in (b * 2.0, (one - a) * (one + a) - b * b))
    return pair(op, cast(op, size, self.dtype), atan2(op, across, along) * 0.5)


@lower("aten.atan", when=COMPLEX)
def atan(op: Builder, self: Tensor) -> Tensor:
    """-i atanh(i x)."""
    return out_of_turn(op, atanh(op, turned(op, self)))
