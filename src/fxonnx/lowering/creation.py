"""Tensors made from sizes and numbers, and copies in another dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.promote import as_tensor, common_dtype
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full, reshape

# ── one value everywhere ──


@lower("aten.zeros", "aten.empty.memory_format")
def zeros(op: Builder, size: Sequence[Dim], dtype: DType | None = None) -> Tensor:
    """A tensor of zeros; so is an empty one, whose content nobody may rely on."""
    return full(op, size, 0, dtype or dtypes.FLOAT32)


@lower("aten.ones")
def ones(op: Builder, size: Sequence[Dim], dtype: DType | None = None) -> Tensor:
    """A tensor of ones."""
    return full(op, size, 1, dtype or dtypes.FLOAT32)


@lower("aten.full.default")
def full_of(op: Builder, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """A tensor of one value, in the value's own dtype unless another is given."""
    return _filled(op, size, fill_value, dtype or common_dtype([fill_value]))


@lower("aten.zeros_like", "aten.empty_like")
def zeros_like(op: Builder, self: Tensor, dtype: DType | None = None) -> Tensor:
    """Zeros in the shape of another tensor, and in its dtype unless one is given."""
    return full(op, self.shape, 0, dtype or dtype_of(self))


@lower("aten.ones_like")
def ones_like(op: Builder, self: Tensor, dtype: DType | None = None) -> Tensor:
    """Ones in the shape of another tensor, and in its dtype unless one is given."""
    return full(op, self.shape, 1, dtype or dtype_of(self))


@lower("aten.full_like")
def full_like(op: Builder, self: Tensor, fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value in the shape of another tensor, and in its dtype unless one is given."""
    return _filled(op, self.shape, fill_value, dtype or dtype_of(self))


@lower("aten.new_zeros", "aten.new_empty")
def new_zeros(op: Builder, self: Tensor, size: Sequence[Dim], dtype: DType | None = None) -> Tensor:
    """Zeros of a shape, in another tensor's dtype unless one is given."""
    return full(op, size, 0, dtype or dtype_of(self))


@lower("aten.new_ones")
def new_ones(op: Builder, self: Tensor, size: Sequence[Dim], dtype: DType | None = None) -> Tensor:
    """Ones of a shape, in another tensor's dtype unless one is given."""
    return full(op, size, 1, dtype or dtype_of(self))


@lower("aten.new_full")
def new_full(op: Builder, self: Tensor, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value of a shape, in another tensor's dtype unless one is given."""
    return _filled(op, size, fill_value, dtype or dtype_of(self))


@lower("aten.fill")
def fill(op: Builder, self: Tensor, value: Any) -> Tensor:
    """The value, in the shape and dtype of another tensor."""
    return _filled(op, self.shape, value, dtype_of(self))


@lower("aten.zero")
def zero(op: Builder, self: Tensor) -> Tensor:
    """Zeros in the shape and dtype of another tensor."""
    return full(op, self.shape, 0, dtype_of(self))


@lower("aten.scalar_tensor")
def scalar_tensor(op: Builder, s: Any, dtype: DType | None = None) -> Tensor:
    """A 0-dim tensor of a number, float32 unless a dtype is given."""
    return as_tensor(op, s, dtype or dtypes.FLOAT32)


def _filled(op: Builder, size: Sequence[Dim], value: Any, dtype: DType) -> Tensor:
    """A number is an attribute of ConstantOfShape; a size or a tensor is expanded."""
    if isinstance(value, (bool, int, float)):
        return full(op, size, value, dtype)
    return expand(op, as_tensor(op, value, dtype), size)


# ── sequences ──


@lower("aten.arange")
def arange(op: Builder, end: Any, start: Any = 0, step: Any = 1, dtype: DType | None = None) -> Tensor:
    """start, start + step, … below end; of integers int64, else float32, unless a dtype is given.

    Floats are counted and computed in double, as torch does, so that rounding neither adds nor loses an element.
    """
    bounds = common_dtype([start, end, step])
    dtype = dtype or (bounds if bounds.is_float else dtypes.INT64)
    if not bounds.is_float:
        start, end, step = (as_tensor(op, bound, dtypes.INT64) for bound in (start, end, step))
        return cast(op, op.Range(start, end, step), dtype)
    start, end, step = (as_tensor(op, bound, dtypes.FLOAT64) for bound in (start, end, step))
    count = op.Cast(op.Ceil(op.Div(op.Sub(end, start), step)), to=dtypes.INT64)
    index = op.Cast(op.Range(0, count, 1), to=dtypes.FLOAT64)
    return cast(op, op.Add(op.Mul(index, step), start), dtype)


# ── copies ──


@lower("aten.to", "aten._to_copy", "aten._autocast_to_reduced_precision")
def to(op: Builder, self: Tensor, dtype: DType | None = None) -> Tensor:
    """The tensor in another dtype; devices and layouts do not concern values."""
    return self if dtype is None else cast(op, self, dtype)


@lower("aten.to.other", "aten.type_as")
def type_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The tensor in another one's dtype."""
    return cast(op, self, dtype_of(other))


@lower("aten.clone", "aten.contiguous", "aten.detach", "aten.alias", "aten.lift_fresh", "aten.lift_fresh_copy", "aten.lift", "aten.positive")
def clone(op: Builder, self: Tensor) -> Tensor:
    """The tensor itself: values are never written to."""
    return self
