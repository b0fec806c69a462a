"""Quantization as QuantizeLinear and DequantizeLinear, which runtimes fuse with what stands between.

x becomes clip(round(x / scale) + zero point, low, high). A range narrower than the integer dtype's is cut off before
quantizing, in floating point, so that the pair stays a pair. torch multiplies by 1 / scale where ONNX divides: values
within a rounding error of the middle between two steps may go to the other one.

Sources: Jacob et al. 2018; torch.ao.quantization; ONNX operators QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axis_of, cast, dtype_of, reshape

_QUANTIZED = (dtypes.UINT8, dtypes.INT8, dtypes.UINT16, dtypes.INT16)  # what QuantizeLinear gives, narrowest first
_LEAST_OBSERVED_SCALE = 6.1e-5  # of torch's SMALL_SCALE_THRESHOLD, in float32
_LEAST_SCALE = 2.0**-12  # below which a scale is as good as none


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps: numbers or tensors, one of each or one per slice along `axis`; the range; the integer dtype."""

    scale: Any
    zero: Any
    low: Any
    high: Any
    dtype: DType
    axis: int | None = None

    def scales(self, op: Builder, dtype: DType = dtypes.FLOAT32) -> Tensor:
        """The scales as ONNX wants them: a scalar, or a vector along the axis."""
        return self._shaped(op, self.scale, dtype)

    def zeros(self, op: Builder, dtype: DType) -> Tensor | None:
        """The zero points, in the integer dtype or in floating point."""
        return None if self.zero is None else self._shaped(op, self.zero, dtype)

    def _shaped(self, op: Builder, item: Any, dtype: DType) -> Tensor:
        if not isinstance(item, Tensor):
            return op.constant(item, dtype)
        return cast(op, item, dtype) if self.axis is not None else reshape(op, cast(op, item, dtype), ())

    def along(self, op: Builder, item: Tensor, rank: int) -> Tensor:
        """A scale or zero point so that it broadcasts against a tensor."""
        if self.axis is None:
            return item
        return reshape(op, item, [item.shape[0] if axis == self.axis else 1 for axis in range(rank)])


def quantize(op: Builder, x: Tensor, grid: Grid) -> Tensor:
    """The integers of `x`."""
    x = cast(op, x, dtypes.FLOAT32)
    if grid.dtype not in _QUANTIZED:
        return cast(op, _steps(op, x, grid), grid.dtype)
    scale = grid.scales(op)
    zero = grid.zeros(op, grid.dtype)
    return op.QuantizeLinear(_cut(op, x, grid, scale), scale, zero, axis=grid.axis)


def dequantize(op: Builder, q: Tensor, grid: Grid, dtype: DType = dtypes.FLOAT32) -> Tensor:
    """(q - zero point) · scale."""
    if dtype_of(q) in _QUANTIZED:
        found = op.DequantizeLinear(q, grid.scales(op), grid.zeros(op, dtype_of(q)), axis=grid.axis)
        return cast(op, found, dtype)
    return cast(op, _values(op, cast(op, q, dtypes.FLOAT32), grid), dtype)


def fake_quantize(op: Builder, x: Tensor, grid: Grid) -> Tensor:
    """`x` on the nearest steps; float64 by the formula, which QuantizeLinear would narrow."""
    if dtype_of(x) is dtypes.FLOAT64:
        return _values(op, _steps(op, x, grid), grid)
    return dequantize(op, quantize(op, x, grid), grid, dtype_of(x))


def holding(low: int, high: int) -> DType:
    """The narrowest dtype that QuantizeLinear gives and that holds the range."""
    for dtype in _QUANTIZED:
        if dtype.lowest <= low and high <= dtype.highest:
            return dtype
    return dtypes.INT32


def _cut(op: Builder, x: Tensor, grid: Grid, scale: Tensor) -> Tensor:
    """`x` within the steps from low to high; as it is where those are the dtype's own ends."""
    for operator, end, own in (("Max", grid.low, grid.dtype.lowest), ("Min", grid.high, grid.dtype.highest)):
        if isinstance(end, Tensor) or end != own:
            zero = grid.zeros(op, dtypes.FLOAT32)
            steps = cast(op, end, dtypes.FLOAT32) if isinstance(end, Tensor) else op.constant(end, dtypes.FLOAT32)
            steps = steps if zero is None else steps - zero
            x = getattr(op, operator)(x, grid.along(op, steps * scale, len(x.shape)))
    return x


def _steps(op: Builder, x: Tensor, grid: Grid) -> Tensor:
    """The integers of `x` in floating point."""
    rank, dtype = len(x.shape), dtype_of(x)
    steps = op.Round(x / grid.along(op, grid.scales(op, dtype), rank))
    zero = grid.zeros(op, dtype)
    steps = steps if zero is None else steps + grid.along(op, zero, rank)
    ends = [
        cast(op, end, dtype) if isinstance(end, Tensor) else op.constant(end, dtype) for end in (grid.low, grid.high)
    ]
    return op.Min(op.Max(steps, ends[0]), ends[1])


def _values(op: Builder, steps: Tensor, grid: Grid) -> Tensor:
    rank, dtype = len(steps.shape), dtype_of(steps)
    zero = grid.zeros(op, dtype)
    steps = steps if zero is None else steps - grid.along(op, zero, rank)
    return steps * grid.along(op, grid.scales(op, dtype), rank)


# ── quantized_decomposed: what torch.export writes of a quantized model ──


_PLURAL = {"scales": "scale", "zero_points": "zero_point"}


@lower("quantized_decomposed.quantize_per_tensor")
@lower("quantized_decomposed.quantize_per_channel", rename=_PLURAL)
def quantize_with(
    op: Builder, input: Tensor, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: DType,
    axis: int | None = None,
) -> Tensor:  # fmt: skip
    """One scale for all, or one for each slice along an axis."""
    axis = None if axis is None else axis_of(axis, len(input.shape))
    return quantize(op, input, Grid(scale, zero_point, quant_min, quant_max, dtype, axis))


@lower("quantized_decomposed.dequantize_per_tensor")
@lower("quantized_decomposed.dequantize_per_channel", rename=_PLURAL)
def dequantize_with(
    op: Builder, input: Tensor, scale: Any, zero_point: Any, quant_min: Any, quant_max: Any, dtype: DType,
    axis: int | None = None, *, out_dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """One scale for all, or one for each slice along an axis."""
    axis = None if axis is None else axis_of(axis, len(input.shape))
    grid = Grid(scale, zero_point, quant_min, quant_max, dtype, axis)
    return dequantize(op, input, grid, out_dtype or dtypes.FLOAT32)


@lower("quantized_decomposed.quantize_per_token")
def quantize_per_token(
    op: Builder, input: Tensor, scales: Tensor, zero_points: Tensor, quant_min: int, quant_max: int, dtype: DType
) -> Tensor:
    """A scale for each row along the last axis, [..., 1]."""
    x = cast(op, input, dtypes.FLOAT32)
    inverse = op.Reciprocal(cast(op, scales, dtypes.FLOAT32))
    steps = op.Round(x * inverse + cast(op, zero_points, dtypes.FLOAT32))
    return cast(op, op.Clip(steps, quant_min, quant_max), dtype)


@lower("quantized_decomposed.dequantize_per_token")
def dequantize_per_token(
    op: Builder, input: Tensor, scales: Tensor, zero_points: Tensor, quant_min: int, quant_max: int, dtype: DType,
    output_dtype: DType,
) -> Tensor:  # fmt: skip
    """A scale for each row along the last axis, [..., 1]."""
    steps = cast(op, input, output_dtype) - cast(op, zero_points, output_dtype)
    return steps * cast(op, scales, output_dtype)


@lower("quantized_decomposed.dequantize_per_channel_group")
def dequantize_per_channel_group(
    op: Builder, input: Tensor, scales: Tensor, zero_points: Tensor | None, quant_min: int, quant_max: int,
    dtype: DType, group_size: int, output_dtype: DType,
) -> Tensor:  # fmt: skip
    """A scale for each `group_size` elements of a row: [rows, columns] with [rows, groups]."""
    if dtype_of(input) not in _QUANTIZED:
        raise Unsupported(f"groups of {dtype_of(input)}; store the weight in int8")
    zero = None if zero_points is None else cast(op, zero_points, dtype_of(input))
    found = op.DequantizeLinear(input, cast(op, scales, dtypes.FLOAT32), zero, axis=-1, block_size=group_size)
    return cast(op, found, output_dtype)


@lower("quantized_decomposed.choose_qparams.tensor")
def choose_qparams(
    op: Builder, input: Tensor, quant_min: int, quant_max: int, eps: float, dtype: DType
) -> tuple[Tensor, Tensor]:
    """The scale (float64) and zero point (int64) that span the values and 0, one element each.

    DynamicQuantizeLinear knows 256 steps; it has no least scale, and so finer steps for values all within `eps` of 0.
    """
    if quant_max - quant_min == dtypes.UINT8.highest and eps <= _LEAST_SCALE:
        _, scale, zero = op.DynamicQuantizeLinear(cast(op, input, dtypes.FLOAT32))
        zero = cast(op, zero, dtypes.INT64)
        zero = zero if quant_min == 0 else zero - op.constant(-quant_min, dtypes.INT64)
    else:
        low, high = _ends(op, input)
        scale = op.Max((high - low) / float(quant_max - quant_min), eps)
        zero = op.Clip(float(quant_min) - op.Round(low / scale), float(quant_min), float(quant_max))
    return cast(op, reshape(op, scale, (1,)), dtypes.FLOAT64), cast(op, reshape(op, zero, (1,)), dtypes.INT64)


@lower("quantized_decomposed.choose_qparams_symmetric.tensor")
def choose_qparams_symmetric(
    op: Builder, input: Tensor, quant_min: int, quant_max: int, eps: float, dtype: DType
) -> tuple[Tensor, Tensor]:
    """The scale (float64) that spans the values and their negatives, and its zero point (int64), one element each."""
    low, high = (reshape(op, found, (1,)) for found in _ends(op, input))
    scale = op.Max(op.Max(-low, high) / ((quant_max - quant_min) / 2), eps)
    zero = (quant_min + quant_max) // 2 if dtype is dtypes.UINT8 and (quant_min, quant_max) != (0, 255) else 128
    return cast(op, scale, dtypes.FLOAT64), op.constant([zero if dtype is dtypes.UINT8 else 0], dtypes.INT64)


def _ends(op: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value, 0 among them."""
    flat = cast(op, op.Reshape(x, [-1]), dtypes.FLOAT32)
    return op.Min(op.ReduceMin(flat, keepdims=0), 0.0), op.Max(op.ReduceMax(flat, keepdims=0), 0.0)


@lower("quantized_decomposed.convert_element_type.no_fuse")
def convert_element_type(op: Builder, input: Tensor, dtype: DType) -> Tensor:
    """A cast that is to stay one."""
    return cast(op, input, dtype)


@lower("aten._int_mm")
def int_mm(op: Builder, self: Tensor, mat2: Tensor) -> Tensor:
    """The product of int8 matrices, in int32."""
    product: Tensor = op.MatMulInteger(self, mat2)
    return product


# ── fake quantization: what training for it leaves in a model ──


@lower("aten.fake_quantize_per_tensor_affine", runtime={"scale", "zero_point"})
def fake_quantize_per_tensor(
    op: Builder, self: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> Tensor:
    """One scale for all."""
    return fake_quantize(op, self, Grid(scale, zero_point, quant_min, quant_max, holding(quant_min, quant_max)))


@lower("aten.fake_quantize_per_tensor_affine_cachemask", runtime={"scale", "zero_point"})
def fake_quantize_per_tensor_with_mask(
    op: Builder, self: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int
) -> tuple[Tensor, None]:
    """The same; the mask is for the backward pass."""
    return fake_quantize_per_tensor(op, self, scale, zero_point, quant_min, quant_max), None


@lower("aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams")
def fake_quantize_where_enabled(
    op: Builder,
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    fake_quant_enabled: Tensor,
    quant_min: int,
    quant_max: int,
) -> tuple[Tensor, None]:
    """The same where a flag of one element says so."""
    found = fake_quantize_per_tensor(op, self, scale, zero_point, quant_min, quant_max)
    enabled = reshape(op, cast(op, fake_quant_enabled, dtypes.BOOL), ())
    return op.Where(enabled, found, self), None


@lower("aten.fake_quantize_per_channel_affine", "quantized_decomposed.fake_quant_per_channel")
def fake_quantize_per_channel(
    op: Builder, self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """A scale for each slice along an axis; zero points that are not whole are rounded."""
    zero = op.Round(zero_point) if dtype_of(zero_point).is_float else zero_point
    axis = axis_of(axis, len(self.shape))
    return fake_quantize(op, self, Grid(scale, zero, quant_min, quant_max, holding(quant_min, quant_max), axis))


@lower("aten.fake_quantize_per_channel_affine_cachemask")
def fake_quantize_per_channel_with_mask(
    op: Builder, self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> tuple[Tensor, None]:
    """The same; the mask is for the backward pass."""
    return fake_quantize_per_channel(op, self, scale, zero_point, axis, quant_min, quant_max), None


@lower("aten._fused_moving_avg_obs_fq_helper_functional")
def observed(
    op: Builder, self: Tensor, observer_on: Tensor, fake_quant_on: Tensor, running_min: Tensor, running_max: Tensor,
    scale: Tensor, zero_point: Tensor, averaging_const: float, quant_min: int, quant_max: int, ch_axis: int,
    per_row_fake_quant: bool = False, symmetric_quant: bool = False,
) -> tuple[Tensor, None, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Fake quantization on the steps of a range that follows what is seen, while one flag says so; another says whether
    to quantize. The range, the scale and the zero point are returned as they are afterwards."""
    observes, quantizes = (reshape(op, cast(op, each, dtypes.BOOL), ()) for each in (observer_on, fake_quant_on))
    axis = ch_axis if per_row_fake_quant else None
    axes = [each for each in range(len(self.shape)) if each != axis]
    low, high = (
        _follow(op, old, reshape(op, reduced(self, axes, keepdims=0), old.shape), averaging_const, observes)
        for reduced, old in ((op.ReduceMin, running_min), (op.ReduceMax, running_max))
    )
    steps = _steps_of_range(op, low, high, quant_min, quant_max, symmetric_quant)
    scale, zero_point = (
        op.Where(quantizes, cast(op, new, dtype_of(old)), old)
        for new, old in zip(steps, (scale, zero_point), strict=True)
    )
    grid = Grid(scale, zero_point, quant_min, quant_max, holding(quant_min, quant_max), axis)
    found = op.Where(quantizes, fake_quantize(op, self, grid), self)
    return found, None, low, high, scale, zero_point


def _follow(op: Builder, old: Tensor, seen: Tensor, rate: float, observes: Tensor) -> Tensor:
    """A moving average, which begins with the first that is seen; until then it is infinite."""
    moved = op.Where(op.IsInf(old), seen, old + (seen - old) * rate)
    return op.Where(observes, moved, old)


def _steps_of_range(
    op: Builder, low: Tensor, high: Tensor, first: int, last: int, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """The scale, in float64, and the zero point that spread the integers from `first` to `last` over a range with 0 in
    it. Source: `ChooseQuantizationParams` of torch, ATen/native/quantized/cpu/QuantUtils.h."""
    crosses = op.And(low < 0.0, high > 0.0)
    if symmetric:
        below, above = -((last - first) // 2 + 1), (last - first) // 2
        widest = cast(op, op.Max(op.Abs(low / below), op.Abs(high / above)), dtypes.FLOAT64)
        low, high = (
            op.Where(crosses, cast(op, widest * end, dtypes.FLOAT32), old) for end, old in ((below, low), (above, high))
        )
    ends = op.Min(low, op.constant(0.0, dtypes.FLOAT32)), op.Max(high, op.constant(0.0, dtypes.FLOAT32))
    low, high = (cast(op, each, dtypes.FLOAT64) for each in ends)
    scale = (high - low) / (last - first)
    narrow = cast(op, scale, dtypes.FLOAT32)
    scale = op.Where(op.Or(narrow == 0.0, op.IsInf(op.Reciprocal(narrow))), op.constant(0.1, dtypes.FLOAT64), scale)
    low, high, scale = _widened(op, low, high, scale, last - first)
    from_low, from_high = first - low / scale, last - high / scale
    is_low_nearer = abs(first) - op.Abs(low / scale) < abs(last) - op.Abs(high / scale)
    zero = op.Where(is_low_nearer, from_low, from_high)
    if symmetric:
        zero = op.Where(crosses, op.constant((first + last) / 2, dtypes.FLOAT64), zero)
    return scale, op.Clip(op.Round(zero), op.constant(first, dtypes.FLOAT64), op.constant(last, dtypes.FLOAT64))


def _widened(op: Builder, low: Tensor, high: Tensor, scale: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """A range and its scale, which is no smaller than the least that torch takes."""
    least = op.constant(float(np.float32(_LEAST_OBSERVED_SCALE)), dtypes.FLOAT64)
    is_small = scale < least
    factor = least / cast(op, cast(op, scale, dtypes.FLOAT32), dtypes.FLOAT64)
    ends = op.Where(low == 0.0, low, op.Where(high == 0.0, least * -count, low * factor)), op.Where(
        low == 0.0, least * count, op.Where(high == 0.0, high, high * factor)
    )
    low, high = (op.Where(is_small, new, old) for new, old in zip(ends, (low, high), strict=True))
    return low, high, op.Where(is_small, least, scale)
