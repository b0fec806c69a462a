"""Arithmetic and logic that changes nothing: the result is the same, bit for bit.

Floating-point numbers are not reassociated. x + 0.0 is no identity for them, as it makes 0.0 of -0.0; x + -0.0 is one.
"""

from __future__ import annotations

import math

from fxonnx.passes.rewriting.rewrite import rule


def _keeps_signed_zero(x, number):
    """Whether x + number is x, given that the number is zero."""
    return not x.dtype.is_float or math.copysign(1.0, number) < 0


@rule
class identity:
    """x ── Identity ─▶        becomes        x ─▶"""
    def before(op, x): return op.Identity(x)
    def after(x): return x


@rule
class add_zero:
    """x ── + 0 ─▶        becomes        x ─▶        for integers, and -0.0"""
    def before(op, x, *, zero): return x + zero
    def after(x): return x
    def where(x, zero): return zero == 0 and _keeps_signed_zero(x, zero)


@rule
class subtract_zero:
    """x ── − 0 ─▶        becomes        x ─▶        for integers, and 0.0"""
    def before(op, x, *, zero): return x - zero
    def after(x): return x
    def where(x, zero): return zero == 0 and _keeps_signed_zero(x, -zero)


@rule
class multiply_by_one:
    """x ── × 1 ─▶        becomes        x ─▶"""
    def before(op, x): return x * 1
    def after(x): return x


@rule
class divide_by_one:
    """x ── ÷ 1 ─▶        becomes        x ─▶"""
    def before(op, x): return x / 1
    def after(x): return x


@rule
class square:
    """x ── Pow 2 ─▶        becomes        x ─┬─ × ─▶
    └──┘"""
    def before(op, x): return x**2
    def after(x): return x * x


@rule
class double_negative:
    """x ── Neg ── Neg ─▶        becomes        x ─▶"""
    def before(op, x): return op.Neg(op.Neg(x))
    def after(x): return x


@rule
class double_not:
    """x ── Not ── Not ─▶        becomes        x ─▶"""
    def before(op, x): return op.Not(op.Not(x))
    def after(x): return x


@rule
class and_true:
    """x ── And true ─▶        becomes        x ─▶"""
    def before(op, x): return op.And(x, True)
    def after(x): return x


@rule
class or_false:
    """x ── Or false ─▶        becomes        x ─▶"""
    def before(op, x): return op.Or(x, False)
    def after(x): return x


@rule
class known_choice:
    """true, x, y ── Where ─▶        becomes        x ─▶        where y does not broadcast it"""
    def before(op, x, y, *, condition): return op.Where(condition, x, y)
    def after(x, y, condition): return x if condition else y
    def where(x, y, condition, result): return (x if condition else y).type == result.type
