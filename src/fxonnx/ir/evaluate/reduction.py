"""Operators that sum over axes: products, reductions, softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.evaluate.call import Array, Operands, computes
from fxonnx.ir.evaluate.elementwise import divide


@computes("MatMul")
def matmul(call: Operands) -> Array:
    """numpy.matmul; bfloat16 is summed in float32, as numpy does, and rounded once."""
    return np.asarray(np.matmul(call[0], call[1])).astype(call[0].dtype)


@computes("MatMulInteger")
def matmul_integer(call: Operands) -> Array | None:
    """The product of 8-bit integers in int32; zero points of more than one element are left to the reference."""
    sides = [call[0].astype(np.int32), call[1].astype(np.int32)]
    for index in (0, 1):
        if call.has(index + 2):
            if call[index + 2].size > 1:
                return None
            sides[index] = sides[index] - call[index + 2].reshape(()).astype(np.int32)
    return np.asarray(np.matmul(*sides))


@computes("Gemm")
def gemm(call: Operands) -> Array:
    """alpha · A · B + beta · C, A and B transposed where it says so."""
    a = call[0].T if call.attribute("transA", 0) else call[0]
    b = call[1].T if call.attribute("transB", 0) else call[1]
    product = np.matmul(a, b).astype(a.dtype) * a.dtype.type(call.attribute("alpha", 1.0))
    if not call.has(2):
        return np.asarray(product)
    return np.asarray(product + call[2] * a.dtype.type(call.attribute("beta", 1.0)))


@computes("Einsum")
def einsum(call: Operands) -> Array | None:
    """numpy.einsum, for the dtypes it knows."""
    if call[0].dtype.kind == "V":
        return None
    equation = call.attribute("equation").replace(" ", "")
    return np.asarray(np.einsum(equation, *(call[i] for i in range(len(call.arrays)))))


@computes("Softmax")
def softmax(call: Operands) -> Array:
    """eˣ over its sum, the largest x subtracted first."""
    axes = _softmax_axes(call)
    powers = np.exp(call[0] - _largest(call[0], axes, True))
    return np.asarray(powers / powers.sum(axes, keepdims=True))


@computes("LogSoftmax")
def log_softmax(call: Operands) -> Array:
    """The logarithm of softmax, without computing it first."""
    axes = _softmax_axes(call)
    shifted = call[0] - _largest(call[0], axes, True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axes, keepdims=True)))


def _softmax_axes(call: Operands) -> tuple[int, ...]:
    """One axis, by default the last; before opset 13, `axis` and all behind it, by default all but the first."""
    rank, older = call[0].ndim, call.opset < 13
    axis = call.attribute("axis", 1 if older else -1) % max(rank, 1)
    return tuple(range(axis, rank)) if older else (axis,) if rank else ()


@computes("CumSum")
def cum_sum(call: Operands) -> Array | None:
    """Running sums along an axis."""
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        return None
    return np.cumsum(call[0], int(call[1].item()), dtype=call[0].dtype)


@computes("ArgMax")
def arg_max(call: Operands) -> Array:
    """Where the largest element along an axis is: the first one, unless `select_last_index`."""
    return _position(call, np.argmax)


@computes("ArgMin")
def arg_min(call: Operands) -> Array:
    """Where the smallest element along an axis is: the first one, unless `select_last_index`."""
    return _position(call, np.argmin)


def _position(call: Operands, function: Callable[..., Array]) -> Array:
    axis, keep = call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
    if not call.attribute("select_last_index", 0):
        return np.asarray(function(call[0], axis, keepdims=keep)).astype(np.int64)
    backwards = function(np.flip(call[0], axis), axis, keepdims=keep)
    return np.asarray(call[0].shape[axis] - 1 - backwards).astype(np.int64)


# ── reductions ───────────────────────────────────────────────────────────────────────────────────────────────────────

Axes = tuple[int, ...]


def _sum(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(np.sum(x, axes, dtype=x.dtype, keepdims=keep))


def _mean(x: Array, axes: Axes, keep: bool) -> Array:
    count = int(np.prod([x.shape[axis] for axis in axes]))
    return divide(_sum(x, axes, keep), np.asarray(count).astype(x.dtype))


def _product(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(np.prod(x, axes, dtype=x.dtype, keepdims=keep))


def _largest(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(np.max(x, axes, keepdims=keep, initial=_edge(x, lowest=True)))


def _smallest(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(np.min(x, axes, keepdims=keep, initial=_edge(x, lowest=False)))


def _edge(x: Array, lowest: bool) -> Any:
    """What the largest or smallest element of nothing is."""
    dtype = dtypes.dtype(x.dtype)
    if dtype.is_float:
        return x.dtype.type(-np.inf if lowest else np.inf)
    return x.dtype.type(dtype.lowest if lowest else dtype.highest)


def _log_sum_exp(x: Array, axes: Axes, keep: bool) -> Array:
    """The largest element is taken out first; it is put back, or 0 where all are infinite."""
    top = _largest(x, axes, True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    sums = np.log(_sum(np.exp(x - top), axes, True)) + top
    return np.asarray(sums if keep else sums.squeeze(axes))


_REDUCTIONS: dict[str, Callable[[Array, Axes, bool], Array]] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": _product,
    "ReduceMax": _largest,
    "ReduceMin": _smallest,
    "ReduceL1": lambda x, axes, keep: _sum(np.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: np.sqrt(_sum(x * x, axes, keep)).astype(x.dtype),
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: np.log(_sum(x, axes, keep)).astype(x.dtype),
    "ReduceLogSumExp": _log_sum_exp,
}


@computes(*_REDUCTIONS)
def reduction(call: Operands) -> Array:
    """Over the named axes; over all when none is named, or over none with `noop_with_empty_axes`."""
    x, axes = call[0], call.axes(1, call[0].ndim)
    if not axes:
        axes = () if call.attribute("noop_with_empty_axes", 0) else tuple(range(x.ndim))
    return _REDUCTIONS[call.node.op](x, axes, bool(call.attribute("keepdims", 1)))
