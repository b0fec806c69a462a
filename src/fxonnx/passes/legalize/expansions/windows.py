"""Convolutions and pools of dtypes without a kernel: windows gathered axis by axis, then a product of matrices, or a
reduction. Integers wrap around as torch's do. And what older opsets do not know: windows put back where they came from.

Source: ONNX operators Conv, ConvTranspose, AveragePool, MaxPool, Col2Im.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx.dtypes import INT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide, product
from fxonnx.ir.graph import constant_ints, known_dims
from fxonnx.passes.legalize.expansions.indexing import counted
from fxonnx.passes.legalize.registry import NoExpansion, expands


@dataclass(frozen=True, slots=True)
class Axis:
    """The windows along one axis."""

    kernel: Dim
    stride: int
    dilation: int
    before: int
    behind: int

    def count(self, size: Dim) -> Dim:
        """How many fit an axis of `size`."""
        reach = self.dilation * (self.kernel - 1) + 1
        return floor_divide(size + (self.before + self.behind - reach), self.stride) + 1


def _axes(kernel: Sequence[Dim], strides: Any, dilations: Any, pads: Any, **rest: Any) -> list[Axis]:
    """The attributes of ONNX's pools and convolutions, axis by axis."""
    if rest.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or rest.get("ceil_mode"):
        raise NoExpansion("windows that are padded by a name, or rounded up")
    count = len(kernel)
    strides, dilations, pads = strides or [1] * count, dilations or [1] * count, pads or [0] * 2 * count
    return [Axis(*each) for each in zip(kernel, strides, dilations, pads[:count], pads[count:], strict=True)]


def _windows(op: Builder, x: Tensor, axes: Sequence[Axis], fill: float) -> tuple[Tensor, list[Dim]]:
    """[…, windows…, elements…] of the last axes, padded with `fill`, and how many windows there are along each."""
    first = x.rank - len(axes)
    counts = [axis.count(size) for axis, size in zip(axes, x.shape[first:], strict=True)]
    pads = [axis.before for axis in axes] + [axis.behind for axis in axes]
    if any(pads):
        x = op.Pad(x, pads, op.constant(fill, x.dtype), list(range(first, x.rank)))
    for place, (axis, count) in reversed(list(enumerate(zip(axes, counts, strict=True), start=first))):
        begins = op.Unsqueeze(counted(op, count) * axis.stride, [1])
        x = op.Gather(x, begins + counted(op, axis.kernel) * axis.dilation, axis=place)
    outer, inner = ([first + 2 * place + offset for place in range(len(axes))] for offset in (0, 1))
    return op.Transpose(x, perm=[*range(first), *outer, *inner]), counts


@expands("Conv", opmath=True)
def conv(
    op: Builder, x: Tensor, w: Tensor, b: Tensor | None,
    *, group: int, strides: Any, dilations: Any, pads: Any, kernel_shape: Any, **rest: Any,
) -> Tensor:  # fmt: skip
    """A product of the weights, as a matrix for each group, with the elements of all windows as columns."""
    kernel = w.shape[2:]
    read, counts = _windows(op, x, _axes(kernel, strides, dilations, pads, **rest), 0)
    batch, channels, elements = x.shape[0], w.shape[1], product(kernel)
    spatial = list(range(2, 2 + len(kernel)))
    inner = [place + len(kernel) for place in spatial]
    columns = op.Transpose(read, perm=[0, 1, *inner, *spatial])
    columns = op.Reshape(columns, [batch, group, channels * elements, product(counts)], allowzero=1)
    rows = op.Reshape(w, [group, floor_divide(w.shape[0], group), channels * elements])
    result = op.Reshape(op.MatMul(rows, columns), [batch, w.shape[0], *counts], allowzero=1)
    return result if b is None else result + op.Unsqueeze(b, [place - 1 for place in spatial])


@expands("ConvTranspose", opmath=True)
def conv_transpose(
    op: Builder, x: Tensor, w: Tensor, b: Tensor | None,
    *, group: int, strides: Any, dilations: Any, pads: Any, output_padding: Any, kernel_shape: Any, output_shape: Any,
    **rest: Any,
) -> Tensor:  # fmt: skip
    """A convolution of the input with zeros between its elements, by the weights from back to front."""
    count = w.rank - 2
    spatial = list(range(2, 2 + count))
    axes = _axes(w.shape[2:], strides, dilations, pads, **rest)
    if output_shape is not None:
        raise NoExpansion("a transposed convolution to a shape")
    for place, axis in zip(spatial, axes, strict=True):
        x = _spread(op, x, place, axis.stride)
    reaches = [axis.dilation * (axis.kernel - 1) for axis in axes]
    before = [reach - axis.before for reach, axis in zip(reaches, axes, strict=True)]
    behind = [reach - axis.behind for reach, axis in zip(reaches, axes, strict=True)]
    behind = [pad + more for pad, more in zip(behind, output_padding or [0] * count, strict=True)]
    x = op.Pad(x, before + behind, op.constant(0, x.dtype), spatial)
    inputs, outputs = floor_divide(w.shape[0], group), w.shape[1]
    w = op.Slice(w, [-1] * count, [-(2**62)] * count, spatial, [-1] * count)
    w = op.Reshape(w, [group, inputs, *w.shape[1:]])
    w = op.Reshape(op.Transpose(w, perm=[0, 2, 1, *range(3, 3 + count)]), [group * outputs, inputs, *w.shape[3:]])
    return op.Conv(x, w, b, group=group, dilations=[axis.dilation for axis in axes])


def _spread(op: Builder, x: Tensor, place: int, stride: int) -> Tensor:
    """`stride` - 1 zeros between the elements of an axis."""
    if stride == 1:
        return x
    size = x.shape[place]
    apart = op.Pad(op.Unsqueeze(x, [place + 1]), [0, stride - 1], op.constant(0, x.dtype), [place + 1])
    joined = op.Reshape(apart, [*x.shape[:place], size * stride, *x.shape[place + 1 :]])
    return op.Slice(joined, [0], op.Reshape(op.size(size * stride - (stride - 1)), [1]), [place])


@expands("AveragePool", opmath=True)
def average_pool(
    op: Builder, x: Tensor,
    *, kernel_shape: Sequence[int], strides: Any, dilations: Any, pads: Any, count_include_pad: int, **rest: Any,
) -> Tensor:  # fmt: skip
    """The sum of each window over how many elements it has, padding among them or not."""
    axes = _axes(kernel_shape, strides, dilations, pads, **rest)
    inner = list(range(-len(axes), 0))
    total = op.ReduceSum(_windows(op, x, axes, 0)[0], inner, keepdims=0)
    if count_include_pad or not any(pads or ()):
        return total / op.constant(math.prod(kernel_shape), x.dtype)
    ones = op.Expand(op.constant(1, x.dtype), x.shape[2:])
    return total / op.ReduceSum(_windows(op, ones, axes, 0)[0], inner, keepdims=0)


@expands("MaxPool", opmath=True)
def max_pool(
    op: Builder, x: Tensor, *, kernel_shape: Sequence[int], strides: Any, dilations: Any, pads: Any, **rest: Any
) -> tuple[Tensor, Tensor]:
    """The largest element of each window, and where it stands first in the whole tensor."""
    axes = _axes(kernel_shape, strides, dilations, pads, **rest)
    lowest = -math.inf if x.dtype.is_float else int(np.iinfo(x.dtype.numpy).min)
    read, counts = _windows(op, x, axes, lowest)
    leading = [*x.shape[:2], *counts]
    flat = op.Reshape(read, [*leading, math.prod(kernel_shape)], allowzero=1)
    first = op.ArgMax(flat, axis=-1, keepdims=1)
    channel = op.Reshape(counted(op, product(x.shape[2:])), x.shape[2:], allowzero=1)
    places = op.Reshape(_windows(op, channel, axes, 0)[0], [*counts, math.prod(kernel_shape)], allowzero=1)
    found = op.GatherElements(op.Expand(places, op.Shape(flat)), first, axis=-1)
    channels = counted(op, product(x.shape[:2])) * op.size(product(x.shape[2:]))
    begins = op.Reshape(channels, [*x.shape[:2], *[1] * len(axes)])
    return op.ReduceMax(flat, [-1], keepdims=0), op.Cast(op.Squeeze(found, [-1]), to=INT64) + begins


@expands("GlobalAveragePool", opmath=True)
def global_average_pool(op: Builder, x: Tensor) -> Tensor:
    """The mean of all spatial axes."""
    return op.ReduceMean(x, list(range(2, x.rank)), keepdims=1)


@expands("Col2Im", opmath=True)
def column_to_image(
    op: Builder, x: Tensor, image_shape: Tensor, block_shape: Tensor, *, strides: Any, dilations: Any, pads: Any
) -> Tensor:
    """A transposed convolution, whose weights put the element of each place in a window there; zeros behind the last
    window, and without what is padding."""
    image, kernel = known_dims(image_shape.value), constant_ints(block_shape.value)
    if image is None or kernel is None:
        raise NoExpansion("an image or windows of sizes that come from data")
    axes, count = _axes(kernel, strides, dilations, pads), math.prod(kernel)
    windows = [axis.count(size) for axis, size in zip(axes, image, strict=True)]
    batch, channels = x.shape[0], floor_divide(x.shape[1], count)
    each = op.Reshape(x, [batch * channels, count, *windows], allowzero=1)
    weights = op.constant(np.eye(count, dtype=np.float32).reshape(count, 1, *kernel), x.dtype)
    steps = {"strides": [axis.stride for axis in axes], "dilations": [axis.dilation for axis in axes]}
    spatial = list(range(2, 2 + len(axes)))
    behind = [0] * len(axes) + [axis.stride - 1 for axis in axes]
    whole = op.Pad(op.ConvTranspose(each, weights, **steps), behind, op.constant(0, x.dtype), spatial)
    before = [axis.before for axis in axes]
    ends = [begin + size for begin, size in zip(before, image, strict=True)]
    return op.Reshape(op.Slice(whole, before, ends, spatial), [batch, channels, *image], allowzero=1)
