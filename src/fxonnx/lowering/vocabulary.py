"""The few words that lowerings of every family share: casting, reshaping and axes, in dims that may be symbolic.

They work with any `op`: under an eager onnxscript opset all dims are ints and everything becomes a constant; under the
recording one a symbolic dim becomes shape arithmetic, and only where no cheaper spelling says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import Dim, Expr
from fxonnx.ir.layout import reshape_target
from fxonnx.lowering.promote import array_in


def dtype_of(x: Any) -> DType:
    """The dtype of a recorded or an eager tensor."""
    return x.dtype if isinstance(x.dtype, DType) else dtypes.dtype(x.dtype)


def cast(op: Any, x: Any, dtype: DType) -> Any:
    """`x` in `dtype`; `x` itself where it already is."""
    return x if dtype_of(x) is dtype else op.Cast(x, to=dtype.code)


def constant(op: Any, array: np.ndarray) -> Any:
    """An array as a constant."""
    if isinstance(op, Builder):
        return op.constant(array)
    from onnx import numpy_helper

    return op.Constant(value=numpy_helper.from_array(array))


def number(op: Any, value: float | complex | bool, like: Any) -> Any:
    """A scalar constant with the dtype of `like`."""
    return constant(op, array_in(value, dtype_of(like)))


def axis_of(dim: int, rank: int) -> int:
    """A dimension as torch counts it (negative from the back) counted from the front; a scalar counts as having one
    axis."""
    return dim + max(rank, 1) if dim < 0 else dim


def axes_of(dims: int | Sequence[int] | None, rank: int) -> list[int]:
    """Dimensions counted from the front, in order; every axis when `dims` is None or empty."""
    if dims is None or (not isinstance(dims, int) and not dims):
        return list(range(rank))
    return [axis_of(dim, rank) for dim in ([dims] if isinstance(dims, int) else dims)]


def flat(op: Any, x: Any) -> Any:
    """All elements as a vector."""
    return x if len(x.shape) == 1 else op.Reshape(x, [-1])


def as_vector(op: Any, x: Any) -> Any:
    """A scalar as a vector of one element; anything else as it is."""
    return x if len(x.shape) else op.Reshape(x, [1])


def like_self(op: Any, result: Any, self: Any) -> Any:
    """The result of work on `as_vector(self)`: a scalar again where `self` is one."""
    return result if self.shape else op.Reshape(result, [])


def reshape(op: Any, x: Any, dims: Sequence[Dim]) -> Any:
    """`x` with shape `dims` (no -1: torch has resolved it). Symbolic dims are said by ONNX's 0 (copy) and -1 (the rest)
    where that is enough."""
    dims = tuple(dims)
    if dims == tuple(x.shape):
        return x
    wanted = reshape_target(tuple(x.shape), dims, lambda dim: bool(op.may_vanish(dim)))
    if wanted is not None:
        return op.Reshape(x, wanted)
    return op.Reshape(x, dims, allowzero=1 if any(may_be_zero(op, dim) for dim in dims) else None)


def may_be_zero(op: Any, dim: Dim) -> bool:
    """Whether a size is 0, or can be when the model runs."""
    return op.may_be_zero(dim) if isinstance(dim, Expr) else dim == 0


def expand(op: Any, x: Any, dims: Sequence[Dim]) -> Any:
    """`x` broadcast to shape `dims`; `x` itself where it has it. A dim that stays is asked for as 1, which leaves it,
    and costs no shape arithmetic."""
    if tuple(dims) == tuple(x.shape):
        return x
    own = (*(None,) * (len(dims) - len(x.shape)), *x.shape)
    return op.Expand(x, [1 if dim == size else dim for dim, size in zip(dims, own, strict=True)])


def positions(op: Any, size: Dim) -> Any:
    """0, 1, … size - 1 as a 1-D int64 tensor."""
    if isinstance(size, Expr):
        return op.Range(0, size, 1)
    return constant(op, np.arange(size, dtype=np.int64))


def full(op: Any, dims: Sequence[Dim], value: Any, dtype: DType) -> Any:
    """A tensor of shape `dims` filled with `value`."""
    return op.ConstantOfShape(dims, value=array_in([value], dtype))


def transpose(op: Any, x: Any, order: Sequence[int]) -> Any:
    """`x` with its axes in `order`; `x` itself where they already are."""
    return x if list(order) == list(range(len(x.shape))) else op.Transpose(x, perm=list(order))


def swapped(op: Any, x: Any) -> Any:
    """Matrices with rows and columns exchanged: the last two axes."""
    rank = len(x.shape)
    return transpose(op, x, [*range(rank - 2), rank - 1, rank - 2])


def truncated(op: Any, x: Any) -> Any:
    """Floats rounded towards 0, as C casts."""
    return op.Sign(x) * op.Floor(op.Abs(x))


def in_batch(op: Any, x: Any, rank: int, body: Callable[[Any], Any]) -> Any:
    """`body` of `x` with `rank` axes: one without a batch axis gets one for as long."""
    if len(x.shape) == rank:
        return body(x)
    results = body(op.Unsqueeze(x, [0]))
    return tuple(op.Squeeze(item, [0]) for item in results) if isinstance(results, tuple) else op.Squeeze(results, [0])
