"""Matrices of real or complex numbers, and loops over their columns: what every algorithm of this room is written with.

A lowering declared by `lower_matrices` sees its matrices as `Matrix`, real or complex, in float64, and its results are
rounded once to the dtype they came in: one body serves every dtype, and float32 results are as exact as float32 says.
A step of an algorithm runs for every column of every matrix of a batch at once: rows and columns that it leaves alone
are kept by masks, so that sizes may be known as late as when the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.ir.dims import Dim, Shape
from fxonnx.ir.infer import broadcast
from fxonnx.lowering.promote import Promotion
from fxonnx.lowering.registry import COMPLEX, Body, lower
from fxonnx.lowering.vocabulary import cast, constant, dtype_of, expand, full, number, positions, swapped

_UNROLLED = 3  # columns; of more, a step is the body of a Loop


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A tensor of real matrices (one part) or of complex ones (a real and an imaginary part of one shape), the last two
    axes their rows and columns. `given` is the real dtype that they came in."""

    parts: tuple[Tensor, ...]
    given: DType = dtypes.FLOAT64

    @property
    def op(self) -> Builder:
        """What records the parts."""
        return self.parts[0].builder  # type: ignore[return-value]

    @property
    def shape(self) -> Shape:
        """Batch, rows, columns."""
        return self.parts[0].shape

    @property
    def real(self) -> Tensor:
        """The real part."""
        return self.parts[0]

    @property
    def is_complex(self) -> bool:
        """Whether there is an imaginary part."""
        return len(self.parts) == 2

    def each(self, function: Callable[[Tensor], Tensor]) -> Matrix:
        """What a function makes of each part: one that moves elements, or scales them."""
        return replace(self, parts=tuple(map(function, self.parts)))

    def whole(self) -> Matrix:
        """The same with an imaginary part."""
        if self.is_complex:
            return self
        return replace(self, parts=(self.real, full(self.op, self.shape, 0, dtype_of(self.real))))

    @property
    def conj(self) -> Matrix:
        """The complex conjugates."""
        return replace(self, parts=(self.real, -self.parts[1])) if self.is_complex else self

    @property
    def T(self) -> Matrix:  # noqa: N802
        """Rows and columns exchanged."""
        return self.each(lambda part: swapped(self.op, part))

    @property
    def H(self) -> Matrix:  # noqa: N802
        """Rows and columns exchanged, conjugated."""
        return self.T.conj

    def squares(self) -> Tensor:
        """|x|² of every element."""
        squares = [part * part for part in self.parts]
        return squares[0] + squares[1] if self.is_complex else squares[0]

    def __abs__(self) -> Tensor:
        return self.op.Sqrt(self.squares()) if self.is_complex else self.op.Abs(self.real)

    def __neg__(self) -> Matrix:
        return self.each(lambda part: -part)

    def __add__(self, other: Matrix) -> Matrix:
        ours, theirs = alike(self, other)
        return replace(self, parts=tuple(a + b for a, b in zip(ours.parts, theirs.parts, strict=True)))

    def __sub__(self, other: Matrix) -> Matrix:
        ours, theirs = alike(self, other)
        return replace(self, parts=tuple(a - b for a, b in zip(ours.parts, theirs.parts, strict=True)))

    def __mul__(self, other: Matrix | Tensor) -> Matrix:
        return self._product(other if isinstance(other, Matrix) else Matrix((other,)), lambda a, b: a * b)

    def __matmul__(self, other: Matrix) -> Matrix:
        return self._product(other, lambda a, b: a @ b)

    def __truediv__(self, other: Matrix | Tensor) -> Matrix:
        if isinstance(other, Matrix) and other.is_complex:
            larger = self.op.Max(*(self.op.Abs(part) for part in other.parts))
            small = other.each(lambda part: part / larger)
            return (self * small.conj).each(lambda part: part / small.squares() / larger)
        divisor = other.real if isinstance(other, Matrix) else other
        return self.each(lambda part: part / divisor)

    def _product(self, other: Matrix, times: Callable[[Tensor, Tensor], Tensor]) -> Matrix:
        if not other.is_complex:
            return self.each(lambda part: times(part, other.real))
        if not self.is_complex:
            return replace(other.each(lambda part: times(self.real, part)), given=self.given)
        (a, b), (c, d) = self.parts, other.parts
        return replace(self, parts=(times(a, c) - times(b, d), times(a, d) + times(b, c)))


Item: TypeAlias = "Matrix | Tensor"


def alike(left: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
    """Both complex where one is."""
    return (left.whole(), right.whole()) if left.is_complex or right.is_complex else (left, right)


def where(op: Builder, condition: Tensor, chosen: Matrix, otherwise: Matrix | float) -> Matrix:
    """`chosen` where the condition holds, else the other, which may be a real number."""
    if not isinstance(otherwise, Matrix):
        other = number(op, otherwise, chosen.real)
        rest = (other, number(op, 0, chosen.real))
        return replace(
            chosen, parts=tuple(op.Where(condition, *pair) for pair in zip(chosen.parts, rest, strict=False))
        )
    left, right = alike(chosen, otherwise)
    return replace(left, parts=tuple(op.Where(condition, a, b) for a, b in zip(left.parts, right.parts, strict=True)))


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def row_numbers(op: Builder, x: Item) -> Tensor:
    """0, 1, … as a column, which broadcasts over the columns of a matrix."""
    return op.Unsqueeze(positions(op, x.shape[-2]), [1])


def column_numbers(op: Builder, x: Item) -> Tensor:
    """0, 1, … as a row."""
    return positions(op, x.shape[-1])


def row(op: Builder, x: Matrix, k: Tensor) -> Matrix:
    """Row `k` (int64[1]) of every matrix."""
    return x.each(lambda part: op.Gather(part, k, axis=-2))


def column(op: Builder, x: Matrix, k: Tensor) -> Matrix:
    """Column `k` (int64[1]) of every matrix; or several, in the order of `k` (int64[n])."""
    return x.each(lambda part: op.Gather(part, k, axis=-1))


def swapped_rows(op: Builder, x: Item, order: Tensor) -> Any:
    """The rows in an `order` (a column of int64) of each matrix's own."""
    index = expand(op, order, (*x.shape[:-1], x.shape[-1]))
    if isinstance(x, Matrix):
        return x.each(lambda part: op.GatherElements(part, index, axis=-2))
    return op.GatherElements(x, index, axis=-2)


def swapped_columns(op: Builder, x: Matrix, order: Tensor) -> Matrix:
    """The columns in an `order` (a row of int64) of each matrix's own."""
    index = expand(op, order, x.shape)
    return x.each(lambda part: op.GatherElements(part, index, axis=-1))


def first(op: Builder, x: Matrix, count: Dim, axis: int) -> Matrix:
    """The first rows (axis -2) or columns (axis -1)."""
    return x if x.shape[axis] == count else x.each(lambda part: op.Slice(part, [0], [count], [axis]))


def triangle(op: Builder, x: Matrix, upper: bool, diagonal: int = 0) -> Matrix:
    """The elements on one side of a diagonal, 0 elsewhere."""
    return x.each(lambda part: op.Trilu(part, diagonal, upper=int(upper)))


def identity(op: Builder, like: Matrix, rows: Dim, columns: Dim) -> Matrix:
    """Matrices with ones on the diagonal, in the batch of others, as real or complex as they are."""
    on_diagonal = op.Equal(op.Unsqueeze(positions(op, rows), [1]), positions(op, columns))
    ones = expand(op, cast(op, on_diagonal, dtype_of(like.real)), (*like.shape[:-2], rows, columns))
    one = Matrix((ones,), like.given)
    return one.whole() if like.is_complex else one


def diagonal(op: Builder, x: Matrix) -> Matrix:
    """The diagonal of square matrices as a row."""
    on_diagonal = op.Equal(row_numbers(op, x), column_numbers(op, x))
    return where(op, on_diagonal, x, 0).each(lambda part: op.ReduceSum(part, [-2], keepdims=1))


def same_batch(op: Builder, left: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
    """Both with the batch that theirs broadcast to, and both complex where one is."""
    batch = broadcast(left.shape[:-2], right.shape[:-2])
    both = (x.each(lambda part: expand(op, part, (*batch, *part.shape[-2:]))) for x in alike(left, right))
    return next(both), next(both)


def zeros(op: Builder, batch: Sequence[Dim], rows: Dim, columns: Dim) -> Tensor:
    """int64 matrices of 0."""
    return full(op, (*batch, rows, columns), 0, dtypes.INT64)


# ── loops ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def for_each(
    op: Builder, count: Dim, carried: Sequence[Any], step: Callable[..., Sequence[Any]], reads: Sequence[Any] = ()
) -> Sequence[Any]:
    """`carried` after `step(op, k, *carried, *reads)` for k = 0, 1, … count - 1 (int64[1]): a Loop, or, of few columns,
    the steps themselves."""
    if isinstance(count, int) and count <= _UNROLLED:
        for k in range(count):
            carried = step(op, constant(op, np.array([k], np.int64)), *carried, *reads)
        return carried

    def body(inner: Builder, iteration: Tensor, going: Tensor, *flat: Tensor) -> Sequence[Tensor]:
        known = [_within(inner, item) for item in reads]
        after = step(inner, inner.Reshape(iteration, [1]), *_packed(flat, carried), *known)
        return [inner.Identity(going), *_flat(after)]

    return _packed(record_loop(op, _flat(carried), body, trips=op.size(count)), carried)


def repeat(
    op: Builder, limit: Dim, carried: Sequence[Any], step: Callable[..., Sequence[Any]], reads: Sequence[Any] = ()
) -> Sequence[Any]:
    """`carried` after `step(op, k, *carried, *reads)`, which returns whether to go on (a scalar bool) before the new
    ones, at most `limit` times."""

    def body(inner: Builder, iteration: Tensor, going: Tensor, *flat: Tensor) -> Sequence[Tensor]:
        known = [_within(inner, item) for item in reads]
        going, *after = step(inner, inner.Reshape(iteration, [1]), *_packed(flat, carried), *known)
        return [going, *_flat(after)]

    started = op.constant(True)
    return _packed(record_loop(op, _flat(carried), body, trips=op.size(limit), condition=started), carried)


def _flat(items: Sequence[Any]) -> list[Tensor]:
    return [part for item in items for part in (item.parts if isinstance(item, Matrix) else [item])]


def _packed(flat: Sequence[Tensor], like: Sequence[Any]) -> list[Any]:
    """Flat tensors as items of the kinds of others."""
    left = iter(flat)
    return [item.each(lambda _: next(left)) if isinstance(item, Matrix) else next(left) for item in like]


def _within(inner: Builder, item: Any) -> Any:
    return item.each(lambda part: part.within(inner)) if isinstance(item, Matrix) else item.within(inner)


# ── in and out ───────────────────────────────────────────────────────────────────────────────────────────────────────


def lower_matrices(
    *targets: str,
    of: Sequence[str],
    ignore: Collection[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Callable[[Body], Body]:
    """Register a body on matrices for real tensors and for complex ones; its arguments named in `of` come as `Matrix`.

    A `Matrix` that it returns is complex where torch's result is, a tensor is real; what is in float64 goes back to the
    dtype of the first argument.
    """
    declared: dict[str, Any] = {"ignore": ignore, "rename": rename}

    def register(body: Body) -> Body:
        lower(*targets, **declared)(_on_matrices(body, of, is_complex=False))
        lower(*targets, **declared, when=COMPLEX, promote=Promotion(tuple(of)))(_on_matrices(body, of, is_complex=True))
        return body

    return register


def _on_matrices(body: Body, names: Sequence[str], is_complex: bool) -> Body:
    @wraps(body)
    def lowered(op: Builder, **bound: Any) -> Any:
        dtype = dtype_of(bound[names[0]])
        matrices = {name: as_matrix(op, bound[name], is_complex) for name in names if bound.get(name) is not None}
        results = body(op, **(bound | matrices))
        several = isinstance(results, tuple)
        rounded = tuple(_rounded(op, item, dtype, is_complex) for item in (results if several else (results,)))
        return rounded if several else rounded[0]

    return lowered


def as_matrix(op: Builder, x: Tensor, is_complex: bool) -> Matrix:
    """A tensor in float64; a complex one has its parts along a last axis, which is 1 long where it is real after
    all."""
    wide = cast(op, x, dtypes.FLOAT64) if x.dtype.is_float else x
    if not is_complex:
        return Matrix((wide,), x.dtype)
    count = 1 if x.shape[-1] == 1 else 2
    return Matrix(tuple(op.Gather(wide, index, axis=-1) for index in range(count)), x.dtype)


def _rounded(op: Builder, item: Any, dtype: DType, is_complex: bool) -> Any:
    if not isinstance(item, Matrix):
        return cast(op, item, dtype) if isinstance(item, Tensor) and item.dtype is dtypes.FLOAT64 else item
    if not is_complex:
        return cast(op, item.real, dtype)
    parts = [op.Unsqueeze(cast(op, part, dtype), [-1]) for part in item.whole().parts]
    return op.Concat(*parts, axis=-1)
