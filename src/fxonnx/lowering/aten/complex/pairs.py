"""Complex arithmetic on pairs: a complex tensor is a real one with a last axis of 2, its real and imaginary part.

An operand declared to be promoted may be real beside a complex one; it then has a last axis of 1 (`as_pair`), which
broadcasts. Ops that only move elements are in `complex_shape`.

Source: Abramowitz & Stegun, Handbook of Mathematical Functions, §3.7 and §4.1-4.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.ir.infer import broadcast
from fxonnx.lowering.aten.math.reduction import mean, sum_
from fxonnx.lowering.aten.math.special import atan2
from fxonnx.lowering.aten.tensor import creation, indexing, shape
from fxonnx.lowering.complex_shape import whole
from fxonnx.lowering.promote import SAME, as_pair
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import axes_of, cast, expand, full, reshape

_SELF = SAME.of("self")
Axes: TypeAlias = "int | Sequence[int] | None"
_FAR = 500  # the power of 2 whose square, and that of twice as much, float64 holds
_COMPLEX_OF = {dtypes.to_real(dtype): dtype for dtype in (dtypes.COMPLEX32, dtypes.COMPLEX64, dtypes.COMPLEX128)}


def is_real(x: Tensor) -> bool:
    """Whether a promoted operand is real: the last axis has 1 element."""
    return bool(x.shape[-1] == 1)


def parts(op: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each with a last axis of 1."""
    real, imaginary = op.Split(x, axis=-1, num_outputs=2)
    return real, imaginary


def pair(op: Builder, real: Tensor, imaginary: Tensor) -> Tensor:
    """The complex tensor of two parts of one shape, each with a last axis of 1."""
    return op.Concat(real, imaginary, axis=-1)


def product(op: Builder, left: Tensor, right: Tensor) -> Tensor:
    """left · right: left times right's real part, and i · left times its imaginary part."""
    if is_real(left) or is_real(right):
        return left * right
    if left.value.is_constant:  # what is done to a constant is done before running
        left, right = right, left
    real, imaginary = parts(op, right)
    turned = op.Gather(left, [1, 0], axis=-1)
    return left * real + turned * (imaginary * [-1, 1])


def squared_length(op: Builder, x: Tensor) -> Tensor:
    """a² + b², with a last axis of 1."""
    return op.ReduceSumSquare(x, [-1], keepdims=1)


def length(op: Builder, x: Tensor) -> Tensor:
    """√(a² + b²), with a last axis of 1, of which no square leaves the range: those of float32 are taken in float64,
    those of float64 near its ends of parts times a power of 2."""
    if x.dtype is not dtypes.FLOAT64:
        return cast(op, op.ReduceL2(cast(op, x, dtypes.FLOAT64), [-1], keepdims=1), x.dtype)
    larger = op.ReduceMax(op.Abs(x), [-1], keepdims=1)
    down, up = (op.constant(2.0**power, x.dtype) for power in (-_FAR, _FAR))
    one = op.constant(1.0, x.dtype)
    scale = op.Where(larger > up, down, op.Where(larger < down, up, one))
    return op.ReduceL2(x * scale, [-1], keepdims=1) / scale


def scaled(op: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """x over its larger part, whose squares stay in range, and that part, with a last axis of 1."""
    larger = op.ReduceMax(op.Abs(x), [-1], keepdims=1)
    return x / larger, larger


def is_zero(op: Builder, x: Tensor) -> Tensor:
    """Whether both parts are 0, with a last axis of 1."""
    return op.Equal(op.ReduceMax(op.Abs(x), [-1], keepdims=1), 0)


def phase(op: Builder, x: Tensor) -> Tensor:
    """The angle from the positive real axis, in (-π, π], with a last axis of 1."""
    real, imaginary = parts(op, x)
    return atan2(op, imaginary, real)


def direction(op: Builder, angle: Tensor) -> Tensor:
    """exp(i · angle), for an angle with a last axis of 1."""
    return pair(op, op.Cos(angle), op.Sin(angle))


# ── in and out ──


@lower("aten.view_as_real", "aten.view_as_real_copy", "aten.view_as_complex", "aten.view_as_complex_copy", when=COMPLEX)
@lower("aten.resolve_conj", when=COMPLEX)
def same(op: Builder, self: Tensor) -> Tensor:
    """The pairs, seen one way or the other."""
    return self


@lower("aten.real", given={"index": 0}, when=COMPLEX, computes="The real part.")
@lower("aten.imag", given={"index": 1}, when=COMPLEX, computes="The imaginary part.")
def part(op: Builder, self: Tensor, index: int) -> Tensor:
    """One part as a real tensor, without the last axis."""
    return op.Gather(self, index, axis=-1)


@lower("aten.complex", when=COMPLEX, promote=SAME.of("real", "imag"))
def complex_(op: Builder, real: Tensor, imag: Tensor) -> Tensor:
    """The complex tensor of two real ones, which broadcast."""
    shape = broadcast(real.shape, imag.shape)
    return pair(op, expand(op, real, shape), expand(op, imag, shape))


@lower("aten.polar", when=COMPLEX, promote=SAME.of("abs", "angle"))
def polar(op: Builder, abs: Tensor, angle: Tensor) -> Tensor:
    """abs · exp(i · angle)."""
    return abs * direction(op, angle)


@lower("aten.abs", when=COMPLEX)
def abs_(op: Builder, self: Tensor) -> Tensor:
    """The distance from 0."""
    return op.Squeeze(length(op, self), [-1])


@lower("aten.angle", when=COMPLEX)
def angle(op: Builder, self: Tensor) -> Tensor:
    """The angle from the positive real axis, in (-π, π]."""
    return op.Squeeze(phase(op, self), [-1])


@lower("aten.conj", "aten._conj", "aten.conj_physical", "aten._conj_physical", "aten._conj_copy", when=COMPLEX)
def conjugate(op: Builder, self: Tensor) -> Tensor:
    """The mirror image at the real axis: (a, b) becomes (a, -b)."""
    return self * [1, -1]


@lower("aten.view.dtype", "aten.view_copy.dtype", layout=True, when=COMPLEX)
def view_dtype(op: Builder, self: Tensor, dtype: DType, layout: Any = None) -> Tensor:
    """The same bits read as another dtype, or another's as complex numbers: parts lie beside each other in memory."""
    strides, _ = layout
    is_complex = len(self.shape) > len(strides)
    if is_complex and dtypes.to_real(dtype) is self.dtype and dtype.is_complex:
        return self
    parts = reshape(op, self, (*self.shape[:-2], self.shape[-2] * 2)) if is_complex else self
    parts = shape.view_dtype(op, parts, dtypes.to_real(dtype))
    if not dtype.is_complex:
        return parts
    return reshape(op, parts, (*parts.shape[:-1], floor_divide(parts.shape[-1], 2), 2))


@lower("aten.flatten.using_ints", when=COMPLEX)
def flatten(op: Builder, self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one; a scalar becomes a vector of one element."""
    rank = len(self.shape) - 1
    if rank == 0:
        return op.Unsqueeze(self, [0])
    start, end = axes_of([start_dim, end_dim], rank)
    return shape.flatten(op, self, start, end)


@lower("aten._neg_view", "aten._neg_view_copy", when=COMPLEX)
def neg_view(op: Builder, self: Tensor) -> Tensor:
    """-x."""
    return -self


@lower("aten.to", "aten._to_copy", promote=_SELF, when=COMPLEX)
def to(op: Builder, self: Tensor, dtype: DType | None = None) -> Tensor:
    """Another dtype: to a complex one the parts, to a real one the real part, to bool whether any part is not 0."""
    if dtype is None:
        return self
    if dtype.is_complex:
        return cast(op, whole(op, self), dtypes.to_real(dtype))
    if dtype is dtypes.BOOL:
        return op.Not(_all(op, op.Equal(self, 0)))
    return cast(op, part(op, self, 0), dtype)


# ── arithmetic ──


@lower("aten.add", promote=SAME, given={"operator": "Add"}, when=COMPLEX, computes="self + alpha · other.")
@lower("aten.sub", promote=SAME, given={"operator": "Sub"}, when=COMPLEX, computes="self - alpha · other.")
@lower("aten.rsub", promote=SAME, given={"operator": "Sub"}, rename={"self": "other", "other": "self"}, when=COMPLEX)
def add(op: Builder, self: Tensor, other: Tensor, alpha: Any = 1, *, operator: str) -> Tensor:
    """self + alpha · other, or self - alpha · other."""
    if complex(alpha) != 1:
        other = product(op, other, as_pair(op, alpha, other.dtype))
    if is_real(self) != is_real(other):
        self, other = whole(op, self), whole(op, other)
    return whole(op, getattr(op, operator)(self, other))


@lower("aten.mul", promote=SAME, when=COMPLEX)
def mul(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """self · other."""
    return whole(op, product(op, self, other))


@lower("aten.div", promote=SAME, when=COMPLEX)
def div(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """self / other."""
    if is_real(other):
        return whole(op, self / other)
    small, larger = scaled(op, other)
    quotient = product(op, self, conjugate(op, small)) / squared_length(op, small)
    return quotient / larger


@lower("aten.reciprocal", when=COMPLEX)
def inverse(op: Builder, self: Tensor) -> Tensor:
    """1 / self; (inf, NaN) for 0, as torch says."""
    small, larger = scaled(op, self)
    found = conjugate(op, small) / (squared_length(op, small) * larger)
    return op.Where(op.Equal(larger, 0), op.constant([math.inf, math.nan], self.dtype), found)


@lower("aten.square", when=COMPLEX)
def square(op: Builder, self: Tensor) -> Tensor:
    """self²."""
    return product(op, self, self)


@lower("aten.sgn", when=COMPLEX)
def sgn(op: Builder, self: Tensor) -> Tensor:
    """self / |self|, and 0 for 0."""
    distance = length(op, self)
    return op.Where(op.Equal(distance, 0), op.constant([0.0], self.dtype), self / distance)


@lower("aten.sum", promote=_SELF, given={"operator": "ReduceSum"}, when=COMPLEX)
@lower("aten.mean", promote=_SELF, given={"operator": "ReduceMean"}, when=COMPLEX)
def reduced(
    op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None, *, operator: str
) -> Tensor:
    """Σx, or Σx / n; in a real dtype of the real parts."""
    x = to(op, whole(op, self), dtype)
    if dtype is not None and not dtype.is_complex:
        return mean(op, x, dim, keepdim) if operator == "ReduceMean" else sum_(op, x, dim, keepdim, dtype)
    if len(x.shape) == 1:
        return x
    axes = axes_of(dim, len(x.shape) - 1)
    if operator == "ReduceMean" and axes:
        return mean(op, x, axes, keepdim)
    return getattr(op, operator)(x, axes, keepdims=int(keepdim)) if axes else x


# ── products of matrices ──


@lower("aten.matmul", promote=SAME, when=COMPLEX)
@lower("aten.mm", "aten.bmm", rename={"mat2": "other"}, when=COMPLEX)
@lower("aten.mv", rename={"vec": "other"}, when=COMPLEX)
@lower("aten.dot", rename={"tensor": "other"}, when=COMPLEX)
def matmul(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The product of matrices or vectors, of every combination of ranks: (ac - bd, ad + bc)."""
    left, right = whole(op, self), whole(op, other)
    a, b = part(op, left, 0), part(op, left, 1)
    c, d = part(op, right, 0), part(op, right, 1)
    real = a @ c - b @ d
    imaginary = a @ d + b @ c
    return pair(op, *(op.Unsqueeze(item, [-1]) for item in (real, imaginary)))


@lower("aten.linalg_multi_dot", promote=SAME.of("tensors"), when=COMPLEX)
def multi_dot(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """The product of all matrices; the first and the last may be vectors."""
    return reduce(partial(matmul, op), tensors)


@lower("aten.vdot", "aten.linalg_vecdot", when=COMPLEX)
def vdot(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The sum of products with the conjugates of `self`."""
    return matmul(op, conjugate(op, self), other)


@lower("aten.addmm", promote=SAME.of("self"), when=COMPLEX)
@lower("aten.baddbmm", promote=SAME.of("self"), rename={"batch1": "mat1", "batch2": "mat2"}, when=COMPLEX)
def addmm(op: Builder, self: Tensor, mat1: Tensor, mat2: Tensor, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · self + alpha · mat1 @ mat2."""
    scaled = product(op, whole(op, self), as_pair(op, beta, self.dtype))
    return add(op, scaled, matmul(op, mat1, mat2), alpha, operator="Add")


@lower("aten.addbmm", promote=SAME.of("self"), when=COMPLEX)
def addbmm(op: Builder, self: Tensor, batch1: Tensor, batch2: Tensor, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta · self + alpha · Σ batch1 @ batch2 over the pairs."""
    scaled = product(op, whole(op, self), as_pair(op, beta, self.dtype))
    summed = op.ReduceSum(matmul(op, batch1, batch2), [0], keepdims=0)
    return add(op, scaled, summed, alpha, operator="Add")


@lower("aten.expand_as", promote=SAME, when=COMPLEX)
def expand_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """As large as another tensor, complex or not, whichever is the complex one."""
    if is_real(self):
        return expand(op, part(op, self, 0), other.shape[:-1])
    return expand(op, self, (*other.shape[:-1], 2))


@lower("aten.view_as", "aten.reshape_as", promote=SAME, when=COMPLEX)
def view_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The elements under the shape of another tensor, complex or not, whichever is the complex one."""
    if is_real(self):
        return reshape(op, part(op, self, 0), other.shape[:-1])
    return reshape(op, self, (*other.shape[:-1], 2))


@lower("aten.t", "aten.t_copy", "aten.mT", when=COMPLEX)
def matrix_transpose(op: Builder, self: Tensor) -> Tensor:
    """The last two axes exchanged; a scalar or vector as it is."""
    rank = len(self.shape) - 1
    return self if rank < 2 else op.Transpose(self, perm=[*range(rank - 2), rank - 1, rank - 2, rank])


@lower("aten.adjoint", "aten.mH", "aten.matrix_H", when=COMPLEX)
def adjoint(op: Builder, self: Tensor) -> Tensor:
    """The last two axes exchanged, conjugated."""
    return conjugate(op, matrix_transpose(op, self))


# ── creation ──


def _filled(op: Builder, dims: Sequence[Dim], value: Any, dtype: DType) -> Tensor:
    """A tensor of shape `dims`, complex or not."""
    if not dtype.is_complex:
        return full(op, dims, value, dtype)
    number = op.constant([complex(value).real, complex(value).imag], dtypes.to_real(dtype))
    return op.Expand(number, [*dims, 2])


@lower("aten.full.default", when=COMPLEX)
@lower("aten.ones", given={"fill_value": 1}, when=COMPLEX)
@lower("aten.scalar_tensor", rename={"s": "fill_value"}, given={"size": ()}, when=COMPLEX)
def full_of(op: Builder, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """A tensor of one value."""
    return _filled(op, size, fill_value, dtype or dtypes.COMPLEX64)


@lower("aten.full_like", promote=_SELF, when=COMPLEX)
@lower("aten.ones_like", promote=_SELF, given={"fill_value": 1}, when=COMPLEX)
@lower("aten.zeros_like", "aten.empty_like", promote=_SELF, given={"fill_value": 0}, when=COMPLEX)
def full_like(op: Builder, self: Tensor, fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value in the shape of another tensor, and in its dtype unless one is given."""
    return _filled(op, self.shape[:-1], fill_value, dtype or _COMPLEX_OF[self.dtype])


@lower("aten.new_full", promote=_SELF, when=COMPLEX)
@lower("aten.new_ones", promote=_SELF, given={"fill_value": 1}, when=COMPLEX)
@lower(
    "aten.new_zeros", "aten.new_empty", "aten.new_empty_strided", promote=_SELF, given={"fill_value": 0},
    ignore={"stride"}, when=COMPLEX,
)  # fmt: skip
def new_full(op: Builder, self: Tensor, size: Sequence[Dim], fill_value: Any, dtype: DType | None = None) -> Tensor:
    """One value, in another tensor's dtype unless one is given."""
    return _filled(op, size, fill_value, dtype or _COMPLEX_OF[self.dtype])


@lower("aten.linspace", promote=SAME.of("start", "end"), runtime={"start", "end"}, when=COMPLEX)
def linspace(op: Builder, start: Tensor, end: Tensor, steps: Dim, dtype: DType | None = None) -> Tensor:
    """`steps` numbers from start to end, both included: each part is evenly spaced."""
    first, last = whole(op, start), whole(op, end)
    spaced = (creation.evenly(op, part(op, first, at), part(op, last, at), steps, start.dtype) for at in (0, 1))
    return cast(op, pair(op, *(op.Unsqueeze(each, [-1]) for each in spaced)), start.dtype)


# ── comparison ──


def _all(op: Builder, condition: Tensor) -> Tensor:
    """Whether it holds for both parts."""
    if is_real(condition):
        return part(op, condition, 0)
    return op.And(part(op, condition, 0), part(op, condition, 1))


def _any(op: Builder, condition: Tensor) -> Tensor:
    return op.Or(part(op, condition, 0), part(op, condition, 1))


@lower("aten.eq", promote=SAME, when=COMPLEX)
def eq(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Whether both parts are equal."""
    return _all(op, op.Equal(whole(op, self), whole(op, other)))


@lower("aten.ne", promote=SAME, when=COMPLEX)
def ne(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Whether a part differs."""
    return op.Not(eq(op, self, other))


@lower("aten.logical_not", when=COMPLEX)
def logical_not(op: Builder, self: Tensor) -> Tensor:
    """Whether both parts are 0."""
    return _all(op, op.Equal(self, 0))


@lower("aten.logical_and", promote=SAME, given={"operator": "And"}, when=COMPLEX, computes="Whether both are not 0.")
@lower("aten.logical_or", promote=SAME, given={"operator": "Or"}, when=COMPLEX, computes="Whether either is not 0.")
@lower("aten.logical_xor", promote=SAME, given={"operator": "Xor"}, when=COMPLEX, computes="Whether just one is not 0.")
def logical(op: Builder, self: Tensor, other: Tensor, operator: str) -> Tensor:
    """Whether both, either or just one is not 0."""
    left, right = (op.Not(logical_not(op, whole(op, x))) for x in (self, other))
    return getattr(op, operator)(left, right)


@lower("aten.nonzero", "aten.argwhere", when=COMPLEX)
def nonzero(op: Builder, self: Tensor) -> Tensor:
    """The positions of elements of which a part is not 0, a row each."""
    return indexing.nonzero(op, op.Not(logical_not(op, self)))


@lower("aten.nonzero_static", when=COMPLEX)
def nonzero_static(op: Builder, self: Tensor, size: Dim, fill_value: int = -1) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`."""
    return indexing.nonzero_static(op, op.Not(logical_not(op, self)), size, fill_value)


@lower("aten.nonzero_numpy", when=COMPLEX)
def nonzero_numpy(op: Builder, self: Tensor) -> list[Tensor]:
    """The positions of elements of which a part is not 0, a vector per axis."""
    return indexing.nonzero_numpy(op, op.Not(logical_not(op, self)))


@lower("aten.isreal", when=COMPLEX)
def isreal(op: Builder, self: Tensor) -> Tensor:
    """Whether the imaginary part is 0."""
    return op.Equal(part(op, self, 1), 0)


@lower("aten.isnan", given={"operator": "IsNaN"}, when=COMPLEX)
@lower("aten.isinf", given={"operator": "IsInf"}, when=COMPLEX)
def has_part(op: Builder, self: Tensor, operator: str) -> Tensor:
    """Whether a part is NaN, or infinite."""
    return _any(op, getattr(op, operator)(self))


@lower("aten.isfinite", when=COMPLEX)
def isfinite(op: Builder, self: Tensor) -> Tensor:
    """Whether both parts are finite."""
    return op.Not(_any(op, op.Or(op.IsInf(self), op.IsNaN(self))))
