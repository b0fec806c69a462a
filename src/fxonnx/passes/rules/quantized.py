"""Integers kept where a runtime looks for them: at the operators that compute with them. No value changes, except that
a layer's bias is added behind its product."""

from __future__ import annotations

from math import prod

import numpy as np

from fxonnx.dtypes import FLOAT16, FLOAT32, INT4, INT8
from fxonnx.ir.data import cast
from fxonnx.ir.graph import content, has_content
from fxonnx.ir.schema import has_blocks
from fxonnx.passes.integer_kernels import MANY_ROWS
from fxonnx.passes.rewriting.rewrite import rule


@rule
class transposed_integers:
    """q ── DequantizeLinear ── Transpose ─▶        becomes        q ── Transpose ── DequantizeLinear ─▶

    for a weight, which is then written transposed."""
    def before(op, q, scale, zero=None, *, perm, axis, block_size):
        values = op.DequantizeLinear(q, scale, zero, axis=axis, block_size=block_size)
        return op.Transpose(op.keep(values), perm=perm)
    def after(op, q, scale, zero, perm, axis, block_size):
        order = list(perm) if perm is not None else list(reversed(range(q.rank)))
        scale, zero = (_permuted(op, each, q.rank, order) for each in (scale, zero))
        along = {"axis": order.index(axis % q.rank)} if scale.rank else {}
        turned = op.Transpose(q, perm=order)
        blocks = {"block_size": block_size} if block_size else {}
        return op.DequantizeLinear(turned, scale, zero, **along, **blocks)
    def where(q): return q.value.is_constant and q.rank > 0


def _permuted(op, parameter, rank, order):
    """Scales or zero points of a tensor whose axes are permuted: those of blocks have all its axes."""
    if parameter is None or parameter.rank != rank or rank == 1:
        return parameter
    return op.Transpose(parameter, perm=order)


@rule
class linear_of_integers:
    """x, q ── DequantizeLinear ── Gemm ─▶        becomes        x, q ── DequantizeLinear ── MatMul ── + bias ─▶

    Runtimes have integer products that give floats, and add the bias in the same kernel."""
    def before(op, x, q, scale, zero=None, bias=None, *, transB, **rest):
        values = op.bind("weight", op.keep(op.DequantizeLinear(q, scale, zero, **rest)))
        return op.Gemm(x, values, bias, transB=transB)
    def after(op, x, weight, bias, transB):
        product = op.MatMul(x, op.Transpose(weight, perm=[1, 0]) if transB else weight)
        return product if bias is None else product + bias
    def where(q): return q.value.is_constant


@rule
class scaled_product:
    """x, q ── Cast ── MatMul ── × scale ─▶        becomes        x, q ── DequantizeLinear ── MatMul ─▶

    for a weight of int8 with a scale per column, and few rows of x: there the bytes of the weight are what counts."""
    def before(op, x, q, scale, *, to): return op.MatMul(x, op.Cast(q, to=to)) * scale
    def after(op, x, q, scale):
        return op.MatMul(x, op.DequantizeLinear(q, scale, axis=1))
    def where(x, q, scale, result):
        rows = [dim for dim in result.shape[:-1] if isinstance(dim, int)]
        is_weight = q.value.is_constant and q.rank == 2 and q.dtype is INT8 and x.rank >= 2
        return is_weight and scale.shape == q.shape[1:] and scale.dtype is FLOAT32 and prod(rows) < MANY_ROWS


@rule
class blocks_of_integers:
    """q ── Cast ── − zero ── × scale ── Reshape ─▶        becomes        q ── Reshape ── DequantizeLinear ─▶

    for a matrix whose rows are blocks of int8, each on steps of its own. What four bits hold is stored in them."""
    def when(target): return has_blocks(target.opset)
    def before(op, q, scale, to, zero=None, *, dtype):
        return op.Reshape(_scaled(op, q, scale, zero, dtype), to)
    def after(op, q, scale, zero, result):
        q, zero = _stored(op, q, zero)
        scale, zero = (None if each is None else op.Reshape(each, q.shape[:2]) for each in (scale, zero))
        return op.DequantizeLinear(op.Reshape(q, result.shape), scale, zero, axis=1, block_size=q.shape[2])
    def where(q, scale, zero, result):
        is_matrix = q.rank == 3 and result.shape == (q.shape[0], q.shape[1] * q.shape[2])
        return is_matrix and _are_steps(q, scale, zero)


@rule
class rows_of_steps:
    """q ── Cast ── − zero ── × scale ─▶        becomes        q ── DequantizeLinear ─▶

    for a matrix of int8 with steps for each row. What four bits hold is stored in them."""
    def when(target): return has_blocks(target.opset)
    def before(op, q, scale, zero=None, *, dtype): return _scaled(op, q, scale, zero, dtype)
    def after(op, q, scale, zero):
        q, zero = _stored(op, q, zero)
        scale, zero = (None if each is None else op.Reshape(each, [-1]) for each in (scale, zero))
        return op.DequantizeLinear(q, scale, zero, axis=0)
    def where(q, scale, zero): return q.rank == 2 and _are_steps(q, scale, zero)


def _scaled(op, q, scale, zero, dtype):
    """(q − zero) · scale; a small zero is in floats already."""
    steps = op.Cast(q, to=dtype)
    return op.any_of(steps - op.Cast(zero, to=dtype), steps - zero, steps) * scale


def _are_steps(q, scale, zero):
    """Whether a known tensor of int8 has known scales for what lies along its last axis, and such zeros."""
    parts = [each for each in (q, scale, zero) if each is not None]
    known = q.dtype is INT8 and scale.dtype in (FLOAT32, FLOAT16) and all(has_content(each.value) for each in parts)
    along = all(each.shape == (*q.shape[:-1], 1) for each in parts[1:])
    return known and along and (zero is None or _fits(zero, INT8))


def _stored(op, q, zero):
    """Integers and their zeros in four bits, where those hold them; no zeros that are 0."""
    zero = None if zero is None or not content(zero.value).any() else zero
    dtype = INT4 if all(_fits(each, INT4) for each in (q, zero) if each is not None) else INT8
    return tuple(each if each is None or each.dtype is dtype else op.constant(cast(each.value.data, dtype),
                 name=each.value.name and f"{each.value.name}.{dtype.short}") for each in (q, zero))  # fmt: skip


def _fits(x, dtype):
    """Whether a dtype of integers has all elements of a constant."""
    values = content(x.value)
    return bool(values.size and values.min() >= dtype.lowest and values.max() <= dtype.highest
                and (values == np.rint(values)).all())  # fmt: skip


@rule
class clipped_integers:
    """x ── Clip ── QuantizeLinear ─▶        becomes        x ── QuantizeLinear ── Clip ─▶

    and no Clip where the integers end before it does. So the quantization stands at the operator before."""
    def before(op, x, scale, zero, low=None, high=None, **rest):
        return op.QuantizeLinear(op.any_of(op.Clip(x, low, high), op.bind("relu", op.Relu(x))), scale, zero, **rest)
    def after(op, x, scale, zero, low, high, relu, **rest):
        steps = op.QuantizeLinear(x, scale, zero, **rest)
        ends = [_step(end, scale, zero) for end in (0.0 if relu is not None else low, high)]
        ends = [None if end in (None, own) else op.constant(end, zero.dtype)
                for end, own in zip(ends, (zero.dtype.lowest, zero.dtype.highest), strict=True)]  # fmt: skip
        return steps if ends == [None, None] else op.Clip(steps, *ends)
    def where(scale, zero, low, high):
        known = all(has_content(each.value) for each in (scale, zero, low, high) if each is not None)
        return known and scale.rank == 0


@rule
class quantized_again:
    """q ── DequantizeLinear ── QuantizeLinear ─▶        becomes        q ─▶        for the same steps"""
    def before(op, q, scale, zero, *, axis):
        values = op.keep(op.DequantizeLinear(q, scale, zero, axis=axis))
        return op.QuantizeLinear(values, scale, zero, axis=axis)
    def after(q): return q
    def where(q, result): return q.dtype is result.dtype and q.dtype.bits <= 8


@rule
class rows_of_integers:
    """q ── DequantizeLinear ── Gather ─▶        becomes        q ── Gather ── · scale ─▶        for rows of a table

    so that only the rows that are read are dequantized."""
    def before(op, q, scale, rows, zero=None, *, axis):
        return op.Gather(op.keep(op.DequantizeLinear(q, scale, zero, axis=axis)), rows)
    def after(op, q, scale, rows, zero):
        found = op.Cast(op.Gather(q, rows), to=scale.dtype)
        if zero is not None and content(zero.value).any():
            found = found - op.Cast(op.Unsqueeze(op.Gather(zero, rows), [-1]), to=scale.dtype)
        return found * op.Unsqueeze(op.Gather(scale, rows), [-1])
    def where(q, scale, zero, axis):
        known = q.value.is_constant and (zero is None or has_content(zero.value))
        return known and q.rank == 2 and scale.rank == 1 and axis % 2 == 0


def _step(end, scale, zero):
    """The integer of a number, as QuantizeLinear gives it; None for none."""
    if end is None:
        return None
    value = np.float32(end if isinstance(end, float) else content(end.value))
    steps = np.rint(value / content(scale.value).astype(np.float32)) + content(zero.value).astype(np.float64)
    return int(np.clip(steps, zero.dtype.lowest, zero.dtype.highest))
