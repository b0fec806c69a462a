"""Running sums, products and extrema along an axis. Where ONNX has no operator for one, it is a Scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_scan
from fxonnx.lowering.aten.math.reduction import summable
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axis_of, cast, dtype_of, full, number, positions, transpose

Step = Callable[..., Sequence[Any]]


@lower("aten.cumsum")
def cumsum(op: Builder, self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Running sums along `dim`."""
    x = summable(op, self, dtype)
    return op.CumSum(x, axis_of(dim, len(x.shape))) if x.shape else x


@lower("aten.cumprod", since=26)
def cumprod(op: Builder, self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`."""
    x = summable(op, self, dtype)
    return op.CumProd(x, axis_of(dim, len(x.shape))) if x.shape else x


def _in_front(x: Any, dim: int) -> list[int]:
    """The order of axes that puts `dim` first; it is put back by the same exchange."""
    axis, order = axis_of(dim, len(x.shape)), list(range(len(x.shape)))
    order[0], order[axis] = order[axis], order[0]
    return order


def _scanned(op: Builder, x: Tensor, dim: int, start: float, step: Callable[..., Any]) -> Tensor:
    """Running values: `step(op, value so far, element)` along `dim`, from `start`."""

    def body(inner: Builder, so_far: Tensor, element: Tensor) -> Sequence[Tensor]:
        value = step(inner, so_far, element)
        return value, inner.Identity(value)

    if 0 in x.shape:
        return x
    order = _in_front(x, dim)
    moved = transpose(op, x, order)
    _, values = record_scan(op, [full(op, moved.shape[1:], start, dtype_of(x))], [moved], body)
    return transpose(op, values, order)


@lower("aten.cumprod")
def cumprod_scanned(op: Builder, self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`, before ONNX had an operator for them."""
    x = summable(op, self, dtype)
    return _scanned(op, x, dim, 1, lambda inner, so_far, element: so_far * element) if x.shape else x


@lower("aten.logcumsumexp", promote=FLOAT.of("self"))
def logcumsumexp(op: Builder, self: Tensor, dim: int) -> Tensor:
    """log of the running sums of exp(x) along `dim`."""
    return _scanned(op, self, dim, -math.inf, _log_add_exp) if self.shape else self


def _log_add_exp(op: Any, a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)); of equal ones, infinite ones among them, a + log 2."""
    most, least = op.Max(a, b), op.Min(a, b)
    sum_of_unequal = most + op.Log(op.Exp(least - most) + number(op, 1, a))
    return op.Where(op.Equal(most, least), most + number(op, math.log(2), a), sum_of_unequal)


def _running_extremum(op: Builder, x: Tensor, dim: int, comparison: str, start: float) -> tuple[Tensor, Tensor]:
    """Running extrema and where the last of each occurs; from the first NaN on, NaN."""
    if not x.shape or 0 in x.shape:
        return x, full(op, x.shape, 0, dtypes.INT64)
    order = _in_front(x, dim)
    moved = transpose(op, x, order)
    rest = moved.shape[1:]

    def body(inner: Builder, value: Tensor, place: Tensor, element: Tensor, here: Tensor) -> Sequence[Tensor]:
        better = getattr(inner, comparison)(element, value)
        if element.dtype.is_float:
            better = inner.Or(
                inner.IsNaN(element), better
            )  # nothing compares with NaN, so that one stays until the next
        value, place = inner.Where(better, element, value), inner.Where(better, here, place)
        return value, place, inner.Identity(value), inner.Identity(place)

    carried = [full(op, rest, start, x.dtype), full(op, rest, 0, dtypes.INT64)]
    _, _, values, places = record_scan(op, carried, [moved, positions(op, moved.shape[0])], body)
    return transpose(op, values, order), transpose(op, places, order)


@lower("aten.cummax")
def cummax(op: Builder, self: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Running greatest elements along `dim`, and where the last of each occurs."""
    return _extrema(op, self, dim, "GreaterOrEqual", -math.inf if dtype_of(self).is_float else dtype_of(self).lowest)


@lower("aten.cummin")
def cummin(op: Builder, self: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Running least elements along `dim`, and where the last of each occurs."""
    return _extrema(op, self, dim, "LessOrEqual", math.inf if dtype_of(self).is_float else dtype_of(self).highest)


def _extrema(op: Builder, x: Tensor, dim: int, comparison: str, start: float) -> tuple[Tensor, Tensor]:
    """Bools are compared as integers."""
    if x.dtype is not dtypes.BOOL:
        return _running_extremum(op, x, dim, comparison, start)
    values, places = _running_extremum(op, cast(op, x, dtypes.INT32), dim, comparison, int(start))
    return cast(op, values, dtypes.BOOL), places
