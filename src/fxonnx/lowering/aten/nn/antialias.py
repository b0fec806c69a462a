"""Antialiased resizing as a product with a matrix along each axis, where ONNX's Resize means something else or has no
kernel.

Source: ATen/native/cpu/UpSampleKernel.cpp, `_compute_indices_min_size_weights_aa`, which follows PIL.
"""

from __future__ import annotations

from fxonnx.dtypes import FLOAT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.vocabulary import cast, dtype_of, positions

_CUBIC = -0.5  # PIL's coefficient


def antialiased(
    op: Builder, x: Tensor, axis: int, after: Dim, factor: float | None, is_cubic: bool, align_corners: bool
) -> Tensor:
    """`x` with `after` elements along an axis, each a weighted mean of those under a kernel that is as wide as the step
    when shrinking."""
    step = _step(op, x.shape[axis], after, factor, align_corners)
    weights = cast(op, _weights(op, x.shape[axis], after, step, is_cubic), dtype_of(x))
    last = len(x.shape) - 1
    order = [index for index in range(last + 1) if index != axis] + [axis]
    moved = op.MatMul(op.Transpose(x, perm=order), op.Transpose(weights, perm=[1, 0]))
    return op.Transpose(moved, perm=sorted(range(last + 1), key=order.__getitem__))


def _step(op: Builder, before: Dim, after: Dim, factor: float | None, align_corners: bool) -> Tensor:
    """How far the centres lie apart, in elements of the input; 0 where aligned corners leave only one."""
    old, new = (op.Cast(op.size(size), to=FLOAT64) for size in (before, after))
    if not align_corners:
        return op.constant(1 / factor, FLOAT64) if factor else old / new
    return op.Where(new > 1.0, (old - 1.0) / op.Max(new - 1.0, 1.0), 0.0)


def _weights(op: Builder, before: Dim, after: Dim, step: Tensor, is_cubic: bool) -> Tensor:
    """[after, before]: the part that each element has in each new one, 0 beyond the kernel."""
    place, element = (op.Cast(positions(op, size), to=FLOAT64) for size in (after, before))
    wide = op.Max(step, 1.0)
    center = op.Unsqueeze((place + 0.5) * step, [1])
    support = wide * (2.0 if is_cubic else 1.0)
    first = op.Max(_truncated(op, center - support + 0.5), 0.0)
    beyond = op.Min(_truncated(op, center + support + 0.5), op.Cast(op.size(before), to=FLOAT64))
    distance = op.Abs(element - center + 0.5) / wide
    kernel = (_cubic if is_cubic else _triangle)(op, distance)
    kernel = op.Where(op.And(element >= first, element < beyond), kernel, 0.0)
    return kernel / op.ReduceSum(kernel, [1], keepdims=1)


def _truncated(op: Builder, x: Tensor) -> Tensor:
    """Towards 0, as C casts."""
    return op.Sign(x) * op.Floor(op.Abs(x))


def _triangle(op: Builder, distance: Tensor) -> Tensor:
    return op.Max(1.0 - distance, 0.0)


def _cubic(op: Builder, d: Tensor) -> Tensor:
    """Keys 1981."""
    a = _CUBIC
    near = (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0
    far = (((d - 5.0) * d + 8.0) * d - 4.0) * a
    return op.Where(d < 1.0, near, op.Where(d < 2.0, far, 0.0))
