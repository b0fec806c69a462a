"""Linear layers behind and beside each other, as one: what is added to a layer's weight, and what its result is scaled
by. Numbers differ by rounding."""

from __future__ import annotations

import numpy as np

from fxonnx.ir.computed import added, met_by, multiplied, rounded, scaled
from fxonnx.ir.data import transposed
from fxonnx.ir.graph import has_content
from fxonnx.passes.linear import folded_name, normalization, wide
from fxonnx.passes.rewriting.rewrite import rule


def layer(op, x, weight, bias, transB):
    """x · weight + bias, in the two forms that it has."""
    product = op.MatMul(x, op.one_use(weight))
    return op.any_of(op.Gemm(x, op.one_use(weight), bias, transB=transB), product + op.one_use(bias), product)


def _without_bias(op, x, weight, transB):
    """x · weight."""
    return op.any_of(op.Gemm(x, op.one_use(weight), transB=transB), op.MatMul(x, op.one_use(weight)))


def is_layer(weight, bias=None):
    """Whether a weight is a known matrix, and a bias a known row for all its columns, if there is one."""
    is_matrix = weight.rank == 2 and weight.dtype.bits >= 32 and weight.dtype.is_float and has_content(weight.value)
    return is_matrix and (bias is None or (bias.rank == 1 and has_content(bias.value)))


def _columns(weight, transB):
    """How many columns a layer's result has."""
    return weight.shape[0 if transB else 1]


def _written(op, x, weight, data, bias, transB):
    """The layer with another weight and bias: a Gemm where it was one."""
    matrix = op.constant(data, name=folded_name(weight.value.name))
    vector = None if bias is None else op.constant(bias, name=folded_name(weight.value.name, "bias"))
    if transB is not None:
        return op.Gemm(x, matrix, vector, transB=transB)
    return op.MatMul(x, matrix) if vector is None else op.MatMul(x, matrix) + vector


@rule
class scaled_linear:
    """x ── Gemm ── × factor ─▶        becomes        x ── Gemm ─▶        for a finite factor per column: layer scale

    Touvron et al. 2021."""
    def before(op, x, weight, factor, bias=None, *, transB): return layer(op, x, weight, bias, transB) * factor
    def after(op, x, weight, factor, bias, transB):
        row = wide(factor.value).reshape(-1)
        data = scaled(weight.value.data, row.reshape((-1, 1) if transB else (1, -1)))
        offset = None if bias is None else rounded(wide(bias.value) * row, weight.dtype)
        return _written(op, x, weight, data, offset, transB)
    def where(x, weight, factor, bias, transB, result):
        if not is_layer(weight, bias) or not has_content(factor.value) or factor.rank > result.rank:
            return False
        is_row = factor.shape == (*[1] * (factor.rank - 1), _columns(weight, transB))
        return is_row and factor.rank > 0 and bool(np.isfinite(wide(factor.value)).all())


@rule
class two_biases:
    """x ── MatMul ── + one ── + other ─▶        becomes        x ── MatMul ── + both ─▶"""
    def before(op, x, weight, one, other): return (op.MatMul(x, weight) + op.one_use(one)) + op.one_use(other)
    def after(op, x, weight, one, other):
        both = rounded(wide(one.value) + wide(other.value), weight.dtype)
        return op.MatMul(x, weight) + op.constant(both, name=one.value.name)
    def where(weight, one, other):
        return is_layer(weight, one) and is_layer(weight, other) and one.shape == other.shape == weight.shape[1:]


@rule
class batch_norm_gemm:
    """x ── BatchNormalization ── Gemm ─▶        becomes        x ── Gemm ─▶        with weights scaled per input"""
    def before(op, weight, bias=None, *, transB):
        return op.Gemm(op.call("one", "BatchNormalization"), op.one_use(weight), bias, transB=transB)
    def after(op, one, weight, bias, transB):
        factor, offset = normalization(one)
        data = scaled(weight.value.data, factor.reshape((1, -1) if transB else (-1, 1)))
        rows = weight.value.data if transB else transposed(weight.value.data, (1, 0))
        shift = np.zeros(rows.shape[0]) if bias is None else wide(bias.value)
        return _written(op, op.use(one.inputs[0]), weight, data, met_by(rows, offset, 1, shift), transB)
    def where(one, weight, bias): return is_layer(weight, bias) and normalization(one) is not None


@rule
class linear_of_linear:
    """x ── Gemm ── Gemm ─▶        becomes        x ── Gemm ─▶        where that multiplies no more often"""
    def before(op, x, first, second, between=None, bias=None, *, transA, transB):
        inner = layer(op, x, first, between, transA)
        return op.any_of(op.Gemm(inner, op.one_use(second), bias, transB=transB), op.MatMul(inner, op.one_use(second)))
    def after(op, x, first, second, between, bias, transA, transB):
        offset = None if bias is None else wide(bias.value)
        if between is not None:
            rows = second.value.data if transB else transposed(second.value.data, (1, 0))
            zeros = np.zeros(_columns(second, transB)) if offset is None else offset
            offset = met_by(rows, wide(between.value), 1, zeros)
        elif offset is not None:
            offset = rounded(offset, second.dtype)
        return _written(op, x, second, _product(first, second, transB), offset, transB)
    def where(first, second, between, bias, transA, transB):
        if not is_layer(first, between) or not is_layer(second, bias) or bool(transA) != bool(transB):
            return False
        rows, between_, columns = (*first.shape, second.shape[1]) if not transB else (*second.shape, first.shape[1])
        return rows * columns <= (rows + columns) * between_


@rule
class views_before_linear:
    """x ── Transpose ── Reshape ── Gemm ── Reshape ─▶    becomes    x ── Transpose ── Reshape ── Reshape ── MatMul ─▶

    for a view of rows alone: it meets the movements before."""
    def before(op, x, weight, to, shape, bias=None, *, transB, perm, **rest):
        rows = op.Reshape(op.Transpose(x, perm=perm), shape)
        return op.Reshape(op.bind("rows", op.Gemm(op.bind("before", rows), weight, bias, transB=transB)), to, **rest)
    def after(op, weight, bias, before, transB, result):
        matrix = turned(op, weight) if transB else weight
        product = op.MatMul(op.Reshape(before, [*result.shape[:-1], before.shape[1]]), matrix)
        return product if bias is None else product + bias
    def where(weight, bias, rows, result):
        return is_layer(weight, bias) and result.rank > 2 and result.shape[-1] == rows.shape[-1]


@rule
class transpose_before_linear:
    """x ── Transpose ── Reshape ── MatMul ── + ── Transpose ─▶

    becomes    x ── Transpose ── Reshape ── Transpose ── MatMul ── + ─▶    for one of rows alone"""
    def before(op, x, weight, shape, bias=None, *, perm, first, **rest):
        product = op.MatMul(op.bind("rows", op.Reshape(op.Transpose(x, perm=first), shape, **rest)), weight)
        return op.Transpose(op.any_of(product + bias, product), perm=perm)
    def after(op, weight, bias, rows, perm):
        product = op.MatMul(op.Transpose(rows, perm=perm), weight)
        return product if bias is None else product + bias
    def where(weight, bias, perm, rows):
        return is_layer(weight, bias) and perm is not None and perm[-1] == rows.rank - 1


def turned(op, weight):
    """The transpose of a known matrix, by a name that says so."""
    name = weight.value.name
    other = name and (name.removesuffix(".T") if name.endswith(".T") else f"{name}.T")
    return op.constant(transposed(weight.value.data, (1, 0)), name=other)


def _product(first, second, transB):
    """The weight of a layer that is two, one behind the other."""
    left, right = (second, first) if transB else (first, second)
    return multiplied(left.value.data, right.value.data, (left.shape[0], right.shape[1]))


@rule
class low_rank_update:
    """x ─┬─ Gemm ────────────────────┐
          └─ Gemm ── Gemm ── × scale ─┴─ + ─▶        becomes        x ── Gemm ─▶

    Hu et al. 2021 (LoRA)."""
    def before(op, x, weight, down, up, bias=None, *, transB, scale, transA):
        low = _without_bias(op, x, down, transA)
        change = _without_bias(op, op.any_of(low, low * scale), up, transB)
        return layer(op, x, weight, bias, transB) + op.any_of(change, change * scale)
    def after(op, x, weight, down, up, bias, transB, scale):
        update = _product(down, up, transB)
        factor = np.full((1, 1), 1.0 if scale is None else scale)
        data = added(weight.value.data, scaled(update, factor))
        offset = None if bias is None else rounded(wide(bias.value), weight.dtype)
        return _written(op, x, weight, data, offset, transB)
    def where(weight, down, up, bias, transA, transB, scale):
        layers = is_layer(weight, bias) and is_layer(down) and is_layer(up) and bool(transA) == bool(transB)
        return layers and (scale is None or np.isfinite(scale))


@rule
class sum_of_linears:
    """x ─┬─ Gemm ─┐
          └─ Gemm ─┴─ + ─▶        becomes        x ── Gemm ─▶"""
    def before(op, x, weight, other, bias=None, shift=None, *, transB):
        return layer(op, x, weight, bias, transB) + layer(op, x, other, shift, transB)
    def after(op, x, weight, other, bias, shift, transB):
        present = [wide(each.value) for each in (bias, shift) if each is not None]
        offset = rounded(sum(present), weight.dtype) if present else None
        return _written(op, x, weight, added(weight.value.data, other.value.data), offset, transB)
    def where(weight, other, bias, shift):
        return is_layer(weight, bias) and is_layer(other, shift) and weight.shape == other.shape
