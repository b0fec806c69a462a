"""Pools: maxima and averages over windows, of a size given or of one that gives a wanted number of windows.

torch counts windows in its own way when they are rounded up: the last one must begin inside the input or the padding
before it (ATen/native/Pool.h, `pooling_output_shape`). ONNX's `ceil_mode` does not promise that, so every pool here is
rounded down, over an input padded behind by what torch's last window reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx.dtypes import FLOAT32, FLOAT64, INT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.ir.dims import Dim, Expr, product
from fxonnx.lowering.aten.math.reduction import extremum, mean
from fxonnx.lowering.aten.nn.adaptive import averaged, indices_of_maxima, largest, place_of_maximum
from fxonnx.lowering.aten.nn.convolution import per_axis
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import (
    constant,
    dtype_of,
    expand,
    full,
    in_batch,
    may_be_zero,
    number,
    positions,
    reshape,
)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows along one axis, and what is padded behind it so that rounding down takes torch's windows."""

    kernel: int
    stride: int
    dilation: int
    before: int
    behind: int


def windows(size: Dim, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> Windows:
    """torch's windows along an axis of `size`.

    Rounded down, `padding + stride - 1` behind would give as many windows as rounding up does, and `reach - 1` as many
    as begin inside: the lesser padding gives the lesser number, which is torch's. Where the size is known, no more is
    padded than is read.
    """
    if not ceil_mode:
        return Windows(kernel, stride, dilation, padding, padding)
    reach = dilation * (kernel - 1) + 1
    behind = min(padding + stride, reach) - 1
    unread = (size + padding + behind - reach) % stride if isinstance(size, int) else 0
    return Windows(kernel, stride, dilation, padding, max(behind - unread, 0))


def _all_windows(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[Windows]:
    """The windows along each of the last axes; one value stands for all, and no stride means the kernel's size."""
    count = len(kernel)
    settings = (per_axis(values, count) for values in (kernel, stride or kernel, padding, dilation))
    kernels, strides, pads, steps = settings
    spatial = enumerate(x.shape[-count:])
    return [windows(size, kernels[i], strides[i], pads[i], steps[i], ceil_mode) for i, size in spatial]


def _attributes(axes: Sequence[Windows]) -> dict[str, Any]:
    """The windows as attributes of ONNX's pools."""
    dilations = [axis.dilation for axis in axes]
    return {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [axis.before for axis in axes] + [axis.behind for axis in axes],
        "dilations": dilations if any(dilation != 1 for dilation in dilations) else None,
    }


# ── maxima ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d", given={"outputs": 1})
@lower(
    "aten.max_pool1d_with_indices", "aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices", given={"outputs": 2}
)  # fmt: skip
def max_pool(
    op: Builder, self: Tensor, kernel_size: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,), ceil_mode: bool = False, *, outputs: int,
) -> Any:  # fmt: skip
    """The largest element of each window, and where it stands among the elements of its channel if that is asked."""
    axes = _all_windows(self, kernel_size, stride, padding, dilation, ceil_mode)
    is_plain = outputs == 1 and _has_plain_values(op, self) and not any(_gaps(op, self, axes))
    if not dtype_of(self).is_float or is_plain:
        return in_batch(op, self, len(axes) + 2, lambda x: _max_pooled(op, x, axes, outputs))
    return in_batch(op, self, len(axes) + 2, lambda x: _special_pooled(op, x, axes, outputs))


# What ONNX Runtime computes in its blocked layout, between convolutions.
_BLOCKED = frozenset({"Add", "BatchNormalization", "Clip", "Concat", "HardSigmoid", "LeakyRelu", "MaxPool", "Relu"})
_BLOCKED_BEFORE = 16


def _has_plain_values(op: Builder, x: Tensor) -> bool:
    """Whether x comes from integers, which are never NaN, or the runtime holds it in the blocked layout of its
    convolutions, as far as the last few operators tell.

    There a pool stays what the runtime makes of it: to look for NaN takes a copy in the plain layout, 6 % of a ResNet
    (docs/decisions/0011).
    """
    value = x.value
    for node in reversed(op.nodes[-_BLOCKED_BEFORE:]):
        if value in node.outputs:
            if node.op in ("Conv", "DequantizeLinear"):
                return True
            first = node.inputs[0]
            if node.op not in _BLOCKED or first is None:
                return False
            value = first
    return False


def _special_pooled(op: Builder, x: Tensor, axes: Sequence[Windows], outputs: int) -> Any:
    """MaxPool, and where x has a NaN or an infinity what torch makes of those: ONNX Runtime's MaxPool skips NaN, and of
    -∞ alone, or of nothing, it gives the dtype's lowest number.

    That there is one shows in the sum of all elements, for a few percent of the pool itself.
    """
    total = op.ReduceSum(op.Cast(x, to=FLOAT32) if dtype_of(x).bits < 32 else x, keepdims=0)
    is_special = op.IsNaN(total - total)
    for size, dilation in _gaps(op, x, axes):
        is_special = op.Or(is_special, op.Less(op.size(size), dilation))
    results = record_if(
        op,
        is_special,
        lambda inner: _with_specials(inner, inner.use(x.value), axes, outputs),
        lambda inner: _as_list(_max_pooled(inner, inner.use(x.value), axes, outputs)),
    )
    return results if outputs > 1 else results[0]


def _gaps(op: Builder, x: Tensor, axes: Sequence[Windows]) -> list[tuple[Dim, int]]:
    """The sizes that may be less than the steps of a window which begins in padding: it steps over all there is."""
    pairs = [(size, axis) for size, axis in zip(x.shape[-len(axes) :], axes, strict=True) if axis.before]
    least = [op.bounds.interval(size)[0] if isinstance(size, Expr) else size for size, _ in pairs]
    return [(size, axis.dilation) for low, (size, axis) in zip(least, pairs, strict=True) if low < axis.dilation > 1]


def _with_specials(op: Builder, x: Tensor, axes: Sequence[Windows], outputs: int) -> list[Tensor]:
    """NaN, at the last one, in windows that have one; -∞, at the first, in those of nothing else, or of nothing."""

    def found(elements: Tensor) -> Tensor:
        """Which windows have one of the elements."""
        return op.Greater(_max_pooled(op, op.Cast(elements, to=FLOAT32), axes, 1), 0.0)

    def last(positions: Tensor) -> Tensor:
        return op.Cast(_max_pooled(op, op.Cast(positions, to=FLOAT64), axes, 1), to=INT64)

    is_nan = op.IsNaN(x)
    spoiled, blank = found(is_nan), op.Not(found(op.Not(op.Equal(x, number(op, -math.inf, x)))))
    value, *position = _as_list(_max_pooled(op, x, axes, outputs))
    value = op.Where(spoiled, math.nan, op.Where(blank, -math.inf, value))
    if not position:
        return [value]
    spatial = tuple(x.shape[2:])
    places = expand(op, reshape(op, positions(op, product(spatial)), spatial), tuple(x.shape))
    of_blank = op.Where(blank, _starts(op, axes, spatial, value.shape[2:]), position[0])
    return [value, op.Where(spoiled, last(op.Where(is_nan, places, -1)), of_blank)]


def _starts(op: Builder, axes: Sequence[Windows], sizes: Sequence[Dim], counts: Sequence[Dim]) -> Tensor:
    """[*counts]: where each window begins, by the first of its steps that is not before the edge. Of a window that
    steps over all there is, that is behind the other edge, as in torch."""
    total = op.size(0)
    for axis, (window, count) in enumerate(zip(axes, counts, strict=True)):
        begin = positions(op, count) * window.stride - window.before
        begin = op.Where(begin < 0, begin % window.dilation, begin) * op.size(product(sizes[axis + 1 :]))
        total = total + op.Unsqueeze(begin, list(range(1, len(sizes) - axis)))
    return total


def _as_list(results: Any) -> list[Tensor]:
    return list(results) if isinstance(results, tuple) else [results]


def _max_pooled(op: Builder, x: Tensor, axes: Sequence[Windows], outputs: int) -> Any:
    """MaxPool; padding that its attribute may not say (as wide as a kernel) is written out before."""
    wide = any(max(axis.before, axis.behind) >= axis.kernel for axis in axes)
    padded = _padded(op, x, axes, _lowest(x)) if wide else x
    attributes = _attributes(axes) | ({"pads": None} if wide else {})
    results = op.MaxPool(padded, **attributes, _outputs=outputs)
    if outputs == 1:
        return results
    spatial = len(axes)
    inside = results[1] % product(padded.shape[-spatial:])
    before = [axis.before for axis in axes] if wide else [0] * spatial
    return results[0], _unpadded_positions(op, inside, padded.shape[-spatial:], x.shape[-spatial:], before)


def _unpadded_positions(
    op: Builder, flat: Tensor, padded: Sequence[Dim], sizes: Sequence[Dim], before: Sequence[int]
) -> Tensor:
    """Positions in a padded channel as positions in the channel."""
    if not any(before) and tuple(padded) == tuple(sizes):
        return flat
    total: Any = None
    for axis, begin in enumerate(before):
        inner = product(padded[axis + 1 :])
        position = (flat / inner if inner != 1 else flat) - begin
        flat = flat % inner if inner != 1 else flat
        step = product(sizes[axis + 1 :])
        term = position * step if step != 1 else position
        total = term if total is None else total + term
    return total


def _padded(op: Builder, x: Tensor, axes: Sequence[Windows], value: float) -> Tensor:
    first = len(x.shape) - len(axes)
    pads = [axis.before for axis in axes] + [axis.behind for axis in axes]
    return op.Pad(x, pads, number(op, value, x), list(range(first, len(x.shape))))


def _lowest(x: Tensor) -> float:
    dtype = dtype_of(x)
    return -math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


@lower("aten.max_unpool2d", "aten.max_unpool3d", ignore={"stride", "padding"})
def max_unpool(op: Builder, self: Tensor, indices: Tensor, output_size: Sequence[Dim]) -> Tensor:
    """Every element put where `indices` say in a channel of zeros; stride and padding only check the size."""
    leading = tuple(self.shape[: len(self.shape) - len(output_size)])
    flat = (*leading, product(self.shape[len(leading) :]))
    zeros = full(op, (*leading, product(output_size)), 0, dtype_of(self))
    filled = op.ScatterElements(zeros, reshape(op, indices, flat), reshape(op, self, flat), axis=-1)
    return reshape(op, filled, (*leading, *output_size))


# ── averages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d", opmath="divisor_override")
def avg_pool(
    op: Builder,
    self: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Padding counts as elements if asked to, but never what is behind it (read by windows that were rounded up).
    """
    axes = _all_windows(self, kernel_size, stride, padding, (1,), ceil_mode)
    if divisor_override is not None:
        return in_batch(op, self, len(axes) + 2, lambda x: _window_sums(op, x, axes, divisor_override))
    return in_batch(
        op, self, len(axes) + 2, lambda x: _average_pooled(op, x, axes, count_include_pad, per_axis(padding, len(axes)))
    )


def _average_pooled(op: Builder, x: Tensor, axes: Sequence[Windows], include: bool, padding: Sequence[int]) -> Tensor:
    if include and any(padding):
        if all(axis.behind <= pad for axis, pad in zip(axes, padding, strict=True)):
            return op.AveragePool(x, **_attributes(axes), count_include_pad=1)
        counted = [
            _with_pads(axis, axis.before, min(axis.behind, pad)) for axis, pad in zip(axes, padding, strict=True)
        ]
        x = _padded(op, x, counted, 0)
        axes = [_with_pads(axis, 0, axis.behind - count.behind) for axis, count in zip(axes, counted, strict=True)]
    return op.AveragePool(x, **_attributes(axes))


def _with_pads(axis: Windows, before: int, behind: int) -> Windows:
    return Windows(axis.kernel, axis.stride, axis.dilation, before, behind)


def _window_sums(op: Builder, x: Tensor, axes: Sequence[Windows], divisor: int) -> Tensor:
    """Sums of windows over a divisor: the average over whole windows, corrected; integers are summed by ones, and
    divided as C divides."""
    if not dtype_of(x).is_float:
        one_channel = reshape(op, x, (product(x.shape[:2]), 1, *x.shape[2:]))
        ones = full(op, (1, 1, *(axis.kernel for axis in axes)), 1, dtype_of(x))
        told = _attributes(axes) | {"kernel_shape": None}
        sums = op.Conv(one_channel, ones, **told)
        return reshape(op, sums, (*x.shape[:2], *sums.shape[2:])) / divisor
    pooled = op.AveragePool(x, **_attributes(axes), count_include_pad=1)
    elements = math.prod(axis.kernel for axis in axes)
    return pooled if elements == divisor else pooled * number(op, elements / divisor, pooled)


# ── as many windows as wanted ────────────────────────────────────────────────────────────────────────────────────────


@lower(
    "aten.adaptive_avg_pool1d",
    "aten.adaptive_avg_pool2d",
    "aten.adaptive_avg_pool3d",
    "aten._adaptive_avg_pool2d",
    "aten._adaptive_avg_pool3d",
    opmath=True,
)
def adaptive_avg_pool(op: Builder, self: Tensor, output_size: Sequence[Dim]) -> Tensor:
    """The mean of each of `output_size` windows that cover the input, overlapping where they must."""
    if not dtype_of(self).is_float:
        raise Unsupported(f"an average pool of {dtype_of(self)}")
    count = len(output_size)
    sizes = tuple(self.shape[-count:])
    if all(size == 1 for size in output_size):
        is_batch = len(self.shape) == count + 2 and not may_be_zero(op, product(sizes))
        return op.GlobalAveragePool(self) if is_batch else mean(op, self, list(range(-count, 0)), keepdim=True)
    even = _even_windows(sizes, output_size)
    if even is not None:
        return in_batch(op, self, count + 2, lambda x: op.AveragePool(x, kernel_shape=even, strides=even))
    return averaged(op, self, output_size)


@lower("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def adaptive_max_pool(op: Builder, self: Tensor, output_size: Sequence[Dim]) -> tuple[Tensor, Tensor]:
    """The largest element of each of `output_size` windows that cover the input, and where it stands in its channel."""
    count = len(output_size)
    if all(size == 1 for size in output_size):
        return _largest_of_all(op, self, count)
    even = _even_windows(tuple(self.shape[-count:]), output_size)
    if even is not None:
        pooled: tuple[Tensor, Tensor] = max_pool(op, self, even, outputs=2)
        return pooled
    return largest(op, self, output_size), indices_of_maxima(op, self, output_size)


def _largest_of_all(op: Builder, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest element of each channel, and where it stands."""
    axes = list(range(-count, 0))
    flat = reshape(op, x, (*x.shape[:-count], product(x.shape[-count:])))
    place = place_of_maximum(op, flat)
    value = extremum(op, x, axes, True, operator="ReduceMax")
    return value, op.Unsqueeze(place, axes[1:]) if count > 1 else place


def _even_windows(sizes: Sequence[Dim], wanted: Sequence[Dim]) -> list[int] | None:
    """The size of windows that all are equal and do not overlap; None where they are not, or nobody knows yet."""
    kernel = []
    for size, count in zip(sizes, wanted, strict=True):
        if isinstance(size, Expr) or isinstance(count, Expr) or size * count == 0 or size % count:
            return None
        kernel.append(size // count)
    return kernel


# ── windows of random places ─────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.fractional_max_pool2d", "aten.fractional_max_pool3d")
def fractional_max_pool(
    op: Builder, self: Tensor, kernel_size: Sequence[int], output_size: Sequence[int], random_samples: Tensor
) -> tuple[Tensor, Tensor]:
    """The largest element of each of `output_size` windows, and where it stands in its channel. Graham 2014.

    The samples, one for each channel and axis, say where the windows begin (ATen/native/FractionalMaxPooling.h).
    """

    def body(x: Tensor) -> tuple[Tensor, Tensor]:
        return _fractional(op, x, kernel_size, output_size, random_samples)

    pooled: tuple[Tensor, Tensor] = in_batch(op, self, len(kernel_size) + 2, body)
    return pooled


def _fractional(
    op: Builder, x: Tensor, kernel: Sequence[int], wanted: Sequence[int], samples: Tensor
) -> tuple[Tensor, Tensor]:
    count, leading, sizes = len(kernel), tuple(x.shape[:2]), tuple(x.shape[2:])
    if samples.shape[0] != leading[0]:  # torch reads those of as many images as there are, in front
        samples = op.Slice(samples, [0], op.sizes(leading[:1]), [0])
    total: Any = None
    for axis, (size, length, windows) in enumerate(zip(sizes, kernel, wanted, strict=True)):
        sample = op.Gather(samples, axis if count == 3 else 1 - axis, axis=2)  # of images torch takes the width first
        read = _random_windows(op, op.Unsqueeze(sample, [2]), size, length, windows)
        shape: list[Dim] = [1] * (2 * count)
        shape[axis], shape[count + axis] = windows, length
        placed = reshape(op, read, (*samples.shape[:2], *shape)) * product(sizes[axis + 1 :])
        total = placed if total is None else total + placed
    table = reshape(op, total, (*samples.shape[:2], math.prod(wanted), math.prod(kernel)))
    table = expand(op, table, (*leading, *table.shape[2:]))
    elements = reshape(op, x, (*leading, product(sizes)))
    flat_table = reshape(op, table, (*leading, math.prod(wanted) * math.prod(kernel)))
    read = reshape(op, op.GatherElements(elements, flat_table, axis=2), tuple(table.shape))
    place = place_of_maximum(op, read)
    pooled = (op.GatherElements(each, place, axis=3) for each in (read, table))
    values, indices = (reshape(op, each, (*leading, *wanted)) for each in pooled)
    return values, indices


def _random_windows(op: Builder, sample: Tensor, size: Dim, length: int, windows: int) -> Tensor:
    """[batch, channels, windows, length]: the positions that windows read; the last one ends with the axis."""
    free = op.size(size) - length
    alpha = op.Cast(free, to=dtype_of(sample)) / number(op, max(windows - 1, 1), sample)
    number_of = constant(op, np.arange(windows, dtype=dtype_of(sample).numpy))
    begins = op.Cast((number_of + sample) * alpha, to=INT64) - op.Cast(sample * alpha, to=INT64)
    begins = op.Where(constant(op, np.arange(windows) == windows - 1), free, begins)
    return op.Unsqueeze(begins, [3]) + np.arange(length)
