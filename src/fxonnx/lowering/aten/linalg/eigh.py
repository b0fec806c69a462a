"""Eigenvalues and eigenvectors of symmetric and Hermitian matrices, by Jacobi's rotations.

An eigenvector is determined but for a factor of length 1, those of one eigenvalue but for a rotation: torch documents
that they differ from machine to machine, and ours are others than LAPACK's.
"""

from __future__ import annotations

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.jacobi import diagonalize
from fxonnx.lowering.aten.linalg.matrix import Matrix, diagonal, lower_matrices, swapped_columns, triangle


def decompose(op: Builder, A: Matrix, UPLO: str = "L", vectors: bool = True) -> tuple[Tensor, Matrix]:
    """(ascending eigenvalues, eigenvectors) of matrices of which one triangle is read."""
    if A.shape[-1] == 0:
        return op.Squeeze(diagonal(op, A).real, [-2]), A
    below = triangle(op, A.H if UPLO.upper() == "U" else A, upper=False, diagonal=-1)
    on_diagonal = triangle(op, triangle(op, Matrix((A.real,)), upper=False), upper=True)
    values, V = diagonalize(op, below + below.H + on_diagonal, vectors)
    ascending, order = op.TopK(values, [A.shape[-1]], axis=-1, largest=0)
    return op.Squeeze(ascending, [-2]), swapped_columns(op, V, order)


@lower_matrices("aten._linalg_eigh", of=["A"])
def eigh(op: Builder, A: Matrix, UPLO: str = "L", compute_v: bool = True) -> tuple[Tensor, Matrix]:
    """(ascending eigenvalues, eigenvectors as columns) of Hermitian matrices."""
    values, V = decompose(op, A, UPLO, compute_v)
    return values, V if compute_v else V.each(lambda part: op.Reshape(part, [0]))
