"""Resize for dtypes without a kernel, and before opset 11, which knew no coordinates but asymmetric ones: rows gathered
and weighted, axis by axis.

Source: ONNX Resize (coordinate transformations, nearest modes), Keys 1981 for cubic weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fxonnx.dtypes import FLOAT32, FLOAT64, INT64, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, symbol
from fxonnx.ir.graph import Node, constant_ints, content
from fxonnx.passes.legalize.expansions.indexing import counted
from fxonnx.passes.legalize.registry import NoExpansion, expands, form


@expands("Resize")
@form("Resize", since=11, applies=lambda node: True)
def resampled(
    op: Builder, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None,
    *, mode: str, axes: Sequence[int] | None = None, antialias: int = 0, **attributes: Any,
) -> Tensor:  # fmt: skip
    """Each axis by a few rows for each new one."""
    if antialias or attributes["exclude_outside"]:
        raise NoExpansion("Resize with antialias, or that leaves out what is outside")
    named = list(range(x.rank)) if axes is None else list(axes)
    wide = FLOAT64 if x.dtype is FLOAT64 and mode != "nearest" else FLOAT32  # rounding says which element is nearest
    for axis, (after, scale) in zip(named, _resizings(op, x, named, scales, sizes, wide), strict=True):
        if x.shape[axis] != after:
            x = _axis(op, x, axis, after, scale, mode, attributes)
    return x


def _resizings(
    op: Builder, x: Tensor, axes: Sequence[int], scales: Tensor | None, sizes: Tensor | None, wide: DType
) -> list[tuple[Dim, Tensor]]:
    """The new size of each axis, and the scale that leads there."""
    before = [x.shape[axis] for axis in axes]
    if sizes is not None:
        known = sizes.value.known or constant_ints(sizes.value)
        if known is None:
            raise NoExpansion("Resize to sizes that come from data")
        for place, dim in enumerate(known):
            if isinstance(dim, Expr) and dim.name is not None:  # a number that is a size of nothing before this
                op.define_size(dim.name, op.Gather(sizes, place))
        pairs = zip(known, before, strict=True)
        return [(after, _float(op, after, wide) / _float(op, old, wide)) for after, old in pairs]
    factors = content(scales.value) if scales is not None else None
    if factors is None:
        raise NoExpansion("Resize by scales that come from data")
    each = zip(before, factors.tolist(), strict=True)
    return [(_scaled(op, old, factor), op.constant(factor, wide)) for old, factor in each]


def _scaled(op: Builder, size: Dim, factor: float) -> Dim:
    """⌊size · factor⌋ in float32, as ONNX says; a size of its own where no dim says it."""
    if isinstance(size, int):
        return int(np.floor(np.float32(size) * np.float32(factor)))
    if float(factor).is_integer():
        return size * int(factor)
    if (1 / factor).is_integer():
        return size // int(1 / factor)
    scaled = symbol(re.sub(r"\W+", "_", f"{size}_by_{factor!r}"))
    assert isinstance(scaled, Expr)
    op.define_size(str(scaled), op.Cast(op.Floor(_float(op, size, FLOAT32) * float(factor)), to=INT64))
    return scaled


def _float(op: Builder, size: Dim, dtype: DType) -> Tensor:
    return op.Cast(op.size(size), to=dtype)


def _axis(
    op: Builder, x: Tensor, axis: int, after: Dim, scale: Tensor, mode: str, attributes: dict[str, Any]
) -> Tensor:
    """The rows at each coordinate, weighted and summed."""
    place = _COORDINATES[attributes["coordinate_transformation_mode"]](op, x.shape[axis], after, scale)
    if mode == "nearest":
        return op.Gather(x, _within(op, _ROUNDED[attributes["nearest_mode"]](op, place), x.shape[axis]), axis=axis)
    if mode == "linear":
        place = op.Max(place, 0.0)  # which reads the second element too, times 0, as kernels do: it may be NaN
    left = op.Floor(place)
    column = [-1, *[1] * (x.rank - 1 - axis)]
    total: Tensor | None = None
    for offset, weight in taps(place - left, mode, float(attributes["cubic_coeff_a"])):
        rows = op.Gather(x, _within(op, left + float(offset), x.shape[axis]), axis=axis)
        weight = op.Reshape(weight, column)
        part = rows * (weight if weight.dtype is x.dtype else op.Cast(weight, to=x.dtype))
        total = part if total is None else total + part
    assert total is not None
    return total


def _within(op: Builder, place: Tensor, size: Dim) -> Tensor:
    """Places as indices, those beyond an edge on it."""
    return op.Min(op.Max(op.Cast(place, to=INT64), 0), op.size(size) - 1)


# ── coordinates: where new element i lies among the old ones ─────────────────────────────────────────────────────────


def _half_pixel(op: Builder, before: Dim, after: Dim, scale: Tensor) -> Tensor:
    return (op.Cast(counted(op, after), to=scale.dtype) + 0.5) / scale - 0.5


def _pytorch_half_pixel(op: Builder, before: Dim, after: Dim, scale: Tensor) -> Tensor:
    return op.Where(op.Greater(_float(op, after, scale.dtype), 1.0), _half_pixel(op, before, after, scale), 0.0)


def _asymmetric(op: Builder, before: Dim, after: Dim, scale: Tensor) -> Tensor:
    return op.Cast(counted(op, after), to=scale.dtype) / scale


def _align_corners(op: Builder, before: Dim, after: Dim, scale: Tensor) -> Tensor:
    steps = op.Max(_float(op, after, scale.dtype) - 1.0, 1.0)
    return op.Cast(counted(op, after), to=scale.dtype) * (_float(op, before, scale.dtype) - 1.0) / steps


_COORDINATES: dict[str, Callable[[Builder, Dim, Dim, Tensor], Tensor]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
}
_ROUNDED: dict[str, Callable[[Builder, Tensor], Tensor]] = {
    "floor": lambda op, place: op.Floor(place),
    "ceil": lambda op, place: op.Ceil(place),
    "round_prefer_ceil": lambda op, place: op.Floor(op.Cast(place, to=FLOAT64) + 0.5),  # as ONNX Runtime rounds
    "round_prefer_floor": lambda op, place: op.Ceil(op.Cast(place, to=FLOAT64) - 0.5),
}


# ── taps: which old elements a new one is made of ────────────────────────────────────────────────────────────────────


def taps(rest: Tensor, mode: str, a: float) -> list[tuple[int, Tensor]]:
    """The elements around a place that lies `rest` behind the one on its left: how far each is from that, and the part
    it has."""
    if mode == "linear":
        return [(0, 1.0 - rest), (1, rest)]
    distances = [rest + 1.0, rest, 1.0 - rest, 2.0 - rest]
    weights = [(_near if offset in (0, 1) else _far)(d, a) for offset, d in zip((-1, 0, 1, 2), distances, strict=True)]
    return list(zip((-1, 0, 1, 2), weights, strict=True))


def _near(d: Tensor, a: float) -> Tensor:
    """(a + 2)d³ - (a + 3)d² + 1."""
    return (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0


def _far(d: Tensor, a: float) -> Tensor:
    """a(d³ - 5d² + 8d - 4)."""
    return (((d - 5.0) * d + 8.0) * d - 4.0) * a


# ── opsets 11 and 12 ──────────────────────────────────────────────────────────────────────────────────────────────────


def _leaves_inputs_out(node: Node) -> bool:
    return node.inputs[1] is None or (len(node.inputs) > 3 and node.inputs[2] is None)


@form("Resize", since=13, applies=_leaves_inputs_out)
def with_all_inputs(
    op: Builder, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None, **attributes: Any
) -> Tensor:
    """Tensors of nothing where none is meant: the regions and the scales could not be left out."""
    nothing = op.constant(np.array([], np.float32))
    given = {name: item for name, item in attributes.items() if item not in (None, 0, "stretch")}
    return op.Resize(x, roi or nothing, scales or nothing, sizes, **given)
