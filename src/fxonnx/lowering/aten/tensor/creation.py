"""Tensors made from sizes and numbers, and copies in another dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.promote import as_tensor, common_dtype
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full, reshape

# ── one value everywhere ──


# The ops whose name says the value; an empty tensor is one of zeros, as nobody may rely on its content.
_ZEROS, _ONES = {"fill_value": 0.0}, {"fill_value": 1.0}


@lower("aten.full.default", runtime={"fill_value"})
@lower("aten.zeros", "aten.empty.memory_format", "aten._efficientzerotensor", given=_ZEROS, computes="Zeros.")
@lower("aten.empty_strided", "aten.empty_permuted", given=_ZEROS, ignore={"stride", "physical_layout"})
@lower("aten.ones", given=_ONES, computes="Ones.")
def full_of(op: Builder, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """A tensor of one value, in the value's own dtype unless another is given."""
    return filled(op, size, fill_value, dtype or _number_dtype(fill_value))


@lower("aten.full_like", runtime={"fill_value"})
@lower("aten.fill", rename={"value": "fill_value"}, runtime={"fill_value"})
@lower("aten.zeros_like", "aten.empty_like", "aten.zero", given=_ZEROS, computes="Zeros like another tensor.")
@lower("aten.ones_like", given=_ONES, computes="Ones like another tensor.")
def full_like(op: Builder, self: Tensor, fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value in the shape of another tensor, and in its dtype unless one is given."""
    return filled(op, self.shape, fill_value, dtype or dtype_of(self))


@lower("aten.new_full", runtime={"fill_value"})
@lower("aten.new_zeros", "aten.new_empty", "aten.new_empty_strided", given=_ZEROS, ignore={"stride"})
@lower("aten.new_ones", given=_ONES, computes="Ones of a shape, in another tensor's dtype by default.")
def new_full(op: Builder, self: Tensor, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value of a shape, in another tensor's dtype unless one is given."""
    return filled(op, size, fill_value, dtype or dtype_of(self))


@lower("aten._new_zeros_with_same_feature_meta", ignore={"self_num_batch_dims"})
def new_zeros_like(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Zeros like another tensor: the tangent of what does not move, in forward-mode differentiation."""
    return filled(op, other.shape, 0, dtype_of(other))


@lower("aten.scalar_tensor", runtime={"s"})
def scalar_tensor(op: Builder, s: Any, dtype: DType | None = None) -> Tensor:
    """A 0-dim tensor of a number, float32 unless a dtype is given."""
    return as_tensor(op, s, dtype or dtypes.FLOAT32)


def _number_dtype(*numbers: Any) -> DType:
    """What torch makes of Python numbers; a tensor stands for a float that is known only when the model runs."""
    return common_dtype([1.0 if hasattr(number, "dtype") else number for number in numbers])


def filled(op: Builder, size: Sequence[Dim], value: Any, dtype: DType) -> Tensor:
    """A number is an attribute of ConstantOfShape; a size or a tensor is expanded."""
    if isinstance(value, (bool, int, float)):
        return full(op, size, value, dtype)
    return expand(op, as_tensor(op, value, dtype), size)


# ── sequences ──


@lower("aten.arange", runtime={"start", "end", "step"})
def arange(op: Builder, end: Any, start: Any = 0, step: Any = 1, dtype: DType | None = None) -> Tensor:
    """start, start + step, … below end; of integers int64, else float32, unless a dtype is given.

    Floats are counted and computed in double, as torch does, so that rounding neither adds nor loses an element.
    """
    bounds = _number_dtype(start, end, step)
    dtype = dtype or (bounds if bounds.is_float else dtypes.INT64)
    if not bounds.is_float or dtype is dtypes.INT64:
        return cast(op, op.Range(*(as_tensor(op, bound, dtypes.INT64) for bound in (start, end, step))), dtype)
    first, last, step = (as_tensor(op, bound, dtypes.FLOAT64) for bound in (start, end, step))
    count = op.Cast(op.Ceil((last - first) / step), to=dtypes.INT64)
    if dtype.is_integer:
        first, step = (op.Cast(op.Cast(bound, to=dtypes.INT64), to=dtypes.FLOAT64) for bound in (first, step))
    return cast(op, _steps(op, count, first, step), dtype)


@lower("aten.range", runtime={"start", "end", "step"})
def range_to(op: Builder, start: Any, end: Any, step: Any = 1, dtype: DType | None = None) -> Tensor:
    """start, start + step, … up to and including end; torch.range, which arange replaced."""
    dtype = dtype or _number_dtype(start, end, step, 1.0)
    start, end, step = (as_tensor(op, bound, dtypes.FLOAT64) for bound in (start, end, step))
    count = op.Cast(op.Floor((end - start) / step), to=dtypes.INT64)
    return cast(op, _steps(op, count + 1, start, step), dtype)


def _steps(op: Builder, count: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """`count` numbers from `start` on, in double."""
    return op.Cast(op.Range(0, count, 1), to=dtypes.FLOAT64) * step + start


@lower("aten.linspace", runtime={"start", "end"})
def linspace(op: Builder, start: Any, end: Any, steps: Dim, dtype: DType | None = None) -> Tensor:
    """`steps` numbers from start to end, both included; integers are cut towards 0."""
    dtype = dtype or dtypes.FLOAT32
    return cast(op, evenly(op, start, end, steps, dtype), dtype)


@lower("aten.logspace", runtime={"start", "end"})
def logspace(op: Builder, start: Any, end: Any, steps: Dim, base: float = 10.0, dtype: DType | None = None) -> Tensor:
    """`base` to the powers of linspace; integers are cut towards 0."""
    dtype = dtype or dtypes.FLOAT32
    exponents = cast(op, evenly(op, start, end, steps, dtype), dtypes.FLOAT64)
    return cast(op, op.constant(float(base), dtypes.FLOAT64) ** exponents, dtype)


def evenly(op: Builder, start: Any, end: Any, steps: Dim, dtype: DType) -> Tensor:
    """linspace, from bounds in `dtype`, rounded where torch's kernel rounds.

    Each number from the nearer bound, so that both are exact, by a step in `dtype`. Product and sum are rounded as one,
    a fused multiply-add, but those of 16 bits one by one.
    """
    bounds = [as_tensor(op, bound, dtype) for bound in (start, end)]
    wide = dtype if dtype in (dtypes.FLOAT16, dtypes.BFLOAT16) else dtypes.FLOAT64
    first, last = (cast(op, bound, wide) for bound in bounds)
    index = op.Cast(op.Range(0, steps, 1), to=dtypes.FLOAT64)
    gaps = as_tensor(op, steps - 1, dtypes.FLOAT64)
    low, high = bounds if dtype.is_float else (first, last)
    step = cast(op, (high - low) / cast(op, op.Max(gaps, 1.0), low.dtype), wide)
    behind, ahead = cast(op, index, wide), cast(op, gaps - index, wide)
    if dtype is dtypes.FLOAT64:
        from_first, from_last = _rounded_once(op, behind, step, first), _rounded_once(op, ahead, -step, last)
    else:
        from_first, from_last = behind * step + first, last - ahead * step
    in_first_half = index < as_tensor(op, steps // 2, dtypes.FLOAT64)
    return op.Where(op.Or(in_first_half, op.Equal(index, 0.0)), from_first, from_last)


def _rounded_once(op: Builder, count: Tensor, step: Tensor, bound: Tensor) -> Tensor:
    """count · step + bound in float64 with what both operators round away, for counts below 2²⁶: Dekker's product of
    halves of 26 bits, and Knuth's sum (Handbook of Floating-Point Arithmetic, 4.3 and 4.4)."""
    product = count * step
    shifted = step * (2.0**27 + 1.0)
    high = shifted - (shifted - step)
    total = bound + product
    moved = total - bound
    lost = (count * high - product) + count * (step - high)
    lost = (bound - (total - moved)) + (product - moved) + lost
    return total + op.Where(op.Abs(lost) < math.inf, lost, 0.0)  # of infinite numbers there is none


# ── matrices ──


@lower("aten.eye")
def eye(op: Builder, n: Dim, m: Dim | None = None, dtype: DType | None = None) -> Tensor:
    """Ones on the diagonal of a matrix of zeros."""
    wanted = dtype or dtypes.FLOAT32
    like = wanted if wanted in (dtypes.FLOAT64, dtypes.INT32, dtypes.INT64) else dtypes.FLOAT32
    return cast(op, op.EyeLike(full(op, [n, n if m is None else m], 0, like)), wanted)


@lower("aten.tril", given={"upper": False}, computes="The last two axes with 0 above a diagonal.")
@lower("aten.triu", given={"upper": True}, computes="The last two axes with 0 below a diagonal.")
def triangle(op: Builder, self: Tensor, diagonal: Dim = 0, *, upper: bool) -> Tensor:
    """The last two axes with 0 above a diagonal, or below it for the upper triangle."""
    return op.Trilu(self, as_tensor(op, diagonal, dtypes.INT64), upper=int(upper))


@lower("aten.tril_indices", given={"upper": False})
@lower("aten.triu_indices", given={"upper": True})
def triangle_indices(
    op: Builder, row: Dim, col: Dim, offset: Dim = 0, dtype: DType | None = None, *, upper: bool
) -> Tensor:
    """Rows and columns of the elements of a triangle with its diagonal, row by row."""
    ones = full(op, [row, col], 1, dtypes.INT64)
    return cast(op, op.NonZero(triangle(op, ones, offset, upper=upper)), dtype or dtypes.INT64)


@lower("aten.one_hot")
def one_hot(op: Builder, self: Tensor, num_classes: Dim = -1) -> Tensor:
    """A last axis of zeros with a 1 at the index; its size is the greatest index + 1 when it is not given."""
    if not self.shape:
        return op.Squeeze(one_hot(op, op.Unsqueeze(self, [0]), num_classes), [0])
    depth = op.ReduceMax(self, keepdims=0) + 1 if num_classes == -1 else as_tensor(op, num_classes, dtypes.INT64)
    return op.OneHot(self, depth, [0, 1])


@lower("aten.meshgrid")
def meshgrid(op: Builder, tensors: Sequence[Tensor], indexing: str = "ij") -> list[Tensor]:
    """Each vector along an axis of its own, repeated along the others; "xy" swaps the first two axes."""
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    dims = [item.shape[0] if item.shape else 1 for item in tensors]
    grid = [dims[axis] for axis in order]
    axes = [order.index(index) for index in range(len(tensors))]
    pillars = [
        reshape(op, x, [dim if axis == own else 1 for axis in range(len(grid))])
        for x, dim, own in zip(tensors, dims, axes, strict=True)
    ]
    return [expand(op, pillar, grid) for pillar in pillars]


# ── copies ──


@lower("aten.to", "aten._to_copy", "aten._autocast_to_reduced_precision")
def to(op: Builder, self: Tensor, dtype: DType | None = None) -> Tensor:
    """The tensor in another dtype; devices and layouts do not concern values."""
    return self if dtype is None else cast(op, self, dtype)


@lower("aten.to.other", "aten.type_as")
def type_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The tensor in another one's dtype."""
    return cast(op, self, dtype_of(other))


_COPIES = (
    "alias", "clone", "conj", "conj_physical", "contiguous", "detach", "lift",
    "lift_fresh", "lift_fresh_copy", "positive", "real", "resolve_conj", "resolve_neg",
)  # fmt: skip


@lower(*(f"aten.{name}" for name in _COPIES))
def clone(op: Builder, self: Tensor) -> Tensor:
    """The tensor itself: values are never written to."""
    return self


@lower("aten.copy")
def copy(op: Builder, self: Tensor, src: Tensor) -> Tensor:
    """src in the shape and dtype of self."""
    return expand(op, cast(op, src, dtype_of(self)), self.shape)
