"""Resizing: nearest, linear and cubic interpolation over the spatial axes.

torch resizes to a size, and takes the step between the points it reads from the scale factor when it was given one,
else from the sizes (ATen/native/UpSample.h, `area_pixel_compute_scale`). ONNX's Resize takes scales or sizes: scales
where the factors were given, sizes otherwise.
One body serves both overloads of an op: `self` with a scale per axis, and `input` with `scale_factors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any

import numpy as np

from fxonnx.dtypes import BOOL, FLOAT32, FLOAT64, INT64, UINT8
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.lowering.aten.nn.interpolation import Interpolation
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import dtype_of

_CUBIC = -0.75  # torch's cubic coefficient (ATen/native/UpSample.h)
_ALIGNED = "align_corners"  # factors only give the sizes
_CUBIC_ANTIALIASED = -0.5  # PIL's, which torch takes when it antialiases

Factor = float | None
_NAMES = {"input": "self"}  # of the overloads that take `scale_factors`


@dataclass(frozen=True, slots=True)
class Resizing:
    """One axis: its size before and after, and the factor that torch steps by (None: the ratio of the sizes)."""

    before: Any  # Dim
    after: Any  # Dim, or None where no dim says it
    factor: Factor

    @property
    def is_static(self) -> bool:
        """Whether both sizes are known when compiling."""
        return isinstance(self.before, int) and isinstance(self.after, int)

    @property
    def scale(self) -> float | None:
        """The float32 that ONNX's Resize is told for the factor; None where there is none that gives torch's size."""
        if self.factor is None:
            return None
        if not self.is_static:
            return scale_for(self.factor) if self.is_covered else None
        scale = np.float32(self.factor)
        return float(scale) if int(np.float32(self.before) * scale) == self.after else None

    @property
    def is_covered(self) -> bool:
        """Whether the factor makes as many elements as the size after says: an op may be given both, of which the
        factor is only what it steps by."""
        if self.factor is None or self.after is None:
            return True
        made = _scaled(self.before, self.factor)
        return made >= self.after if self.is_static else made == self.after

    @property
    def by_size(self) -> bool:
        """Whether the ratio of the sizes is the factor."""
        return self.after is not None and (
            self.factor is None or (self.is_static and self.before * self.factor == self.after)
        )

    @property
    def ratio(self) -> float | None:
        """How many elements one becomes, where that is known when compiling."""
        if self.factor is not None:
            return self.factor
        if self.is_static:
            return float(self.after / self.before)
        for whole in range(1, _LARGEST_RATIO):
            if self.after == self.before * whole:
                return float(whole)
            if self.before == self.after * whole:
                return 1 / whole
        return None


_LARGEST_RATIO = 65
_MORE_OF_TWO = 1.5  # the least factor that makes more of two elements
_SIZES = np.arange(1, 2**13)  # for which a scale is tried that any size may meet
_POSITIONS = np.arange(2**16)


@cache
def scale_for(factor: float) -> float | None:
    """A float32 s next to the factor with ⌊size · s⌋ in float32, as ONNX computes it, always ⌊size · factor⌋ in double,
    as torch does (90 · 0.7 is 63 in double, and less than 63 in float32)."""
    nearest = np.float32(factor)
    wanted = np.floor(_SIZES * factor)
    for scale in (nearest, np.nextafter(nearest, np.float32(np.inf)), np.nextafter(nearest, np.float32(0))):
        if np.array_equal(np.floor(_SIZES.astype(np.float32) * scale), wanted):
            return float(scale)
    return None


@cache
def enclosing_scale(factor: float) -> float:
    """A float32 next to the factor by which no size of ONNX's is less than torch's: what is more can be cut off."""
    scale, wanted = np.float32(factor), np.floor(_SIZES * factor)
    while np.any(np.floor(_SIZES.astype(np.float32) * scale) < wanted):
        scale = np.nextafter(scale, np.float32(np.inf))
    return float(scale)


def plan(x: Tensor, sizes: Sequence[Dim] | None, factors: Sequence[Factor]) -> list[Resizing]:
    """What happens to each spatial axis."""
    spatial = x.shape[2:]
    after = (
        [_scaled(size, factor) for size, factor in zip(spatial, factors, strict=True)] if sizes is None else list(sizes)
    )
    return [Resizing(*axis) for axis in zip(spatial, after, factors, strict=True)]


def _scaled(size: Dim, factor: Factor) -> Dim | None:
    """⌊size · factor⌋, as far as a dim can say it."""
    if factor is None:
        raise Unsupported("a resize with neither sizes nor factors")
    if isinstance(size, int):
        return math.floor(size * factor)
    if float(factor).is_integer():
        return size * int(factor)
    return floor_divide(size, int(1 / factor)) if (1 / factor).is_integer() else None


def _factors(x: Tensor, factors: Sequence[float] | None, *named: Factor) -> list[Factor]:
    """A factor per spatial axis from `scale_factors`, or from `scales` or `scales_d`, `scales_h`, `scales_w`."""
    count = len(x.shape) - 2
    if factors is not None:
        return list(factors)
    scales, depth, height, width = named
    return [scales] if count == 1 else [depth, height, width][-count:]


def _is_said(axes: Sequence[Resizing]) -> bool:
    """Whether ONNX's Resize can be told the scales, or the sizes."""
    return all(axis.scale for axis in axes) or all(axis.by_size for axis in axes)


def _resized(op: Builder, x: Tensor, axes: Sequence[Resizing], **attributes: Any) -> Tensor:
    """Resize of the spatial axes: by constant scales where the factors were given, by sizes otherwise; where no scale
    gives torch's size, between aligned corners by the sizes, too, and else by one that gives more, which is cut off."""
    by_size = all(axis.by_size for axis in axes)
    if all(axis.scale for axis in axes) and not (by_size and dtype_of(x) is FLOAT64):
        is_linear = attributes["mode"] == "linear" and attributes["coordinate_transformation_mode"] == "half_pixel"
        if is_linear and any(map(_may_keep_its_size, axes)):
            scales = [_scale_of_a_change(op, axis) for axis in axes]
            return op.Resize(x, None, op.Concat(op.constant([1.0, 1.0], FLOAT32), *scales, axis=0), **attributes)
        return op.Resize(x, None, [1.0, 1.0, *(axis.scale for axis in axes)], **attributes)
    if by_size:
        return op.Resize(x, None, None, (*x.shape[:2], *(axis.after for axis in axes)), **attributes)
    if attributes["coordinate_transformation_mode"] == _ALIGNED:
        sizes = [op.Reshape(_sizes(op, axis)[1], [1]) for axis in axes]
        return op.Resize(x, None, None, op.Concat(op.Shape(x, start=0, end=2), *sizes, axis=0), **attributes)
    result = op.Resize(x, None, [1.0, 1.0, *(enclosing_scale(axis.factor) for axis in axes)], **attributes)
    for number, axis in enumerate(axes, start=2):
        _, after = _sizes(op, axis)
        result = op.Slice(result, [0], op.Reshape(after, [1]), [number])
    return result


def _scale_of_a_change(op: Builder, axis: Resizing) -> Tensor:
    """The scale of an axis that changes its size, 1 of one that keeps it: [1]."""
    scale = op.constant([axis.scale], FLOAT32)
    return op.Where(op.Equal(*_sizes(op, axis)), 1.0, scale) if _may_keep_its_size(axis) else scale


# ── nearest ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.upsample_nearest1d", "aten.upsample_nearest2d", "aten.upsample_nearest3d",
       rename=_NAMES, given={"exact": False})  # fmt: skip
@lower("aten._upsample_nearest_exact1d", "aten._upsample_nearest_exact2d", "aten._upsample_nearest_exact3d",
       rename=_NAMES, given={"exact": True})  # fmt: skip
def upsample_nearest(
    op: Builder, self: Tensor, output_size: Sequence[Dim] | None, scales: Factor = None, scales_d: Factor = None,
    scales_h: Factor = None, scales_w: Factor = None, scale_factors: Sequence[float] | None = None, *, exact: bool,
) -> Tensor:  # fmt: skip
    """The element at ⌊i / scale⌋; exact, at ⌊(i + ½) / scale⌋, the one whose centre is nearest.

    Resize where it reads the elements that torch does; where it does not, they are gathered, several times as slow.
    Which of both is asked when the model runs, where the sizes are known only then and have no known ratio.
    """
    axes = plan(self, output_size, _factors(self, scale_factors, scales, scales_d, scales_h, scales_w))
    nearest = Nearest(exact, _takes_shortcuts(axes, exact))
    is_said = _is_said(axes)
    unsure = [axis for axis in axes if not _reads_like_onnx(axis, nearest)]
    if is_said and not unsure:
        return _resized_to_nearest(op, self, axes, exact)
    few = _are_few(op, axes) if nearest.shortcuts is None else nearest.shortcuts
    changed = {number: axis for number, axis in enumerate(axes, start=2) if not _stays(axis, nearest)}
    read = {number: _nearest(op, axis, exact, few) for number, axis in changed.items()}
    if not is_said or any(axis.is_static for axis in unsure):
        return _gathered(op, self, read)
    return record_if(
        op,
        _reads_alike(op, axes, read, exact),
        lambda inner: [_resized_to_nearest(inner, inner.use(self.value), axes, exact)],
        lambda inner: [_gathered(inner, inner.use(self.value), read)],
    )[0]


_FEW = 128  # elements along both axes, for which torch takes the kernel with the shortcuts


@dataclass(frozen=True, slots=True)
class Nearest:
    """Which elements torch reads. `shortcuts`: whether an axis that stays or doubles is read without rounding, be the
    factor what it may (`nearest_idx`); None where sizes decide that when the model runs."""

    exact: bool
    shortcuts: bool | None

    @property
    def ways(self) -> tuple[bool, ...]:
        """What the shortcuts may turn out to be."""
        return (True, False) if self.shortcuts is None else (self.shortcuts,)


def _takes_shortcuts(axes: Sequence[Resizing], exact: bool) -> bool | None:
    """Whether torch's kernel does (UpSampleKernel.cpp, `_use_vectorized_kernel_cond_2d`), for tensors that are
    contiguous. By sizes, or by a whole factor, it reads the same either way."""
    if all(axis.factor is None or float(axis.factor).is_integer() for axis in axes):
        return not exact
    if exact or len(axes) != 2:
        return False
    return sum(axis.after for axis in axes) <= _FEW if all(isinstance(axis.after, int) for axis in axes) else None


def _are_few(op: Builder, axes: Sequence[Resizing]) -> Tensor:
    """The same of sizes that are known when the model runs."""
    height, width = (_sizes(op, axis)[1] for axis in axes)
    return op.LessOrEqual(height + width, _FEW)


def _stays(axis: Resizing, nearest: Nearest) -> bool:
    """Whether an axis is read as it is."""
    return bool(axis.before == axis.after) and (axis.factor in (None, 1.0) or nearest.ways == (True,))


def _resized_to_nearest(op: Builder, x: Tensor, axes: Sequence[Resizing], exact: bool) -> Tensor:
    coordinates, rounding = ("half_pixel", "round_prefer_ceil") if exact else ("asymmetric", "floor")
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    return _resized(op, x, axes, mode="nearest", **attributes)


def _gathered(op: Builder, x: Tensor, read: Mapping[int, Tensor]) -> Tensor:
    """The elements named along some axes."""
    for number, indices in read.items():
        x = op.Gather(x, indices, axis=number)
    return x


def _reads_alike(op: Builder, axes: Sequence[Resizing], read: Mapping[int, Tensor], exact: bool) -> Tensor:
    """Whether Resize would read the same elements along all axes, of sizes that are known when the model runs."""
    flags = [op.Cast(_is_read_by_resize(op, axes[number - 2], read[number], exact), to=UINT8) for number in read]
    return op.Cast(op.ReduceMin(flags[0] if len(flags) == 1 else op.Concat(*flags, axis=0), keepdims=0), to=BOOL)


def _reads_like_onnx(axis: Resizing, nearest: Nearest) -> bool:
    """Whether rounding in float32 leads Resize to the elements that torch reads, at every size that the axis may have.

    Of sizes that are not known when compiling that takes a known ratio: 14 to 2 is read by a step of 7 in torch, and
    by 1 / (1 / 7), a little less, in ONNX. (ONNX Runtime copies a tensor that keeps all sizes, whatever the factor.)
    """
    if axis.is_static:
        return all(_is_read_like_onnx(axis, nearest.exact, way) for way in nearest.ways)
    return axis.ratio is not None and _always_reads_like_onnx(axis.ratio, axis.factor is not None, nearest)


def _is_read_like_onnx(axis: Resizing, exact: bool, shortcuts: bool) -> bool:
    """The same for known sizes."""
    scale = axis.scale or float(np.float32(axis.after) / np.float32(axis.before))
    wanted = _nearest_of_static(axis, exact, shortcuts)
    read = np.clip(_read_by_onnx(np.arange(axis.after), scale, exact), 0, axis.before - 1)
    is_copied = axis.before != axis.after or np.array_equal(wanted, np.arange(axis.after))
    return is_copied and np.array_equal(read, wanted)


@cache
def _always_reads_like_onnx(ratio: float, is_factor: bool, nearest: Nearest) -> bool:
    """The same for all sizes in a ratio, or by a factor: by positions in an endless axis, and at small sizes, where
    torch may take those that stay or double for a case of their own."""
    scale, exact = (scale_for(ratio) if is_factor else float(np.float32(ratio))) or 1.0, nearest.exact
    endless = np.array_equal(_read_by_onnx(_POSITIONS, scale, exact), _read_by_torch(_POSITIONS, 1 / ratio, exact))
    small = (Resizing(size, math.floor(size * ratio), ratio) for size in range(1, 65) if is_factor)
    return endless and all(_reads_like_onnx(axis, nearest) for axis in small if axis.after and axis.scale == scale)


def _read_by_onnx(positions: np.ndarray, scale: float, exact: bool) -> np.ndarray:
    """The elements that ONNX Runtime's Resize reads (GetOriginalCoordinate, GetNearestPixel), not bounded."""
    places = positions.astype(np.float32)
    if not exact:
        return np.floor(places / np.float32(scale)).astype(np.int64)
    places = (places + np.float32(0.5)) / np.float32(scale) - np.float32(0.5)
    return np.floor(places.astype(np.float64) + 0.5).astype(np.int64)


def _read_by_torch(positions: np.ndarray, step: float, exact: bool) -> np.ndarray:
    """The elements that torch reads (ATen/native/UpSample.h, `nearest_idx`), not bounded."""
    places = positions.astype(np.float32) + np.float32(0.5 if exact else 0)
    return np.floor(places * np.float32(step)).astype(np.int64)


def _nearest_of_static(axis: Resizing, exact: bool, shortcuts: bool) -> np.ndarray:
    """The elements that torch reads of an axis."""
    positions = np.arange(axis.after, dtype=np.int64)
    if axis.after == axis.before and shortcuts:
        return positions
    if axis.after == 2 * axis.before and shortcuts:
        return positions >> 1
    ratio = float(np.float32(axis.before) / np.float32(axis.after))
    step = ratio if axis.factor is None else 1 / axis.factor
    return np.minimum(_read_by_torch(positions, step, exact), axis.before - 1)


def _nearest(op: Builder, axis: Resizing, exact: bool, shortcuts: bool | Tensor) -> Tensor:
    """The same, computed when the model runs where sizes that are known only then have a say."""
    if axis.is_static:
        ways = [op.constant(_nearest_of_static(axis, exact, way)) for way in (True, False)]
        return ways[not shortcuts] if isinstance(shortcuts, bool) else op.Where(shortcuts, *ways)
    before, after = _sizes(op, axis)
    if axis.factor is None:
        step = _ratio(op, before, after)
    else:
        step = op.constant(1 / axis.factor, FLOAT32)
        if shortcuts is not False:
            whole = op.Where(op.Equal(after, before * 2), 0.5, op.Where(op.Equal(after, before), 1.0, step))
            step = whole if shortcuts is True else op.Where(shortcuts, whole, step)
    places = op.Cast(op.Range(0, after, 1), to=FLOAT32)
    read = op.Cast(op.Floor((places + 0.5 if exact else places) * step), to=INT64)
    return op.Min(read, before - 1)


def _is_read_by_resize(op: Builder, axis: Resizing, indices: Tensor, exact: bool) -> Tensor:
    """Which of the indices ONNX Runtime reads (`_read_by_onnx`), computed when the model runs."""
    before, after = _sizes(op, axis)
    scale = _ratio(op, after, before) if axis.scale is None else op.constant(axis.scale, FLOAT32)
    positions = op.Range(0, after, 1)
    places = op.Cast(positions, to=FLOAT32)
    if exact:
        places = op.Cast((places + 0.5) / scale - 0.5, to=FLOAT64) + 0.5
    else:
        places = places / scale
    read = op.Clip(op.Cast(op.Floor(places), to=INT64), 0, before - 1)
    is_copied = op.Or(op.Not(op.Equal(before, after)), op.Equal(indices, positions))
    return op.And(is_copied, op.Equal(indices, read))


def _sizes(op: Builder, axis: Resizing) -> tuple[Tensor, Tensor]:
    """The sizes before and after as scalars: ⌊size · factor⌋ in double, as torch computes it, where no dim says it."""
    before = op.size(axis.before)
    if axis.after is not None:
        return before, op.size(axis.after)
    assert axis.factor is not None, "a size that no dim says comes from a factor"
    return before, op.Cast(op.Floor(op.Cast(before, to=FLOAT64) * axis.factor), to=INT64)


def _ratio(op: Builder, numerator: Tensor, denominator: Tensor) -> Tensor:
    return op.Cast(numerator, to=FLOAT32) / op.Cast(denominator, to=FLOAT32)


# ── linear and cubic ─────────────────────────────────────────────────────────────────────────────────────────────────


_CUBIC_TOLD = {"mode": "cubic", "cubic_coeff_a": _CUBIC}
_SHRINKING_LINEARLY = {"mode": "linear", "exclude_outside": 1, "antialias": 1}
_SHRINKING_CUBICALLY = {"mode": "cubic", "cubic_coeff_a": _CUBIC_ANTIALIASED, "exclude_outside": 1, "antialias": 1}


@lower("aten.upsample_linear1d", "aten.upsample_bilinear2d", "aten.upsample_trilinear3d",
       rename=_NAMES, given={"attributes": {"mode": "linear"}})  # fmt: skip
@lower("aten.upsample_bicubic2d", rename=_NAMES, given={"attributes": _CUBIC_TOLD})
@lower("aten._upsample_bilinear2d_aa", rename=_NAMES, given={"attributes": _SHRINKING_LINEARLY, "by_weights": True})
@lower("aten._upsample_bicubic2d_aa", rename=_NAMES, given={"attributes": _SHRINKING_CUBICALLY, "by_weights": True})
@lower("aten._upsample_bilinear2d_aa", since=18, rename=_NAMES, given={"attributes": _SHRINKING_LINEARLY})
@lower("aten._upsample_bicubic2d_aa", since=18, rename=_NAMES, given={"attributes": _SHRINKING_CUBICALLY})
def interpolate(
    op: Builder, self: Tensor, output_size: Sequence[Dim] | None, align_corners: bool, scales: Factor = None,
    scales_d: Factor = None, scales_h: Factor = None, scales_w: Factor = None,
    scale_factors: Sequence[float] | None = None, *, attributes: Mapping[str, Any], by_weights: bool = False,
) -> Tensor:  # fmt: skip
    """Linear interpolation along each spatial axis, or cubic convolution (Keys 1981).

    Antialiased, with a kernel as wide as the step when shrinking, as PIL does it. Between the centres of the outermost
    elements (`align_corners`) or between their edges; with aligned corners factors only give the sizes.
    """
    dtype, antialias = dtype_of(self), "antialias" in attributes
    if not dtype.is_float and (dtype is not UINT8 or len(self.shape) != 4):
        raise Unsupported(f"an interpolation of {dtype} along {len(self.shape) - 2} axes, which torch has none of")
    interpolation = Interpolation(attributes["mode"] == "cubic", antialias, align_corners)
    axes = plan(self, output_size, _factors(self, scale_factors, scales, scales_d, scales_h, scales_w))
    is_beyond_resize = antialias and (align_corners or dtype is FLOAT64 or not _is_said(axes))
    if by_weights or dtype is UINT8 or is_beyond_resize:
        return _by_weights(op, self, axes, interpolation)
    if align_corners:
        axes = [Resizing(axis.before, axis.after, None if axis.after is not None else axis.factor) for axis in axes]
    if not interpolation.is_cubic:
        axes = [replace(axis, factor=axis.factor and 1.0) if axis.before == axis.after else axis for axis in axes]
    is_stepped = dtype is FLOAT64 and not all(axis.by_size or axis.factor == axis.scale for axis in axes)
    if is_stepped or not all(axis.is_covered for axis in axes):
        return _by_weights(op, self, axes, interpolation)
    attributes = {"coordinate_transformation_mode": _ALIGNED if align_corners else "half_pixel", **attributes}
    if not interpolation.is_cubic or not all(map(_may_keep_its_size, axes)):
        return _resized_between(op, self, axes, attributes)
    return record_if(
        op,
        _keeps_all_sizes(op, axes),
        lambda inner: [_by_weights(inner, inner.use(self.value), axes, interpolation)],
        lambda inner: [_resized_between(inner, inner.use(self.value), axes, attributes)],
    )[0]


def _resized_between(op: Builder, x: Tensor, axes: Sequence[Resizing], attributes: Mapping[str, Any]) -> Tensor:
    """Resize. ONNX Runtime interpolates tensors of three axes along all of them: a NaN reaches the next channel, times
    0."""
    if len(axes) > 1:
        return _resized(op, x, axes, **attributes)
    row = _resized(op, op.Unsqueeze(x, [2]), [Resizing(1, 1, 1.0), *axes], **attributes)
    return op.Squeeze(row, [2])


def _may_keep_its_size(axis: Resizing) -> bool:
    """Whether an axis of two elements or more may keep its size and be stepped by a factor all the same: 3 · 1.3. Torch
    copies it where it interpolates linearly, ONNX Runtime where all axes do."""
    if axis.factor is None or not 1.0 < axis.factor < _MORE_OF_TWO:
        return False
    return not axis.is_static or axis.before == axis.after


def _keeps_all_sizes(op: Builder, axes: Sequence[Resizing]) -> Tensor:
    """Whether all axes do, of sizes that may be known only when the model runs."""
    return reduce(op.And, (op.Equal(*_sizes(op, axis)) for axis in axes))


@lower("aten._upsample_bilinear2d_aa_backward", given={"is_cubic": False})
@lower("aten._upsample_bicubic2d_aa_backward", given={"is_cubic": True})
def interpolate_backward(
    op: Builder, grad_output: Tensor, output_size: Sequence[Dim], input_size: Sequence[Dim], align_corners: bool,
    scales_h: Factor = None, scales_w: Factor = None, *, is_cubic: bool,
) -> Tensor:  # fmt: skip
    """The gradient of what has been interpolated, antialiased: each element's from those that it had a part in."""
    interpolation = Interpolation(is_cubic, antialias=True, align_corners=align_corners)
    axes = zip(input_size[2:], output_size, (scales_h, scales_w), strict=True)
    for axis, (before, after, factor) in enumerate(axes, start=2):
        grad_output = interpolation.given_back(op, grad_output, axis, op.size(before), op.size(after), factor)
    return grad_output


def _by_weights(op: Builder, x: Tensor, axes: Sequence[Resizing], interpolation: Interpolation) -> Tensor:
    """Each axis that changes by its matrix of weights, the last one first as torch does: bytes are rounded between."""
    for number, axis in reversed(list(enumerate(axes, start=2))):
        if axis.before != axis.after or not axis.by_size:
            x = interpolation.resized(op, x, number, *_sizes(op, axis), axis.factor)
    return x
