"""Resizing: nearest, linear and cubic interpolation over the spatial axes.

torch resizes to a size, and takes the step between the points it reads from the scale factor when it was given one,
else from the sizes (ATen/native/UpSample.h, `area_pixel_compute_scale`). ONNX's Resize takes scales or sizes: scales
where the factors were given, sizes otherwise.
One body serves both overloads of an op: `self` with a scale per axis, and `input` with `scale_factors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import dtype_of

_CUBIC = -0.75  # torch's cubic coefficient (ATen/native/UpSample.h)
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
    def scale(self) -> float:
        """How many elements one becomes."""
        return self.factor if self.factor is not None else float(self.after / self.before)

    @property
    def is_static(self) -> bool:
        """Whether both sizes are known when compiling."""
        return isinstance(self.before, int) and isinstance(self.after, int)

    @property
    def by_scale(self) -> bool:
        """Whether ⌊size · factor⌋ in float32, as ONNX computes it, is the wanted size."""
        if self.factor is None:
            return False
        return not self.is_static or int(np.float32(self.before) * np.float32(self.factor)) == self.after

    @property
    def by_size(self) -> bool:
        """Whether the ratio of the sizes is the factor."""
        return self.after is not None and (
            self.factor is None or (self.is_static and self.before * self.factor == self.after)
        )


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


def _resized(op: Builder, x: Tensor, axes: Sequence[Resizing], **attributes: Any) -> Tensor:
    """Resize of the spatial axes: by constant scales where the factors were given, by sizes otherwise."""
    if all(axis.by_scale for axis in axes):
        return op.Resize(x, None, [1.0, 1.0, *(axis.factor for axis in axes)], **attributes)
    if all(axis.by_size for axis in axes):
        return op.Resize(x, None, None, (*x.shape[:2], *(axis.after for axis in axes)), **attributes)
    raise Unsupported(f"a resize by the factors {[axis.factor for axis in axes]} to sizes that are not their products")


# ── nearest ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.upsample_nearest1d", "aten.upsample_nearest2d", "aten.upsample_nearest3d",
       rename=_NAMES, given={"exact": False})  # fmt: skip
@lower("aten._upsample_nearest_exact1d", "aten._upsample_nearest_exact2d", "aten._upsample_nearest_exact3d",
       rename=_NAMES, given={"exact": True})  # fmt: skip
def upsample_nearest(
    op: Builder, self: Tensor, output_size: Sequence[Dim] | None, scales: Factor = None, scales_d: Factor = None,
    scales_h: Factor = None, scales_w: Factor = None, scale_factors: Sequence[float] | None = None, *, exact: bool,
) -> Tensor:  # fmt: skip
    """The element at ⌊i / scale⌋; exact, at ⌊(i + ½) / scale⌋, the one whose centre is nearest."""
    axes = plan(self, output_size, _factors(self, scale_factors, scales, scales_d, scales_h, scales_w))
    if exact or all(map(_reads_like_onnx, axes)):
        coordinates, rounding = ("half_pixel", "round_prefer_ceil") if exact else ("asymmetric", "floor")
        attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        return _resized(op, self, axes, mode="nearest", **attributes)
    x = self
    for number, axis in enumerate(axes, start=2):
        x = op.Gather(x, _nearest(axis), axis=number) if axis.before != axis.after else x
    return x


def _reads_like_onnx(axis: Resizing) -> bool:
    """Whether rounding in float32 leads Resize to the elements that torch reads; assumed where sizes are not known."""
    if not axis.is_static:
        return True
    positions = np.arange(axis.after, dtype=np.float32)
    by_onnx = np.minimum(np.floor(positions / np.float32(axis.scale)).astype(np.int64), axis.before - 1)
    return np.array_equal(by_onnx, _nearest(axis))


def _nearest(axis: Resizing) -> np.ndarray:
    """The elements that torch reads (ATen/native/UpSample.h, `nearest_idx`)."""
    positions = np.arange(axis.after, dtype=np.int64)
    if axis.after == axis.before:
        return positions
    if axis.after == 2 * axis.before:
        return positions >> 1
    step = np.float32(axis.before) / np.float32(axis.after) if axis.factor is None else np.float32(1 / axis.factor)
    return np.minimum(np.floor(positions.astype(np.float32) * step).astype(np.int64), axis.before - 1)


# ── linear and cubic ─────────────────────────────────────────────────────────────────────────────────────────────────


_CUBIC_TOLD = {"mode": "cubic", "cubic_coeff_a": _CUBIC}
_SHRINKING_LINEARLY = {"mode": "linear", "exclude_outside": 1, "antialias": 1}
_SHRINKING_CUBICALLY = {"mode": "cubic", "cubic_coeff_a": _CUBIC_ANTIALIASED, "exclude_outside": 1, "antialias": 1}


@lower("aten.upsample_linear1d", "aten.upsample_bilinear2d", "aten.upsample_trilinear3d",
       rename=_NAMES, given={"attributes": {"mode": "linear"}})  # fmt: skip
@lower("aten.upsample_bicubic2d", rename=_NAMES, given={"attributes": _CUBIC_TOLD})
@lower("aten._upsample_bilinear2d_aa", rename=_NAMES, given={"attributes": _SHRINKING_LINEARLY})
@lower("aten._upsample_bicubic2d_aa", rename=_NAMES, given={"attributes": _SHRINKING_CUBICALLY})
def interpolate(
    op: Builder, self: Tensor, output_size: Sequence[Dim] | None, align_corners: bool, scales: Factor = None,
    scales_d: Factor = None, scales_h: Factor = None, scales_w: Factor = None,
    scale_factors: Sequence[float] | None = None, *, attributes: Mapping[str, Any],
) -> Tensor:  # fmt: skip
    """Linear interpolation along each spatial axis, or cubic convolution (Keys 1981).

    Antialiased, with a kernel as wide as the step when shrinking, as PIL does it. Between the centres of the outermost
    elements (`align_corners`) or between their edges; with aligned corners factors only give the sizes.
    """
    if not dtype_of(self).is_float:
        raise Unsupported(f"an interpolation of {dtype_of(self)}, which torch rounds in a way of its own")
    if align_corners and "antialias" in attributes:
        raise Unsupported("an antialiased resize with aligned corners, which ONNX means differently than torch")
    axes = plan(self, output_size, _factors(self, scale_factors, scales, scales_d, scales_h, scales_w))
    if align_corners:
        axes = [Resizing(axis.before, axis.after, None if axis.after is not None else axis.factor) for axis in axes]
    coordinates = "align_corners" if align_corners else "half_pixel"
    return _resized(op, self, axes, coordinate_transformation_mode=coordinates, **attributes)
