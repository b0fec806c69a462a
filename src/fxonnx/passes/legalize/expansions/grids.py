"""Sampling at points of a grid, and the grid of an affine map. Jaderberg et al. 2015.

Source: ONNX GridSample and AffineGrid; torch.nn.functional.grid_sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from fxonnx.dtypes import INT64, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import known_dims
from fxonnx.passes.legalize.expansions.indexing import counted, row_major
from fxonnx.passes.legalize.expansions.resampling import taps
from fxonnx.passes.legalize.registry import NoExpansion, expands


@expands("AffineGrid", opmath=True)
def affine_grid(op: Builder, theta: Tensor, size: Tensor, *, align_corners: int) -> Tensor:
    """The grid of [-1, 1] coordinates, last axis x before y (before z), times each affine matrix. Jaderberg et al.
    2015.

    Without `align_corners` the ends of the interval are the borders of the outer pixels, with it their centers.
    """
    batch, _, *spatial = known_dims(size.value) or (None, None)
    if batch is None:
        raise NoExpansion("AffineGrid with a size that comes from data")
    rank = len(spatial)
    axes = [_coordinates(op, dim, bool(align_corners), theta.dtype) for dim in spatial]
    shaped = [op.Reshape(axis, [-1 if i == index else 1 for i in range(rank)]) for index, axis in enumerate(axes)]
    planes = [op.Unsqueeze(op.Expand(plane, spatial), [-1]) for plane in reversed(shaped)]
    ones = op.Expand(op.constant([1.0], theta.dtype), [*spatial, 1])
    points = op.Reshape(op.Concat(*planes, ones, axis=-1), [-1, rank + 1])
    moved = op.MatMul(points, op.Transpose(theta, perm=[0, 2, 1]))
    return op.Reshape(moved, [batch, *spatial, rank])


def _coordinates(op: Builder, dim: Dim, align_corners: bool, dtype: DType) -> Tensor:
    """`dim` coordinates from -1 to 1; a lone one is 0 when corners are aligned, as torch has it (ONNX leaves it
    open)."""
    steps = op.Cast(op.Range(np.array(0), op.size(dim), np.array(1)), to=dtype)
    count = op.Cast(op.size(dim), to=dtype)
    if not align_corners:
        return (steps * 2.0 + 1.0) / count - 1.0
    return op.Where(op.Equal(count, 1.0), steps, steps * 2.0 / op.Max(count - 1.0, 1.0) - 1.0)


@dataclass(frozen=True, slots=True)
class Tap:
    """The place of a pixel along one axis for each point, and the part that it has there."""

    place: Tensor
    weight: Tensor


# ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@expands("GridSample", opmath=True)
def grid_sample(op: Builder, x: Tensor, grid: Tensor, *, align_corners: int, mode: str, padding_mode: str) -> Tensor:
    """The pixels around each point, gathered as rows of channels, weighted and summed.

    `x` is [batch, channels, *sizes], `grid` [batch, *points, axes] with the last axis first. Of cubic weights the
    pixels outside are replaced one by one, of the others the points are moved inside.
    """
    sizes = x.shape[2:]
    around: list[list[Tap]] = []
    for axis, size in enumerate(sizes):
        place = op.Gather(grid, np.array(len(sizes) - 1 - axis), axis=-1)
        place = _in_pixels(op, place, size, bool(align_corners))
        place = place if mode == "cubic" else _moved_inside(op, place, size, padding_mode, bool(align_corners))
        around.append(_pixels_around(op, place, size, mode, padding_mode, bool(align_corners)))
    channels_last = op.Transpose(x, perm=[0, *range(2, x.rank), 1])
    rows = op.Reshape(channels_last, [-1, x.shape[1]])
    batch = op.Reshape(counted(op, x.shape[0]), [-1, *[1] * len(sizes)])
    total: Tensor | None = None
    for corner in product(*around):
        places = row_major(op, [batch, *(tap.place for tap in corner)], [x.shape[0], *sizes])
        weight = math.prod((tap.weight for tap in corner[1:]), start=corner[0].weight)
        part = op.Gather(rows, places, axis=0) * op.Unsqueeze(weight, [-1])
        total = part if total is None else total + part
    assert total is not None
    return op.Transpose(total, perm=[0, x.rank - 1, *range(1, x.rank - 1)])


def _in_pixels(op: Builder, place: Tensor, size: Dim, align_corners: bool) -> Tensor:
    """From -1 … 1 to pixels: the borders of the outer ones, or their centers where corners are aligned."""
    count = op.Cast(op.size(size), to=place.dtype)
    return (place + 1.0) / 2.0 * (count - 1.0) if align_corners else ((place + 1.0) * count - 1.0) / 2.0


def _moved_inside(op: Builder, place: Tensor, size: Dim, padding_mode: str, align_corners: bool) -> Tensor:
    """Points outside: left there for zeros, on the border, or reflected by it."""
    if padding_mode == "zeros":
        return place
    last = op.Cast(op.size(size), to=place.dtype) - 1.0
    if padding_mode == "reflection":
        low = op.constant(0.0 if align_corners else -0.5, place.dtype)
        span = last if align_corners else last + 1.0
        distance = op.Abs(place - low)
        turns = op.Floor(distance / span)
        rest = distance - turns * span
        is_odd = op.Greater(turns - op.Floor(turns / 2.0) * 2.0, 0.5)
        reflected = op.Where(is_odd, op.Sub(span, rest), rest) + low
        place = op.Where(op.Greater(span, 0.0), reflected, op.constant(0.0, place.dtype))
    return op.Min(op.Max(place, 0.0), last)


def _pixels_around(
    op: Builder, place: Tensor, size: Dim, mode: str, padding_mode: str, align_corners: bool
) -> list[Tap]:
    """The pixels of one axis that a point is made of; those outside count nothing."""
    if mode == "nearest":
        near = [(op.Round(place), op.constant(1.0, place.dtype))]
    else:
        left = op.Floor(place)
        near = [(left + float(offset), weight) for offset, weight in taps(place - left, mode, a=-0.75)]
    found: list[Tap] = []
    last = op.Cast(op.size(size), to=place.dtype) - 1.0
    for pixel, weight in near:
        pixel = _moved_inside(op, pixel, size, padding_mode, align_corners) if mode == "cubic" else pixel
        outside = op.Or(op.Less(pixel, 0.0), op.Greater(pixel, last))
        index = op.Cast(op.Min(op.Max(op.Where(outside, 0.0, pixel), 0.0), last), to=INT64)
        found.append(Tap(index, op.Where(outside, op.constant(0.0, place.dtype), weight)))
    return found
