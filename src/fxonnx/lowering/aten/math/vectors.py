"""Linear algebra of vectors: norms, distances, cross products. That of matrices is the room `linalg`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.infer import broadcast
from fxonnx.lowering.aten.math.reduction import extremum
from fxonnx.lowering.aten.tensor.creation import triangle_indices
from fxonnx.lowering.promote import FLOAT, SAME, in_opmath
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, cast, dtype_of, expand, number

_NEXT, _PREVIOUS = [1, 2, 0], [2, 0, 1]  # of three places, in a circle

# ── norms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def norm_along(op: Builder, x: Tensor, p: float, axes: list[int], keepdim: bool) -> Tensor:
    """The p-norm of vectors along `axes` (torch.linalg.vector_norm); of a scalar its absolute value."""
    if not axes or not x.shape:
        return _count_nonzero(op, x, [], False) if p == 0 else op.Abs(x)
    match p:
        case 0:
            return _count_nonzero(op, x, axes, keepdim)
        case 1:
            return op.ReduceL1(x, axes, keepdims=keepdim)
        case 2:
            return op.ReduceL2(x, axes, keepdims=keepdim)
        case math.inf:
            return extremum(op, op.Abs(x), axes, keepdim, operator="ReduceMax")
        case _ if p == -math.inf:
            return extremum(op, op.Abs(x), axes, keepdim, operator="ReduceMin")
    return _power_norm(op, x, p, axes, keepdim)


def _power_norm(op: Builder, x: Tensor, p: float, axes: list[int], keepdim: bool) -> Tensor:
    powers = op.ReduceSum(op.Abs(x) ** number(op, p, x), axes, keepdims=keepdim)
    return powers ** number(op, 1.0 / p, x)


@lower("aten.linalg__powsum", opmath=True)
def power_sum(
    op: Builder, self: Tensor, ord: Any = 2, dim: int | Sequence[int] | None = None, keepdim: bool = False,
    *, dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """Σ |x|ᵖ along `dim`, computed in `dtype`: what a p-norm takes the root of."""
    x, axes = self if dtype is None else cast(op, self, dtype), axes_of(dim, len(self.shape))
    powers = op.Abs(x) ** number(op, ord, x)
    return op.ReduceSum(powers, axes, keepdims=keepdim) if axes and x.shape else powers


def _count_nonzero(op: Builder, x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    ones = cast(op, op.Not(op.Equal(x, number(op, 0, x))), dtype_of(x))
    return op.ReduceSum(ones, axes, keepdims=keepdim) if axes else ones


@lower("aten.linalg_vector_norm", opmath=True)
@lower("aten.norm", rename={"p": "ord"}, opmath=True)
@lower("aten.frobenius_norm", given={"ord": 2}, opmath=True)
def norm(
    op: Builder, self: Tensor, ord: Any = None, dim: int | Sequence[int] | None = None,
    keepdim: bool = False, *, dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """(Σ |x|ᵖ)^(1/p) along `dim`, computed in `dtype`; no order is the 2-norm of all elements."""
    axes = axes_of(dim, len(self.shape))
    return norm_along(op, self if dtype is None else cast(op, self, dtype), 2 if ord is None else ord, axes, keepdim)


# ── distances ────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.dist", promote=FLOAT, opmath=True)
def dist(op: Builder, self: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of a difference."""
    difference = self - other
    return norm_along(op, difference, p, list(range(len(difference.shape))), keepdim=False)


@lower("aten.pairwise_distance", promote=SAME.of("x1", "x2"), opmath=True)
def pairwise_distance(
    op: Builder, x1: Tensor, x2: Tensor, p: float = 2, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + ε along the last axis; integers are subtracted as such, and may wrap around."""
    difference = x1 - x2
    difference = cast(op, difference, dtypes.to_float(dtype_of(difference)))
    return norm_along(op, difference + number(op, eps, difference), p, [len(difference.shape) - 1], keepdim)


@lower("aten.cosine_similarity", promote=replace(FLOAT, lifted=True).of("x1", "x2"))
def cosine_similarity(op: Builder, x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ (x1 / max(|x1|, ε)) (x2 / max(|x2|, ε)) along `dim`, ε as the dtype has it: 0 in float16.

    A number of no dims has as much to say of the dtype as the other (at::cosine_similarity).
    """
    shape, wanted, least = broadcast(x1.shape, x2.shape), dtype_of(x1), in_opmath(op, number(op, eps, x1))
    x1, x2 = in_opmath(op, [x1, x2])
    if not shape:
        first, second = (x / op.Max(op.Abs(x), least) for x in (x1, x2))
        return cast(op, first * second, wanted)
    axis = axis_of(dim, len(shape)) - len(shape)
    whole = (x if _size_along(x, axis) == shape[axis] else expand(op, x, shape) for x in (x1, x2))
    first, second = (x / op.Max(op.ReduceL2(x, [axis]), least) for x in whole)
    return cast(op, op.ReduceSum(first * second, [axis], keepdims=0), wanted)


def _size_along(x: Tensor, axis: int) -> Dim:
    """The size of an axis counted from the back; 1 where the tensor has not so many."""
    return x.shape[axis] if -axis <= len(x.shape) else 1


@lower("aten.pdist", "aten._pdist_forward", opmath=True)
def pdist(op: Builder, self: Tensor, p: float = 2) -> Tensor:
    """The p-norm distance of every pair of rows."""
    pairs = triangle_indices(op, self.shape[0], self.shape[0], 1, upper=True)
    first, second = (op.Gather(pairs, place, axis=0) for place in (0, 1))
    return norm_along(op, op.Gather(self, first, axis=0) - op.Gather(self, second, axis=0), p, [1], keepdim=False)


# ── of three ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.trace")
def trace(op: Builder, self: Tensor) -> Tensor:
    """The sum of the diagonal."""
    diagonal = op.Cast(op.EyeLike(self, dtype=dtypes.INT32.code), to=dtypes.BOOL.code)
    wide = self if dtype_of(self).is_float else cast(op, self, dtypes.INT64)
    return op.ReduceSum(op.Where(diagonal, wide, number(op, 0, wide)), keepdims=0)


@lower("aten.linalg_cross", opmath=True)
def linalg_cross(op: Builder, self: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three along `dim`."""
    if dtype_of(self) is not dtype_of(other):
        raise Unsupported(f"a cross product of {dtype_of(self)} and {dtype_of(other)}: torch's kernel refuses it, too")
    rank = max(len(self.shape), len(other.shape))
    axis = axis_of(dim, rank) - rank

    def turned(x: Tensor, order: list[int]) -> Tensor:
        return op.Gather(x, order, axis=axis)

    return turned(self, _NEXT) * turned(other, _PREVIOUS) - turned(self, _PREVIOUS) * turned(other, _NEXT)


@lower("aten.cross", opmath=True)
def cross(op: Builder, self: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along `dim`, by default the first axis of size 3."""
    axis = self.shape.index(3) if dim is None else dim
    return linalg_cross(op, self, other, dim=axis)
