"""Singular values and vectors by one-sided Jacobi rotations, and what they say: pseudo-inverses, norms, least squares.

Singular vectors are determined but for a common factor of length 1, as torch documents: ours are others than LAPACK's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, maximum, minimum
from fxonnx.lowering.aten.linalg.eigh import decompose as eigh
from fxonnx.lowering.aten.linalg.jacobi import orthogonalize
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    diagonal,
    first,
    identity,
    lower_matrices,
    swapped_columns,
)
from fxonnx.lowering.aten.linalg.qr import apply, reflect
from fxonnx.lowering.vocabulary import cast, full, number


def decompose(op: Builder, A: Matrix, full_matrices: bool = False) -> tuple[Matrix, Tensor, Matrix]:
    """(U, descending singular values as a row, Vᴴ) with A = U diag(S) Vᴴ.

    U is what Householder's reflections make of the orthogonal columns A V: a basis of all of the space, however many of
    them are 0.
    """
    if _is_wide(A):
        V, values, Uh = decompose(op, A.H, full_matrices)
        return Uh.H, values, V.H
    rows, columns = A.shape[-2:]
    if columns == 0:
        U = identity(op, A, rows, rows if full_matrices else 0)
        return U, full(op, (*A.shape[:-2], 1, 0), 0.0, dtypes.FLOAT64), identity(op, A, 0, 0)
    count = minimum(rows, columns)
    W, V = orthogonalize(op, A, vectors=True)
    values, order = _lengths(op, W, count)
    packed, tau = reflect(op, swapped_columns(op, W, order))
    U = apply(op, packed, tau, identity(op, A, rows, rows if full_matrices else count))
    signs = diagonal(op, first(op, first(op, packed, count, -2), count, -1)).real
    V = first(op, swapped_columns(op, V, order), columns if full_matrices else count, -1)
    return _signed(op, U, signs), values, V.H


def singular_values(op: Builder, A: Matrix) -> Tensor:
    """Descending singular values as a row."""
    if _is_wide(A):
        return singular_values(op, A.H)
    if A.shape[-1] == 0:
        return full(op, (*A.shape[:-2], 1, 0), 0.0, dtypes.FLOAT64)
    return _lengths(op, orthogonalize(op, A, vectors=False)[0], minimum(*A.shape[-2:]))[0]


def _is_wide(A: Matrix) -> bool:
    """Whether there are more columns than rows; of sizes that nobody knows yet the algorithm takes either: what columns
    there are too many of become 0."""
    rows, columns = A.shape[-2:]
    return isinstance(rows, int) and isinstance(columns, int) and rows < columns


def _lengths(op: Builder, W: Matrix, count: Dim) -> tuple[Tensor, Tensor]:
    """(the lengths of the `count` longest columns, descending, the order of all)."""
    lengths = op.Sqrt(op.ReduceSum(W.squares(), [-2], keepdims=1))
    values, order = op.TopK(lengths, [W.shape[-1]], axis=-1)
    return values if count == W.shape[-1] else op.Slice(values, [0], [count], [-1]), order


def _signed(op: Builder, U: Matrix, signs: Tensor) -> Matrix:
    """Columns turned around where R's diagonal is below 0; those behind it stay."""
    one = number(op, 1, signs)
    turns = op.Where(signs < number(op, 0, signs), -one, one)
    missing = U.shape[-1] - signs.shape[-1]
    if missing != 0:
        turns = op.Pad(turns, [0, missing], one, [-1])
    return U * turns


@lower_matrices("aten._linalg_svd", ignore={"driver"}, of=["A"])
def svd(op: Builder, A: Matrix, full_matrices: bool = False, compute_uv: bool = True) -> tuple[Matrix, Tensor, Matrix]:
    """U, S, Vᴴ with A = U diag(S) Vᴴ: the columns that belong to singular values, or all of them."""
    if not compute_uv:
        nothing = Matrix((full(op, (0,), 0.0, dtypes.FLOAT64),))
        return nothing, op.Squeeze(singular_values(op, A), [-2]), nothing
    U, values, Vh = decompose(op, A, full_matrices)
    return U, op.Squeeze(values, [-2]), Vh


# ── pseudo-inverses ──────────────────────────────────────────────────────────────────────────────────────────────────


@lower_matrices("aten.linalg_pinv.atol_rtol_tensor", rename={"self": "A"}, of=["A"])
def pinv(
    op: Builder, A: Matrix, *, atol: Tensor | None = None, rtol: Tensor | None = None, hermitian: bool = False
) -> Matrix:
    """V diag(1/S) Uᴴ of the singular values, or the eigenvalues of Hermitian matrices, above max(atol, rtol · S₁)."""
    if 0 in A.shape[-2:]:
        return A.H
    if hermitian:
        eigenvalues, V = eigh(op, A)
        values, U = op.Unsqueeze(eigenvalues, [-2]), V
    else:
        U, values, Vh = decompose(op, A)
        V = Vh.H
    sizes = op.Abs(values)
    kept = sizes > tolerance(op, A, op.ReduceMax(sizes, [-1]), atol, rtol)
    inverted = op.Where(
        kept, number(op, 1, values) / op.Where(kept, values, number(op, 1, values)), number(op, 0, values)
    )
    return (V * inverted) @ U.H


def tolerance(op: Builder, A: Matrix, largest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """max(atol, rtol · S₁); without any `rtol` is max(m, n) times the dtype's epsilon, beside `atol` above 0 it is 0
    (torch.linalg.pinv)."""
    usual = _size(op, maximum(*A.shape[-2:]), largest) * number(op, float(np.finfo(A.given.numpy).eps), largest)
    absolute = None if atol is None else _beside(op, atol)
    if rtol is not None:
        relative = _beside(op, rtol)
    elif absolute is not None:
        relative = op.Where(absolute > number(op, 0, absolute), number(op, 0, absolute), usual)
    else:
        relative = usual
    return relative * largest if absolute is None else op.Max(absolute, relative * largest)


def _beside(op: Builder, x: Any) -> Tensor:
    """A number or a number for each matrix, in float64, with axes for rows and columns."""
    if not isinstance(x, Tensor):
        return op.constant(x, dtypes.FLOAT64)
    return op.Unsqueeze(cast(op, x, dtypes.FLOAT64), [-2, -1])


def _size(op: Builder, size: Dim, like: Tensor) -> Tensor:
    if isinstance(size, Expr):
        return cast(op, op.size(size), dtypes.FLOAT64)
    return number(op, size, like)


# ── least squares ────────────────────────────────────────────────────────────────────────────────────────────────────


@lower_matrices("aten.linalg_lstsq", rename={"self": "A", "b": "B"}, of=["A", "B"])
def lstsq(
    op: Builder, A: Matrix, B: Matrix, rcond: float | None = None, *, driver: str | None = None
) -> tuple[Matrix, Tensor, Tensor, Tensor]:
    """(the X of least length with |A X - B| least, |A X - B|² of columns, the rank, the singular values); what the
    driver does not tell is empty. Of singular values those above rcond · S₁ count, for gels, of full rank, all."""
    is_vector = len(B.shape) == 1 or (len(B.shape) == len(A.shape) - 1 and B.shape == A.shape[:-1])
    right = B.each(lambda part: op.Unsqueeze(part, [-1])) if is_vector else B
    U, values, Vh = decompose(op, A)
    kept = values > number(op, 0, values)
    if driver != "gels" and 0 not in A.shape[-2:]:
        kept = values > tolerance(op, A, op.ReduceMax(values, [-1]), None, rcond)
    one = number(op, 1, values)
    inverted = op.Where(kept, one / op.Where(kept, values, one), number(op, 0, values))
    X = (Vh.H * inverted) @ (U.H @ right)
    residuals = op.ReduceSum((A @ X - right).squares(), [-2], keepdims=0)
    solution = X.each(lambda part: op.Squeeze(part, [-1])) if is_vector else X
    return solution, *_told(op, driver, A, residuals, kept, values)


def _told(
    op: Builder, driver: str | None, A: Matrix, residuals: Tensor, kept: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What LAPACK's drivers tell beside the solution."""
    rows, columns = A.shape[-2:]
    is_tall = isinstance(rows, int) and isinstance(columns, int) and rows > columns
    nothing = full(op, (0,), 0.0, dtypes.FLOAT64)
    rank = op.ReduceSum(cast(op, kept, dtypes.INT64), [-2, -1], keepdims=0)
    if is_tall and driver in ("gelsd", "gelss"):
        is_full = cast(op, op.Equal(op.ReduceMin(rank, keepdims=1), op.size(columns)), dtypes.INT64)
        residuals = op.Slice(residuals, [0], op.Reshape(is_full, [1]) * op.sizes(residuals.shape[:1]), [0])
    return (
        residuals if driver in ("gels", "gelsd", "gelss") and is_tall else nothing,
        full(op, (0,), 0, dtypes.INT64) if driver == "gels" else rank,
        op.Squeeze(values, [-2]) if driver in ("gelsd", "gelss") else nothing,
    )
