"""Casts that change nothing."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.passes.rewriting.rewrite import rule


@rule
class cast_to_itself:
    """x: T ── Cast T ─▶        becomes        x ─▶"""
    def before(op, x, *, to, **rest): return op.Cast(x, to=to, **rest)
    def after(x): return x
    def where(x, to): return x.dtype.code == to


@rule
class cast_over_a_wider_dtype:
    """x: S ── Cast W ── Cast T ─▶        becomes        x ── Cast T ─▶        where W holds every value of S"""
    def before(op, x, *, wide, to, **rest): return op.Cast(op.keep(op.Cast(x, to=wide)), to=to, **rest)
    def after(op, x, to, **rest): return x if x.dtype.code == to else op.Cast(x, to=to, **rest)
    def where(x, wide): return dtypes.contains(dtypes.dtype(wide), x.dtype)
