"""Bessel functions of the orders 0 and 1, modified ones, and Airy's, computed in double for every dtype.

Near 0 by quotients of polynomials or Chebyshev series, further out by Hankel's asymptotic series: absolute errors below
1e-15, but next to the zeros far out, where the sine of a large angle has lost digits. Source: `cephes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.special import cephes
from fxonnx.lowering.aten.special.series import chebyshev, in_double, quotient
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import number

_ORDERS = (cephes.ORDER_0, cephes.ORDER_1)
# The squares of the first two zeros of J₀ and J₁.
_ZEROS = ((5.78318596294678452118, 30.4712623436620863991), (14.6819706421238932572, 49.2184563216946036703))
_HANKEL_FROM = 5.0

Trigonometric: TypeAlias = Callable[[Tensor], Tensor]

_NAMES = {"x": "self"}  # of the ops that torch added last

# ── Bessel functions ─────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.special_bessel_j0", promote=FLOAT, given={"order": 0})
@lower("aten.special_bessel_j1", promote=FLOAT, given={"order": 1})
def bessel_j(op: Builder, self: Tensor, order: int) -> Tensor:
    """The Bessel function of the first kind of an order; that of order 1 is odd."""
    return in_double(op, self, lambda x: _first_kind(op, x, order))


@lower("aten.special_bessel_y0", promote=FLOAT, given={"order": 0})
@lower("aten.special_bessel_y1", promote=FLOAT, given={"order": 1})
def bessel_y(op: Builder, self: Tensor, order: int) -> Tensor:
    """The Bessel function of the second kind of an order; -∞ at 0, NaN below."""
    return in_double(op, self, lambda x: _second_kind(op, x, order))


@lower("aten.special_spherical_bessel_j0", promote=FLOAT, rename=_NAMES)
def spherical_bessel_j0(op: Builder, self: Tensor) -> Tensor:
    """sin(x) / x; 1 at 0, and 0 at infinity."""

    def sine_over(x: Tensor) -> Tensor:
        bounded = op.Where(op.Or(op.IsInf(x), op.Equal(x, 0.0)), 1.0, x)
        value = op.Where(op.IsInf(x), 0.0, op.Sin(bounded) / bounded)
        return op.Where(op.Equal(x, 0.0), 1.0, value)

    return in_double(op, self, sine_over)


def _first_kind(op: Builder, x: Tensor, order: int) -> Tensor:
    a, tables = op.Abs(x), _ORDERS[order]
    square = op.Min(a, _HANKEL_FROM) * op.Min(a, _HANKEL_FROM)
    first, second = _ZEROS[order]
    near = (square - first) * (square - second) * quotient(square, tables["RP"], tables["RQ"])
    far = _hankel(op, a, order, op.Cos, op.Sin, -1.0)
    near = near * op.Min(a, _HANKEL_FROM) if order == 1 else near
    value = op.Where(a <= _HANKEL_FROM, near, far)
    return value * op.Sign(x) if order == 1 else value


def _second_kind(op: Builder, x: Tensor, order: int) -> Tensor:
    tables = _ORDERS[order]
    bounded = op.Min(x, _HANKEL_FROM)
    series = quotient(bounded * bounded, tables["YP"], tables["YQ"])
    of_log = _first_kind(op, bounded, order) * op.Log(bounded)
    if order == 1:
        series, of_log = series * bounded, of_log - op.Reciprocal(bounded)
    near = series + of_log * (2 / math.pi)
    far = _hankel(op, x, order, op.Sin, op.Cos, 1.0)
    value = op.Where(x <= _HANKEL_FROM, near, far)
    return op.Where(op.Equal(x, 0.0), -math.inf, op.Where(x < 0.0, math.nan, value))


def _hankel(op: Builder, x: Tensor, order: int, even: Trigonometric, odd: Trigonometric, sign: float) -> Tensor:
    """√(2 / πx)·(P(x)·even(θ) ± 5/x·Q(x)·odd(θ)) with θ = x - π/4 - order·π/2. A&S 9.2.5."""
    tables = _ORDERS[order]
    part = op.Div(_HANKEL_FROM, op.Max(x, _HANKEL_FROM))
    angle = x - (math.pi / 4 + order * math.pi / 2)
    main = even(angle) * quotient(part * part, tables["PP"], tables["PQ"])
    rest = odd(angle) * part * quotient(part * part, tables["QP"], tables["QQ"])
    return (main + rest * sign) * math.sqrt(2 / math.pi) / op.Sqrt(x)


# ── modified Bessel functions ────────────────────────────────────────────────────────────────────────────────────────

_FIRST = (cephes.I0, cephes.I1)
_SECOND = (cephes.K0, cephes.K1)


@lower("aten.i0", "aten.special_i0", "aten.special_modified_bessel_i0", promote=FLOAT, given={"order": 0})
@lower("aten.special_i0e", promote=FLOAT, given={"order": 0, "scaled": True})
@lower("aten.special_i1", "aten.special_modified_bessel_i1", promote=FLOAT, given={"order": 1})
@lower("aten.special_i1e", promote=FLOAT, given={"order": 1, "scaled": True})
def modified_bessel_i(op: Builder, self: Tensor, order: int, scaled: bool = False) -> Tensor:
    """The modified Bessel function of the first kind of an order; scaled, times exp(-|x|)."""

    def body(x: Tensor) -> Tensor:
        value = _scaled_first(op, x, order)
        return value if scaled else value * op.Exp(op.Abs(x))

    return in_double(op, self, body)


@lower("aten.special_modified_bessel_k0", promote=FLOAT, given={"order": 0})
@lower("aten.special_scaled_modified_bessel_k0", promote=FLOAT, rename=_NAMES, given={"order": 0, "scaled": True})
@lower("aten.special_modified_bessel_k1", promote=FLOAT, given={"order": 1})
@lower("aten.special_scaled_modified_bessel_k1", promote=FLOAT, rename=_NAMES, given={"order": 1, "scaled": True})
def modified_bessel_k(op: Builder, self: Tensor, order: int, scaled: bool = False) -> Tensor:
    """The modified Bessel function of the second kind of an order; scaled, times exp(x). ∞ at 0, NaN below."""

    def body(x: Tensor) -> Tensor:
        value = op.Where(x <= 2.0, _near_second(op, op.Min(x, 2.0), order, scaled), _far_second(op, x, order, scaled))
        return op.Where(op.Equal(x, 0.0), math.inf, op.Where(x < 0.0, math.nan, value))

    return in_double(op, self, body)


def _scaled_first(op: Builder, x: Tensor, order: int) -> Tensor:
    """exp(-|x|) times the modified function of the first kind."""
    a, tables = op.Abs(x), _FIRST[order]
    near = chebyshev(op, op.Min(a, 8.0) * 0.5 - 2.0, tables["A"])
    near = near * op.Min(a, 8.0) if order == 1 else near
    far = chebyshev(op, op.Div(32.0, op.Max(a, 8.0)) - 2.0, tables["B"]) / op.Sqrt(a)
    value = op.Where(a <= 8.0, near, far)
    return value * op.Sign(x) if order == 1 else value


def _near_second(op: Builder, x: Tensor, order: int, scaled: bool) -> Tensor:
    series = chebyshev(op, x * x - 2.0, _SECOND[order]["A"])
    of_log = op.Log(x * 0.5) * _scaled_first(op, x, order) * op.Exp(x)
    value = series / x + of_log if order == 1 else series - of_log
    return value * op.Exp(x) if scaled else value


def _far_second(op: Builder, x: Tensor, order: int, scaled: bool) -> Tensor:
    value = chebyshev(op, op.Div(8.0, op.Max(x, 2.0)) - 2.0, _SECOND[order]["B"]) / op.Sqrt(x)
    return value if scaled else value * op.Exp(-x)


# ── Airy's function ──────────────────────────────────────────────────────────────────────────────────────────────────

_AIRY_TERMS = 28  # of the series, which then has 1e-20 left at 2.09
_AIRY_FAR = 2.09
_AIRY_AT_0 = (0.355028053887817239260, 0.258819403792806798405)  # Ai(0), -Ai'(0)


@lower("aten.special_airy_ai", promote=FLOAT, rename=_NAMES)
def airy_ai(op: Builder, self: Tensor) -> Tensor:
    """Airy's function Ai; 0 from 103.892 on, NaN at the infinities, as in torch."""

    def body(x: Tensor) -> Tensor:
        middle = _airy_series(op, op.Clip(x, -_AIRY_FAR, _AIRY_FAR))
        value = op.Where(x < -_AIRY_FAR, _airy_left(op, x), op.Where(x >= _AIRY_FAR, _airy_right(op, x), middle))
        return op.Where(op.IsInf(x), math.nan, op.Where(x > 103.892, 0.0, value))

    return in_double(op, self, body)


def _airy_series(op: Builder, x: Tensor) -> Tensor:
    """A&S 10.4.2, by Horner's rule in x³."""
    cube = x * x * x
    even = odd = number(op, 1.0, x)
    for term in range(_AIRY_TERMS, 0, -1):
        even = even * cube / float(3 * term * (3 * term - 1)) + 1.0
        odd = odd * cube / float(3 * term * (3 * term + 1)) + 1.0
    return even * _AIRY_AT_0[0] - x * odd * _AIRY_AT_0[1]


def _airy_right(op: Builder, x: Tensor) -> Tensor:
    root = op.Sqrt(op.Max(x, _AIRY_FAR))
    zeta = root * op.Max(x, _AIRY_FAR) * (2 / 3)
    shrinking = quotient(op.Reciprocal(zeta), cephes.AIRY["AN"], cephes.AIRY["AD"])
    return shrinking * op.Exp(-zeta) / op.Sqrt(root) * (0.5 / math.sqrt(math.pi))


def _airy_left(op: Builder, x: Tensor) -> Tensor:
    a = op.Max(-x, _AIRY_FAR)
    root = op.Sqrt(a)
    zeta = root * a * (2 / 3)
    z, angle = op.Reciprocal(zeta), zeta + math.pi / 4
    main = quotient(z * z, cephes.AIRY["AFN"], cephes.AIRY["AFD"]) * z * z + 1.0
    rest = quotient(z * z, cephes.AIRY["AGN"], cephes.AIRY["AGD"]) * z
    return (op.Sin(angle) * main - op.Cos(angle) * rest) / op.Sqrt(root) / math.sqrt(math.pi)
