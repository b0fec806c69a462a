"""What `onnx.reference` computes wrongly or refuses: the operator, the reason, and a function that computes it.

A function is written like those of `direct` and returns None where the reference is right. `tests/ir/test_evaluate.py`
has a call for each, and tells when the gap is closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fxonnx.ir.evaluate.direct import SINCE, Array, Function


class Gap(NamedTuple):
    """Why the reference is not asked in these operator sets, and what is asked instead."""

    reason: str
    function: Function
    opsets: range


GAPS: dict[str, Gap] = {}
NEWER, FLATTENING = range(SINCE, 10**6), range(1, 13)


def gap(op: str, reason: str, opsets: range = NEWER) -> Callable[[Function], Function]:
    """Register the function that fills a gap of the reference."""

    def register(function: Function) -> Function:
        GAPS[op] = Gap(reason, function, opsets)
        return function

    return register


@gap("Pow", "refuses integers to a negative power")
def power(x: Array, y: Array) -> Array | None:
    """x to the y, in the dtype of x."""
    if x.dtype.kind not in "iu" or (y >= 0).all():
        return None
    return np.asarray(x.astype(np.float64) ** y.astype(np.float64)).astype(x.dtype)


@gap("GatherElements", "refuses indices that are shorter than the data along another axis")
def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """One element for each index, along an axis."""
    picked: list[Array] = list(np.indices(indices.shape, sparse=True))
    picked[axis] = indices.astype(np.int64)
    result: Array = x[tuple(picked)]
    return result


@gap("Pad", "refuses negative pads")
def pad(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, **mode: str) -> Array | None:
    """Elements before and behind each axis; a negative number of them is cut off."""
    if mode.get("mode", "constant") != "constant" or not (pads < 0).any():
        return None
    widths = np.zeros((x.ndim, 2), np.int64)
    widths[slice(None) if axes is None else axes] = pads.reshape(2, -1).T
    cut = np.maximum(-widths, 0).tolist()
    left = x[tuple(slice(before, dim - behind) for dim, (before, behind) in zip(x.shape, cut, strict=True))]
    return np.pad(left, np.maximum(widths, 0), constant_values=0 if value is None else value.reshape(()))


@gap("ReduceSumSquare", "makes int64 of int32")
def reduce_sum_square(
    x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """The sum of squares, in the dtype of x."""
    over = _axes(axes, noop_with_empty_axes)
    return np.asarray(np.sum(np.square(x), over, dtype=x.dtype, keepdims=bool(keepdims)))


@gap("ReduceLogSumExp", "makes NaN of infinities")
def reduce_log_sum_exp(
    x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """The logarithm of the sum of eˣ, computed in float64."""
    over = _axes(axes, noop_with_empty_axes)
    summed: Any = np.logaddexp.reduce(x.astype(np.float64), over, keepdims=bool(keepdims))  # type: ignore[call-overload]
    return np.asarray(summed).astype(x.dtype)


def _axes(axes: Array | None, noop: int) -> tuple[int, ...] | None:
    """The axes that are named; all (None) when none is, or none with `noop`."""
    return tuple(axes.tolist()) if axes is not None and axes.size else () if noop else None


@gap("Softmax", "sees one axis where before opset 13 all from `axis` on are one", FLATTENING)
def softmax(x: Array, *, axis: int = 1) -> Array:
    """eˣ over its sum, the largest x subtracted first."""
    return np.asarray(np.exp(log_softmax(x, axis=axis)))


@gap("LogSoftmax", "sees one axis where before opset 13 all from `axis` on are one", FLATTENING)
def log_softmax(x: Array, *, axis: int = 1) -> Array:
    """The logarithm of softmax, without computing it first."""
    rows = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    shifted = rows - rows.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True))).reshape(x.shape)
