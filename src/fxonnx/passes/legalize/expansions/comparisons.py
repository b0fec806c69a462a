"""Comparing, bounding and rounding numbers of dtypes that their operators did not take before."""

from __future__ import annotations

import math

from fxonnx.dtypes import FLOAT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Node, has_content
from fxonnx.passes.legalize.registry import NoExpansion, expands, form


def _reads_floats(node: Node) -> bool:
    return node.inputs[0] is not None and node.inputs[0].dtype.is_float


@form("Equal", since=11, applies=_reads_floats)
def equal(op: Builder, a: Tensor, b: Tensor) -> Tensor:
    """Neither less nor greater, and neither is NaN."""
    apart = op.Or(op.Less(a, b), op.Greater(a, b))
    return op.Not(op.Or(apart, op.Or(op.IsNaN(a), op.IsNaN(b))))


def _is_of_integers(node: Node) -> bool:
    return not node.output.dtype.is_float


@form("Min", since=12, applies=_is_of_integers)
def minimum(op: Builder, first: Tensor, *others: Tensor) -> Tensor:
    """The lesser of two, one after the other."""
    for other in others:
        first = op.Where(op.Less(other, first), other, first)
    return first


@form("Max", since=12, applies=_is_of_integers)
def maximum(op: Builder, first: Tensor, *others: Tensor) -> Tensor:
    """The greater of two, one after the other."""
    for other in others:
        first = op.Where(op.Greater(other, first), other, first)
    return first


def _has_computed_bounds(node: Node) -> bool:
    return not all(bound is None or has_content(bound) for bound in node.inputs[1:])


@expands("Clip")
@form("Clip", since=12, applies=_is_of_integers)
@form("Clip", since=11, applies=_has_computed_bounds)
def clip(op: Builder, x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """Max with the lower bound, then Min with the upper."""
    x = x if low is None else op.Max(x, low)
    return x if high is None else op.Min(x, high)


def _mixes_dtypes(node: Node) -> bool:
    base, exponent = node.inputs
    return base is not None and exponent is not None and not (base.dtype is exponent.dtype and base.dtype.is_float)


@form("Pow", since=12, applies=_mixes_dtypes)
def power(op: Builder, base: Tensor, exponent: Tensor) -> Tensor:
    """In the floats of the base; a base of integers in float64, as the runtime has it."""
    wide = base.dtype if base.dtype.is_float else FLOAT64
    result = op.Pow(*(each if each.dtype is wide else op.Cast(each, to=wide) for each in (base, exponent)))
    return result if base.dtype is wide else op.Cast(result, to=base.dtype)


@expands("IsInf")
def is_inf(op: Builder, x: Tensor, *, detect_negative: int, detect_positive: int) -> Tensor:
    """Not less than infinity, and no NaN."""
    signs = (detect_positive, -detect_negative)
    found = [op.Not(op.Less(x * float(sign), math.inf)) for sign in signs if sign]
    if not found:
        raise NoExpansion("IsInf that looks for neither infinity")
    either = found[0] if len(found) == 1 else op.Or(*found)
    return op.And(either, op.Not(op.IsNaN(x)))


@expands("Round", opmath=True)
def round_(op: Builder, x: Tensor) -> Tensor:
    """To the nearest integer, halves to the even one. The sign stays, of zeros too, which a Where would lose."""
    size = op.Abs(x)
    down = op.Floor(size)
    rest = size - down
    is_odd = op.Greater(down - op.Floor(down * 0.5) * 2.0, 0.5)
    up = op.Or(op.Greater(rest, 0.5), op.And(op.Not(op.Less(rest, 0.5)), is_odd))
    return op.Where(up, down + 1.0, down) * op.Where(op.Less(x, 0.0), -1.0, op.constant(1.0, x.dtype))
