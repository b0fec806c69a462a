"""Backward ops that torch does not take apart: what a model asks for that differentiates in its forward pass.

What windows have read is given back by a transposed convolution; what indices have read is added up at them; of a
linear map along an axis the gradient is a product with its matrix.

Sources: derivatives.yaml and FunctionsManual.cpp of torch; Dao et al. 2022 (attention, §3.1 and appendix B).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Shape, floor_divide, product
from fxonnx.lowering.aten.math.arithmetic import sign
from fxonnx.lowering.aten.nn.adaptive import bounds
from fxonnx.lowering.aten.nn.attention import factor_of, scores
from fxonnx.lowering.aten.nn.convolution import conv, conv_transpose, per_axis
from fxonnx.lowering.aten.tensor.creation import triangle_indices
from fxonnx.lowering.aten.tensor.scatter import written
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axis_of, cast, dtype_of, full, number, positions, reshape, swapped, transpose

# ── of windows ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.convolution_backward", rename={"input": "x"}, ignore={"bias_sizes", "output_padding", "output_mask"})
def convolution_backward(
    op: Builder, grad_output: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, groups: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of the input, the weight and the bias of a convolution or a transposed one."""
    count = len(weight.shape) - 2
    stride, padding, dilation = (per_axis(each, count) for each in (stride, padding, dilation))
    kernel = weight.shape[2:]
    if transposed:
        of_input = conv(op, grad_output, weight, None, stride, padding, dilation, groups)
        if of_input.shape[2:] != x.shape[2:]:  # windows that begin behind all that was there, in its output padding
            of_input = op.Slice(of_input, [0] * count, list(x.shape[2:]), list(range(2, 2 + count)))
        of_weight = _of_kernel(op, x, grad_output, kernel, stride, padding, dilation, groups)
    else:
        of_input = _given_back(op, grad_output, weight, x.shape[2:], stride, padding, dilation, groups)
        of_weight = _of_kernel(op, grad_output, x, kernel, stride, padding, dilation, groups)
    return of_input, of_weight, op.ReduceSum(grad_output, [0, *range(2, 2 + count)], keepdims=0)


def _given_back(
    op: Builder, grad: Tensor, weight: Tensor, sizes: Sequence[Dim], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int = 1,
) -> Tensor:  # fmt: skip
    """What elements of axes of `sizes` are given back by the windows that read them, 0 where none did."""
    spatial, none = list(range(2, 2 + len(sizes))), [0] * len(sizes)
    whole = conv_transpose(op, grad, weight, None, stride, none, none, groups, dilation)
    unread = [step - 1 for step in stride]
    whole = op.Pad(whole, none + unread, number(op, 0, grad), spatial) if any(unread) else whole
    ends = [before + size for before, size in zip(padding, sizes, strict=True)]
    return op.Slice(whole, list(padding), ends, spatial)


def _of_kernel(
    op: Builder, grad: Tensor, x: Tensor, kernel: Shape, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], groups: int,
) -> Tensor:  # fmt: skip
    """[outputs, inputs / groups, kernel…]: the input correlated with the gradient, batches taking the place of
    channels, and steps between windows that of steps between elements."""
    batch, inputs, *sizes = x.shape
    depth, last = floor_divide(inputs, groups), list(range(3, 3 + len(sizes)))
    grouped = op.Transpose(reshape(op, x, (batch, groups, depth, *sizes)), perm=[2, 1, 0, *last])
    read = reshape(op, grouped, (depth, groups * batch, *sizes))
    by = op.Transpose(grad, perm=[1, 0, *range(2, 2 + len(sizes))])
    found = conv(op, read, by, None, dilation, padding, stride, groups)
    found = op.Transpose(found, perm=[1, 0, *range(2, 2 + len(sizes))])
    return op.Slice(found, [0] * len(sizes), list(kernel), list(range(2, 2 + len(sizes))))


@lower("aten.avg_pool2d_backward", given={"count": 2}, ignore={"ceil_mode"})
@lower("aten.avg_pool3d_backward", given={"count": 3}, ignore={"ceil_mode"})
def avg_pool_backward(
    op: Builder, grad_output: Tensor, self: Tensor, kernel_size: Sequence[int], stride: Sequence[int],
    padding: Sequence[int], count_include_pad: bool, divisor_override: int | None, *, count: int,
) -> Tensor:  # fmt: skip
    """Each window's gradient over its divisor, for every element that it read."""
    kernel, padding = per_axis(kernel_size, count), per_axis(padding, count)
    stride = per_axis(stride, count) if stride else kernel
    sizes, windows = self.shape[-count:], grad_output.shape[-count:]
    if divisor_override:
        shares = grad_output / number(op, divisor_override, grad_output)
    else:
        shares = grad_output
        for axis, each in enumerate(zip(sizes, windows, kernel, stride, padding, strict=True), start=-count):
            lengths = cast(op, _lengths(op, *each, count_include_pad), dtype_of(self))
            shares = shares / reshape(op, lengths, (grad_output.shape[axis], *[1] * (-1 - axis)))
    shares = reshape(op, shares, (product(self.shape[:-count]), 1, *windows))
    ones = full(op, (1, 1, *kernel), 1, dtype_of(self))
    return reshape(op, _given_back(op, shares, ones, sizes, stride, padding, [1] * count), self.shape)


def _lengths(op: Builder, size: Dim, windows: Dim, kernel: int, stride: int, padding: int, with_pads: bool) -> Tensor:
    """How many elements each window along an axis has, padding among them or not (ATen/native/cpu/AvgPoolKernel)."""
    begins = positions(op, windows) * stride - padding
    ends = op.Min(begins + kernel, op.size(size + padding))
    return ends - begins if with_pads else op.Min(ends, op.size(size)) - op.Max(begins, 0)


# ── of maps along an axis ────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten._adaptive_avg_pool2d_backward", given={"count": 2})
@lower("aten._adaptive_avg_pool3d_backward", given={"count": 3})
def adaptive_avg_pool_backward(op: Builder, grad_output: Tensor, self: Tensor, *, count: int) -> Tensor:
    """Each window's gradient over its length, along one axis after another."""
    for axis in range(-count, 0):
        begins, ends = bounds(op, self.shape[axis], grad_output.shape[axis])
        place = positions(op, self.shape[axis])
        is_read = cast(op, op.And(place >= begins, place < ends), dtype_of(self))
        grad_output = _along(op, grad_output, axis, is_read / cast(op, ends - begins, dtype_of(self)))
    return grad_output


@lower("aten.replication_pad1d_backward", "aten.replication_pad2d_backward", "aten.replication_pad3d_backward")
def replication_pad_backward(op: Builder, grad_output: Tensor, self: Tensor, padding: Sequence[Dim]) -> Tensor:
    """What the copies of an element are given, added up."""
    for axis, before in zip(range(-1, -1 - len(padding) // 2, -1), padding[::2], strict=True):
        size = self.shape[axis]
        place = positions(op, grad_output.shape[axis]) - op.size(before)
        read = op.Unsqueeze(op.Max(op.Min(place, op.size(size - 1)), 0), [1])
        grad_output = _along(op, grad_output, axis, cast(op, op.Equal(read, positions(op, size)), dtype_of(self)))
    return grad_output


def _along(op: Builder, x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """The vectors along an axis, counted from the back, times a matrix."""
    order = list(range(len(x.shape)))
    order[axis], order[-1] = order[-1], order[axis]
    return transpose(op, transpose(op, x, order) @ matrix, order)


# ── at indices ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.max_pool2d_with_indices_backward", "aten.adaptive_max_pool2d_backward",
       "aten.fractional_max_pool2d_backward", given={"count": 2},
       ignore={"kernel_size", "stride", "padding", "dilation", "ceil_mode", "output_size"})  # fmt: skip
@lower("aten.max_pool3d_with_indices_backward", "aten.adaptive_max_pool3d_backward",
       "aten.fractional_max_pool3d_backward", given={"count": 3},
       ignore={"kernel_size", "stride", "padding", "dilation", "ceil_mode", "output_size"})  # fmt: skip
def max_pool_backward(op: Builder, grad_output: Tensor, self: Tensor, indices: Tensor, *, count: int) -> Tensor:
    """Each window's gradient at the element that it took."""
    leading, windows = self.shape[:-count], product(grad_output.shape[-count:])
    nothing = full(op, (*leading, product(self.shape[-count:])), 0, dtype_of(self))
    flat, places = (reshape(op, each, (*leading, windows)) for each in (grad_output, indices))
    return reshape(op, written(op, nothing, places, flat, -1, "add"), self.shape)


# ── of attention ─────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten._scaled_dot_product_flash_attention_for_cpu_backward")
def attention_backward(
    op: Builder, grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logsumexp: Tensor,
    dropout_p: float, is_causal: bool, *, attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of query, key and value, from the probabilities that the logarithms of the sums give again."""
    if dropout_p:
        raise Unsupported(f"dropout_p={dropout_p}: attention with dropout is random; compile with mode='eval'")
    factor = factor_of(op, query, scale)
    logits = scores(op, query, key, attn_mask, is_causal, factor)
    chances = cast(op, op.Exp(logits - op.Unsqueeze(logsumexp, [-1])), dtype_of(query))
    of_value = swapped(op, chances) @ grad_out
    shared = op.ReduceSum(grad_out * out, [-1])
    of_logits = chances * (grad_out @ swapped(op, value) - shared) * factor
    return of_logits @ key, swapped(op, of_logits) @ query, of_value


# ── of distances ─────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten._cdist_backward", rename={"cdist": "distances"})
def cdist_backward(op: Builder, grad: Tensor, x1: Tensor, x2: Tensor, p: float, distances: Tensor) -> Tensor:
    """The gradient of the first points of the p-norm distances between all pairs; 0 where two points are one."""
    apart = op.Unsqueeze(x1, [-2]) - op.Unsqueeze(x2, [-3])
    slope = _slope(op, apart, op.Unsqueeze(distances, [-1]), p)
    return op.ReduceSum(op.Unsqueeze(grad, [-1]) * slope, [-2], keepdims=0)


@lower("aten._pdist_backward", rename={"pdist": "distances"})
def pdist_backward(op: Builder, grad: Tensor, self: Tensor, p: float, distances: Tensor) -> Tensor:
    """The gradient of the points of the p-norm distances between all pairs of them."""
    pairs = triangle_indices(op, self.shape[0], self.shape[0], 1, upper=True)
    first, second = (op.Gather(pairs, place, axis=0) for place in (0, 1))
    apart = op.Gather(self, first, axis=0) - op.Gather(self, second, axis=0)
    pull = op.Unsqueeze(grad, [-1]) * _slope(op, apart, op.Unsqueeze(distances, [-1]), p)
    total = op.ScatterND(self * number(op, 0, self), op.Unsqueeze(first, [1]), pull, reduction="add")
    return op.ScatterND(total, op.Unsqueeze(second, [1]), -pull, reduction="add")


def _slope(op: Builder, apart: Tensor, distance: Tensor, p: float) -> Any:
    """The derivative of a p-norm by each element of its vector."""
    zero, one = number(op, 0, apart), number(op, 1, apart)
    if p == 0:
        return apart * zero
    if p == 1:
        return sign(op, apart)
    if p == math.inf:
        return sign(op, apart) * cast(op, op.Equal(op.Abs(apart), distance), dtype_of(apart))
    is_nothing = op.Or(op.Equal(distance, zero), op.Equal(apart, zero))
    part = op.Abs(apart) / op.Where(op.Equal(distance, zero), one, distance)
    return op.Where(is_nothing, zero, sign(op, apart) * op.Where(is_nothing, one, part) ** number(op, p - 1, apart))


# ── of weights ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten._weight_norm_interface_backward")
def weight_norm_backward(
    op: Builder, grad_w: Tensor, saved_v: Tensor, saved_g: Tensor, saved_norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """The gradients of the directions and of the lengths of g v / |v|. Salimans & Kingma 2016, (3)."""
    others = [axis for axis in range(len(saved_v.shape)) if axis != axis_of(dim, len(saved_v.shape))]
    of_lengths = op.ReduceSum(grad_w * saved_v, others) / saved_norms
    return saved_g / saved_norms * (grad_w - saved_v * (of_lengths / saved_norms)), of_lengths
