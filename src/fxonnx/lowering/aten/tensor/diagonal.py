"""Diagonals: read, made and written.

A diagonal is an even slice of the flat matrix; a matrix with a diagonal is a choice by where row and column agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, maximum, minimum
from fxonnx.lowering.aten.tensor.shape import movedim
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, number, positions, reshape


def _length(rows: Dim, columns: Dim, offset: int) -> Dim:
    """How many elements the diagonal has that starts `offset` columns to the right (rows down when negative)."""
    return maximum(minimum(rows + min(offset, 0), columns - max(offset, 0)), 0)


@lower("aten.diagonal", "aten.diagonal_copy")
def diagonal(op: Builder, self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices in axes `dim1` and `dim2`, as a new last axis."""
    x = movedim(op, self, [dim1, dim2], [-2, -1])
    *batch, rows, columns = x.shape
    length = _length(rows, columns, offset)
    start = max(offset, 0) + max(-offset, 0) * columns
    end = start + length * (columns + 1)
    bounds = ([bound] for bound in (start, end, len(batch), columns + 1))
    return op.Slice(reshape(op, x, (*batch, rows * columns)), *bounds)


@lower("aten.linalg_diagonal")
def linalg_diagonal(op: Builder, A: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """As `diagonal`, of the last two axes."""
    return diagonal(op, A, offset, dim1, dim2)


def _on_diagonal(op: Any, rows: Dim, columns: Dim, offset: int) -> Any:
    """bool[rows, columns], true where column = row + offset."""
    row = op.Unsqueeze(positions(op, rows), [1])
    shifted = op.Add(row, [offset]) if offset else row
    return op.Equal(shifted, positions(op, columns))


def _along_diagonal(op: Any, values: Any, offset: int, rows: Dim, columns: Dim) -> Any:
    """Vectors so padded and turned that element i of the diagonal broadcasts over its row (its column for a negative
    offset).
    """
    size = rows if offset >= 0 else columns
    missing = size - values.shape[-1]
    if missing != 0:
        values = op.Pad(values, [*[0] * (2 * len(values.shape) - 1), missing])
    return op.Unsqueeze(values, [-1 if offset >= 0 else -2])


@lower("aten.diag_embed")
def diag_embed(op: Builder, self: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices in axes `dim1` and `dim2` with the last axis on their diagonal, zero elsewhere."""
    size = self.shape[-1] + abs(offset)
    values = _along_diagonal(op, self, offset, size, size)
    matrices = op.Where(_on_diagonal(op, size, size, offset), values, number(op, 0, self))
    return movedim(op, matrices, [-2, -1], [dim1, dim2])


@lower("aten.diag", rename={"diagonal": "offset"})
def diag(op: Builder, self: Tensor, offset: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal."""
    return diag_embed(op, self, offset) if len(self.shape) == 1 else diagonal(op, self, offset)


@lower("aten.diagflat")
def diagflat(op: Builder, self: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements on its diagonal."""
    return diag_embed(op, op.Reshape(self, [-1]), offset)


@lower("aten.diagonal_scatter")
def diagonal_scatter(op: Builder, self: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """`self` with the diagonal of the matrices in axes `dim1` and `dim2` replaced."""
    x = movedim(op, self, [dim1, dim2], [-2, -1])
    rows, columns = x.shape[-2:]
    values = _along_diagonal(op, cast(op, src, dtype_of(self)), offset, rows, columns)
    return movedim(op, op.Where(_on_diagonal(op, rows, columns, offset), values, x), [-2, -1], [dim1, dim2])


@lower("aten.block_diag", promote=SAME.of("tensors"))
def block_diag(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """Matrices along the diagonal of one, zero elsewhere; scalars and vectors are rows."""
    blocks = [x if len(x.shape) == 2 else reshape(op, x, (1, x.shape[0] if x.shape else 1)) for x in tensors]
    before: Dim = 0
    after: Dim = sum(block.shape[1] for block in blocks)
    rows = []
    for block in blocks:
        after = after - block.shape[1]
        rows.append(op.Pad(block, [0, before, 0, after]))
        before = before + block.shape[1]
    return rows[0] if len(rows) == 1 else op.Concat(*rows, axis=0)
