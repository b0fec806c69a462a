"""What `onnx.reference` computes wrongly or refuses: the operator and a function that computes it and says why.

A function is written like those of `direct` and returns None where the reference is right. `tests/ir/test_evaluate.py`
has a call for each, and tells when the gap is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fxonnx.ir.evaluate.direct import Array, Function
from fxonnx.ir.evaluate.reference import CannotEvaluate


def power(x: Array, y: Array) -> Array | None:
    """x to the y, in the dtype of x. The reference refuses integers to a negative power."""
    if x.dtype.kind not in "iu" or (y >= 0).all():
        return None
    return np.asarray(x.astype(np.float64) ** y.astype(np.float64)).astype(x.dtype)


def remainder(x: Array, y: Array, *, fmod: int = 0) -> Array | None:
    """What dividing floats leaves, with the sign of y. Of nothing left the reference gives the zero of y's sign, the
    runtime, as torch, that of x."""
    if fmod or x.dtype.kind in "iu":
        return None
    rest = np.fmod(x, y)
    return np.asarray(np.where((rest != 0) & (np.signbit(rest) != np.signbit(y)), rest + y, rest))


def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """One element for each index, along an axis. The reference refuses indices shorter than the data along another."""
    picked: list[Array] = list(np.indices(indices.shape, sparse=True))
    picked[axis] = indices.astype(np.int64)
    result: Array = x[tuple(picked)]
    return result


def pad(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, **mode: str) -> Array | None:
    """Elements before and behind each axis. The reference refuses a negative number of them: these are cut off."""
    if mode.get("mode", "constant") != "constant" or not (pads < 0).any():
        return None
    widths = np.zeros((x.ndim, 2), np.int64)
    widths[slice(None) if axes is None else axes] = pads.reshape(2, -1).T
    cut = np.maximum(-widths, 0).tolist()
    left = x[tuple(slice(before, dim - behind) for dim, (before, behind) in zip(x.shape, cut, strict=True))]
    return np.pad(left, np.maximum(widths, 0), constant_values=0 if value is None else value.reshape(()))


def affine_grid(theta: Array, size: Array, *, align_corners: int = 0) -> Array:
    """The places that affine maps read, in the dtype of theta, that of one element being 0. The reference makes
    float32 of float64."""
    spatial = [int(dim) for dim in size[2:]]
    steps = [np.arange(dim) * 2.0 - (dim - 1) for dim in spatial]
    axes = [step / max(len(step) - 1 if align_corners else len(step), 1) for step in steps]
    points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(spatial)], -1)
    moved = points.reshape(-1, len(spatial) + 1) @ theta.astype(np.float64).transpose(0, 2, 1)
    return np.asarray(moved.reshape(len(theta), *spatial, len(spatial))).astype(theta.dtype)


def reduce_sum_square(
    x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """The sum of squares, in the dtype of x. The reference makes int64 of int32."""
    over = _axes(axes, noop_with_empty_axes)
    return np.asarray(np.sum(np.square(x), over, dtype=x.dtype, keepdims=bool(keepdims)))


def reduce_log_sum_exp(
    x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """The logarithm of the sum of eˣ, computed in float64. The reference makes NaN of infinities."""
    over = _axes(axes, noop_with_empty_axes)
    summed: Any = np.logaddexp.reduce(x.astype(np.float64), over, keepdims=bool(keepdims))  # type: ignore[call-overload]
    return np.asarray(summed).astype(x.dtype)


def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """x less the logarithm of the sum of eˣ, which leaves far elements what they are, computed in float32 at least.
    The reference takes the logarithm of the softmax, -∞ where that is 0."""
    wide = x.astype(np.promote_types(x.dtype, np.float32) if x.dtype.kind == "f" else np.float32)
    shifted = wide - wide.max(axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))).astype(x.dtype)


def numbers_alone(x: Array, *_: Array | None, **__: Any) -> None:
    """A pool of NaN is not folded. The reference leaves NaN out of windows, as it does what pads them."""
    if np.isnan(x).any():
        raise CannotEvaluate("a pool of NaN")


def _axes(axes: Array | None, noop: int) -> tuple[int, ...] | None:
    """The axes that are named; all (None) when none is, or none with `noop`."""
    return tuple(axes.tolist()) if axes is not None and axes.size else () if noop else None


def running(accumulate: Callable[..., Array]) -> Function:
    """Running sums or products. The reference rounds float32 after each step, torch's kernels once, from double
    (aten/src/ATen/AccumulateType.h)."""

    def along(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array | None:
        if x.dtype != np.float32 or exclusive or reverse:
            return None
        return accumulate(x, int(axis.item()), np.float64).astype(x.dtype)

    return along


GAPS: dict[str, Function] = {
    "AffineGrid": affine_grid, "Pow": power, "Mod": remainder, "GatherElements": gather_elements, "Pad": pad,
    "ReduceSumSquare": reduce_sum_square, "ReduceLogSumExp": reduce_log_sum_exp,
    "CumSum": running(np.cumsum), "CumProd": running(np.cumprod), "LogSoftmax": log_softmax,
    "AveragePool": numbers_alone, "LpPool": numbers_alone, "MaxPool": numbers_alone,
}  # fmt: skip
