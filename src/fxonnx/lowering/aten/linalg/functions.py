"""Functions of square matrices: powers and the exponential."""

from __future__ import annotations

import math
from functools import reduce

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.lu import inverse
from fxonnx.lowering.aten.linalg.matrix import Matrix, identity, lower_matrices, repeat, where
from fxonnx.lowering.vocabulary import cast, number

_DEGREE, _WITHIN = 18, 1.0901  # of the Taylor polynomial, and the norms for which float64 cannot tell it from exp
_MOST_SQUARINGS = 1100  # more lead from any number of float64 to infinity


@lower_matrices("aten.matrix_power", "aten.linalg_matrix_power", rename={"self": "A"}, of=["A"])
def matrix_power(op: Builder, A: Matrix, n: int) -> Matrix:
    """The product of `n` times the same matrix, by repeated squaring."""
    if n < 0:
        return matrix_power(op, inverse(op, A), -n)
    if n == 0:
        return identity(op, A, *A.shape[-2:])
    if n == 1:
        return A
    half = matrix_power(op, A, n // 2)
    square = half @ half
    return square @ A if n % 2 else square


@lower_matrices("aten.linalg_matrix_exp", rename={"self": "A"}, of=["A"])
def matrix_exp(op: Builder, A: Matrix) -> Matrix:
    """exp(A) by scaling and squaring: the Taylor polynomial of A / 2ˢ, squared s times, s for each matrix its own.

    Bader, Blanes & Casas, Computing the Matrix Exponential with an Optimized Taylor Polynomial Approximation, 2019.
    """
    if 0 in A.shape[-2:]:
        return A
    norms = op.ReduceMax(op.ReduceSum(abs(A), [-2]), [-1])
    wanted = op.Ceil(op.Log(norms / number(op, _WITHIN, norms)) / number(op, math.log(2), norms))
    squarings = op.Min(op.Max(wanted, number(op, 0, norms)), number(op, _MOST_SQUARINGS, norms))
    scale = op.Exp(-squarings * number(op, math.log(2), norms))

    def step(op: Builder, k: Tensor, X: Matrix, left: Tensor) -> tuple[Tensor, Matrix, Tensor]:
        zero, one = number(op, 0, left), number(op, 1, left)
        X, left = where(op, left > zero, X @ X, X), left - one
        going = op.ReduceSum(cast(op, left > zero, dtypes.INT64), keepdims=0)
        return going > op.constant(0), X, left

    X, _ = repeat(op, _MOST_SQUARINGS, [_taylor(op, A * scale), squarings], step)
    return X


def _taylor(op: Builder, A: Matrix) -> Matrix:
    """Σ Aᵏ / k!, in powers of A³ (Paterson & Stockmeyer)."""
    square = A @ A
    cube, one = square @ A, identity(op, A, *A.shape[-2:])
    blocks = [
        reduce(
            Matrix.__add__,
            (power * number(op, 1 / math.factorial(low + k), A.real) for k, power in terms if low + k <= _DEGREE),
        )
        for low in range(0, _DEGREE + 1, 3)
        for terms in [list(enumerate((one, A, square)))]
    ]
    return reduce(lambda so_far, block: so_far @ cube + block, reversed(blocks))
