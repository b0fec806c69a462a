"""Running sums, products and extrema along an axis. Where ONNX has no operator for one, it is a Scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop, record_scan
from fxonnx.lowering.aten.math.reduction import summable
from fxonnx.lowering.aten.tensor.joining import LAST, cut
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axis_of, cast, full, may_be_zero, number, positions, reshape, transpose

Step = Callable[..., Sequence[Any]]


@lower("aten.cumsum", given={"operator": "CumSum"}, computes="Running sums along `dim`.")
@lower("aten.cumprod", given={"operator": "CumProd"}, computes="Running products along `dim`.")
def cumulated(op: Builder, self: Tensor, dim: int, dtype: DType | None = None, *, operator: str) -> Tensor:
    """Running sums or products along `dim`."""
    x = summable(op, self, dtype)
    return getattr(op, operator)(x, axis_of(dim, len(x.shape))) if x.shape else x


@lower("aten.trapezoid.dx", promote=FLOAT.of("y"), opmath=True)
def trapezoid(op: Builder, y: Tensor, dx: float = 1, dim: int = -1) -> Tensor:
    """The area under points at equal distances along `dim`: their sum without half of the first and the last, as torch
    computes it, to which ∞ is NaN."""
    axis = axis_of(dim, len(y.shape))
    first, last = cut(op, y, axis, 0, 1), cut(op, y, axis, -1, LAST)
    whole, halves = (op.ReduceSum(each, [axis], keepdims=0) for each in (y, op.Concat(first, last, axis=axis)))
    return (whole - halves * number(op, 0.5, y)) * number(op, dx, y)


@lower("aten.cumulative_trapezoid.dx", promote=FLOAT.of("y"), opmath=True)
def cumulative_trapezoid(op: Builder, y: Tensor, dx: float = 1, dim: int = -1) -> Tensor:
    """The area up to each point but the first."""
    return op.CumSum(_trapezoids(op, y, dim) * number(op, dx / 2, y), axis_of(dim, len(y.shape)))


def _trapezoids(op: Builder, y: Tensor, dim: int) -> Tensor:
    """Each point and the next one, added; none where there is no next one."""
    axis = axis_of(dim, len(y.shape))
    return cut(op, y, axis, 1, LAST) + cut(op, y, axis, 0, -1 if y.shape[axis] != 0 else 0)


def _in_front(x: Any, dim: int) -> list[int]:
    """The order of axes that puts `dim` first; it is put back by the same exchange."""
    axis, order = axis_of(dim, len(x.shape)), list(range(len(x.shape)))
    order[0], order[axis] = order[axis], order[0]
    return order


def scanned(op: Builder, x: Tensor, dim: int, start: Tensor, step: Callable[..., Any]) -> Tensor:
    """Running values: `step(op, value so far, element)` along `dim`, from `start`."""

    def body(inner: Builder, so_far: Tensor, element: Tensor) -> Sequence[Tensor]:
        value = step(inner, so_far, element)
        return value, inner.Identity(value)

    if 0 in x.shape:
        return x
    order = _in_front(x, dim)
    moved = transpose(op, x, order)
    first = op.Expand(start, moved.shape[1:])
    (values,) = _scan(op, [first], [moved], [op.Unsqueeze(first, [0])], body)
    return transpose(op, values, order)


def _scan(op: Builder, carried: Sequence[Tensor], rows: Sequence[Tensor], first: Sequence[Tensor], body: Step) -> Any:
    """What the body stacks. A Scan needs a row: where there may be none, those of `first` stand before them, elements
    that leave what they meet as it is."""
    if not may_be_zero(op, rows[0].shape[0]):
        return record_scan(op, carried, rows, body)[len(carried) :]
    longer = [op.Concat(one, others, axis=0) for one, others in zip(first, rows, strict=True)]
    stacked = record_scan(op, carried, longer, body)[len(carried) :]
    return [op.Slice(each, [1], [dtypes.INT64.highest], [0]) for each in stacked]


def doubled(op: Builder, x: Tensor, axis: int, start: Tensor, join: Callable[..., Any]) -> Tensor:
    """Running values of an associative `join(op, before, behind)` along `axis`, of which `start` changes nothing.

    In turns, each joins what reaches back to what lies before it, twice as far as in the turn before: as many
    roundings follow each other as the length has binary digits, and no element waits for the one before it. Hillis and
    Steele 1986, "Data parallel algorithms".
    """
    places, size = positions(op, x.shape[axis]), op.size(x.shape[axis])

    def turn(inner: Builder, iteration: Tensor, going: Tensor, reach: Tensor, so_far: Tensor) -> Sequence[Tensor]:
        sources = inner.use(places.value) - reach
        before = inner.Gather(so_far, inner.Max(sources, 0), axis=axis)
        is_there = reshape(inner, sources >= 0, (-1, *[1] * (len(x.shape) - axis - 1)))
        joined = join(inner, inner.Where(is_there, before, inner.use(start.value)), so_far)
        return [reach * 2 < inner.use(size.value), reach * 2, joined]

    first = op.constant(1, dtypes.INT64)
    return record_loop(op, [first, x], turn, condition=first < size)[1]


@lower("aten.logcumsumexp", promote=FLOAT.of("self"), opmath=True)
def logcumsumexp(op: Builder, self: Tensor, dim: int) -> Tensor:
    """log of the running sums of exp(x) along `dim`."""
    nothing = number(op, -math.inf, self)
    return doubled(op, self, axis_of(dim, len(self.shape)), nothing, _log_add_exp) if self.shape else self


def _log_add_exp(op: Any, a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)); of equal ones, infinite ones among them, a + log 2."""
    most, least = op.Max(a, b), op.Min(a, b)
    sum_of_unequal = most + op.Log(op.Exp(least - most) + number(op, 1, a))
    return op.Where(op.Equal(most, least), most + number(op, math.log(2), a), sum_of_unequal)


@lower("aten.cummax", given={"comparison": "GreaterOrEqual"})
@lower("aten.cummin", given={"comparison": "LessOrEqual"})
def running_extremum(op: Builder, self: Tensor, dim: int, comparison: str) -> tuple[Tensor, Tensor]:
    """Running greatest or least elements along `dim`, and where the last of each occurs; from the first NaN on, NaN.

    Bools are compared as integers.
    """
    if not self.shape or 0 in self.shape:
        return self, full(op, self.shape, 0, dtypes.INT64)
    x = cast(op, self, dtypes.INT32) if self.dtype is dtypes.BOOL else self
    order = _in_front(x, dim)
    moved = transpose(op, x, order)
    rest = moved.shape[1:]

    def body(inner: Builder, value: Tensor, place: Tensor, element: Tensor, here: Tensor) -> Sequence[Tensor]:
        better = getattr(inner, comparison)(element, value)
        if element.dtype.is_float:  # nothing compares with NaN, so that one stays until the next
            better = inner.Or(inner.IsNaN(element), better)
        value, place = inner.Where(better, element, value), inner.Where(better, here, place)
        return value, place, inner.Identity(value), inner.Identity(place)

    carried = [full(op, rest, _start(self.dtype, comparison), x.dtype), full(op, rest, 0, dtypes.INT64)]
    first = [op.Unsqueeze(each, [0]) for each in (carried[0], full(op, (), 0, dtypes.INT64))]
    values, places = _scan(op, carried, [moved, positions(op, moved.shape[0])], first, body)
    return cast(op, transpose(op, values, order), self.dtype), transpose(op, places, order)


def _start(dtype: DType, comparison: str) -> float:
    """What every element of a dtype is at least as great, or as small, as."""
    if comparison == "GreaterOrEqual":
        return -math.inf if dtype.is_float else dtype.lowest
    return math.inf if dtype.is_float else dtype.highest
