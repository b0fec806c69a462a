"""Matrix products: linear layers, every aten spelling of a product, einsum and distances.

A weight is never copied here: `Gemm` reads a linear layer's weight as it is stored, and the `Transpose` that `MatMul`
needs becomes a lazy view when constants are folded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from string import ascii_lowercase

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import product
from fxonnx.lowering.aten.math.contraction import Operand, contract, contract_all, parse_equation
from fxonnx.lowering.aten.math.vectors import norm_along
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axis_of, cast, dtype_of, number, reshape, swapped

_MATRIX_PRODUCT_ABOVE = 25  # rows; of more, torch computes Euclidean distances by a product (ATen/native/Distance.cpp)


@lower("aten.linear")
def linear(op: Builder, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: one Gemm for a matrix, MatMul over the last axis for any other rank.

    Of narrow floats with a bias one Gemm of all rows, too: it rounds once, as torch does.
    """
    is_matrix, dtype = len(weight.shape) == 2, dtype_of(input)
    if len(input.shape) == 2 and is_matrix and dtype.is_float:
        return op.Gemm(input, weight, bias, transB=1)
    if bias is not None and is_matrix and dtype.is_float and dtype.bits < 32:
        rows = reshape(op, input, (product(input.shape[:-1]), input.shape[-1]))
        return reshape(op, op.Gemm(rows, weight, bias, transB=1), (*input.shape[:-1], weight.shape[0]))
    result = input @ (op.Transpose(weight, perm=[1, 0]) if len(weight.shape) == 2 else weight)
    return result if bias is None else result + bias


@lower("aten.matmul")
@lower("aten.mm", "aten.bmm", rename={"mat2": "other"})
@lower("aten.mv", rename={"vec": "other"})
@lower("aten.dot", rename={"tensor": "other"})
def matmul(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The product of matrices, pairs of them, or vectors: rows on the left, columns on the right (numpy.matmul)."""
    return self @ other


@lower("aten.vdot", "aten.inner", promote=SAME)
def vdot(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The inner product over the last axis of both; of two real vectors their dot product."""
    if not self.shape or not other.shape:
        return self * other
    if len(other.shape) == 1:
        return self @ other
    axes = len(self.shape) - 1
    letters = _letters(axes + len(other.shape))
    left, right = letters[:axes], letters[axes:-1]
    return contract(op, Operand(self, left + letters[-1]), Operand(other, right + letters[-1]), left + right).tensor


@lower("aten.linalg_vecdot", opmath=True)
def linalg_vecdot(op: Builder, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """sum(x * y) along `dim`, the other axes broadcast."""
    rank = max(len(x.shape), len(y.shape))
    return op.ReduceSum(x * y, [axis_of(dim, rank)], keepdims=0)


@lower("aten.outer", "aten.ger", promote=SAME.of("self", "vec2"))
def outer(op: Builder, self: Tensor, vec2: Tensor) -> Tensor:
    """Every product of an element of one vector and one of the other."""
    return op.Unsqueeze(self, [1]) * vec2


# ── β·self + α·product ───────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.addmm")
def addmm(op: Builder, self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β·self + α·(mat1 mat2); Gemm where it is one."""
    if not dtype_of(mat1).is_float:
        return _scaled_sum(op, self, mat1 @ mat2, beta, alpha)
    addend = None if beta == 0 else self
    return op.Gemm(mat1, mat2, addend, alpha=None if alpha == 1 else alpha, beta=None if beta in (0, 1) else beta)


@lower("aten.baddbmm", rename={"batch1": "mat1", "batch2": "mat2"}, opmath=True)
@lower("aten.addmv", rename={"mat": "mat1", "vec": "mat2"}, computes="β·self + α·(mat vec).", opmath=True)
def baddbmm(op: Builder, self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β·self + α·(mat1 mat2), pair by pair."""
    return _scaled_sum(op, self, mat1 @ mat2, beta, alpha)


@lower("aten.addbmm", opmath=True)
def addbmm(op: Builder, self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β·self + α·Σ (batch1 batch2) over the pairs."""
    return _scaled_sum(op, self, op.ReduceSum(batch1 @ batch2, [0], keepdims=0), beta, alpha)


@lower("aten.addr", promote=SAME.of("self", "vec1", "vec2"), opmath=True)
def addr(op: Builder, self: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β·self + α·(vec1 ⊗ vec2)."""
    return _scaled_sum(op, self, outer(op, vec1, vec2), beta, alpha)


def _scaled_sum(op: Builder, addend: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """β·addend + α·product. With β = 0 the addend is not read, so that its NaNs do not spread, as torch documents."""
    scaled = product if alpha == 1 else product * number(op, alpha, product)
    if beta == 0:
        return scaled
    return (addend if beta == 1 else addend * number(op, beta, addend)) + scaled


# ── einsum and its relatives ─────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.einsum")
def einsum(op: Builder, equation: str, tensors: Sequence[Tensor], *, path: Sequence[int] | None = None) -> Tensor:
    """Sums of products as the equation says: MatMul for every pair, in the order of `path`, else from the left."""
    terms, result = parse_equation(equation, [len(tensor.shape) for tensor in tensors])
    return contract_all(op, [Operand(tensor, term) for tensor, term in zip(tensors, terms, strict=True)], result, path)


@lower("aten._trilinear", ignore={"unroll_dim"})
def trilinear(
    op: Builder, i1: Tensor, i2: Tensor, i3: Tensor, expand1: Sequence[int], expand2: Sequence[int],
    expand3: Sequence[int], sumdim: Sequence[int],
) -> Tensor:  # fmt: skip
    """Products of three tensors over common axes, of which each lacks its `expand`, summed over those of `sumdim`."""
    letters = ascii_lowercase[: len(i1.shape) + len(expand1)]

    def without(axes: Sequence[int]) -> str:
        return "".join(letter for axis, letter in enumerate(letters) if axis not in axes)

    given = zip((i1, i2, i3), (expand1, expand2, expand3), strict=True)
    return contract_all(op, [Operand(each, without(expanded)) for each, expanded in given], without(sumdim))


@lower("aten.tensordot")
def tensordot(op: Builder, self: Tensor, other: Tensor, dims_self: Sequence[int], dims_other: Sequence[int]) -> Tensor:
    """Contract the named axes of one tensor with those of the other, pair by pair."""
    left = list(_letters(len(self.shape)))
    right = [letter.upper() for letter in _letters(len(other.shape))]
    for mine, others in zip(dims_self, dims_other, strict=True):
        right[axis_of(others, len(right))] = left[axis_of(mine, len(left))]
    result = [letter for letter in left if letter not in right] + [letter for letter in right if letter not in left]
    product = contract_all(op, [Operand(self, "".join(left)), Operand(other, "".join(right))], "".join(result))
    return cast(op, product, dtype_of(self))  # where einsum sums integers in int64


@lower("aten.bilinear", opmath=True)
def bilinear(op: Builder, input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1ᵀ W_k x2 + b_k for every k, over the last axes."""
    leading = _letters(len(input1.shape) - 1)
    first = contract(op, Operand(input1, leading + "X"), Operand(weight, "KXY"), leading + "KY")
    result = contract(op, first, Operand(input2, leading + "Y"), leading + "K").tensor
    return result if bias is None else result + bias


@lower("aten.chain_matmul")
def chain_matmul(op: Builder, matrices: Sequence[Tensor]) -> Tensor:
    """The product of all matrices, from the left."""
    return reduce(op.MatMul, matrices)


@lower("aten.linalg_multi_dot")
def linalg_multi_dot(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """The product of all matrices, from the end that costs less; the first and the last may be vectors."""
    first, *_, last = (tensor.shape for tensor in tensors)
    from_left = (first[0] if len(first) == 2 else 1) * sum(product(tensor.shape) for tensor in tensors[1:])
    from_right = (last[1] if len(last) == 2 else 1) * sum(product(tensor.shape) for tensor in tensors[:-1])
    if isinstance(from_left, int) and isinstance(from_right, int) and from_right < from_left:
        return reduce(lambda right, left: left @ right, reversed(tensors))
    return reduce(op.MatMul, tensors)


def _letters(count: int) -> str:
    if count > 20:
        raise Unsupported(f"a product over {count} axes")
    return "abcdefghijklmnopqrst"[:count]


# ── distances ────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.cdist", "aten._cdist_forward", opmath=True)
def cdist(op: Builder, x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """The p-norm distance of every row of `x1` to every row of `x2`."""
    if p == 2 and compute_mode != 2 and (compute_mode == 1 or _many_rows(x1) or _many_rows(x2)):
        return _euclidean_by_product(op, x1, x2)
    difference = op.Unsqueeze(x1, [-2]) - op.Unsqueeze(x2, [-3])
    if p == math.inf:
        greatest = op.ReduceMax(op.Abs(difference), [-1], keepdims=0)  # not norm_along's, which puts NaN back
        return op.Where(op.IsNaN(greatest), number(op, 0, greatest), greatest)  # torch takes no difference for it
    return norm_along(op, difference, p, [-1], keepdim=False)


def _many_rows(x: Tensor) -> bool:
    rows = x.shape[-2]
    return isinstance(rows, int) and rows > _MATRIX_PRODUCT_ABOVE


def _euclidean_by_product(op: Builder, x1: Tensor, x2: Tensor) -> Tensor:
    """√max(|a|² + |b|² - 2ab, 0), as torch computes it for many rows."""
    columns = swapped(op, x2)
    norms = op.ReduceSumSquare(x1, [-1]) + op.ReduceSumSquare(columns, [-2])
    return op.Sqrt(op.Relu(norms - x1 @ columns * 2.0))
