"""Signal transforms and triangular masks in older operators."""

from __future__ import annotations

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.ir.graph import constant_ints, known_dims
from fxonnx.passes.legalize.expansions.indexing import counted
from fxonnx.passes.legalize.registry import NoExpansion, expands


@expands("Trilu")
def trilu(op: Builder, x: Tensor, k: Tensor | None, *, upper: int) -> Tensor:
    """x where the column is on the wanted side of the k-th diagonal, zero elsewhere."""
    rows, columns = x.shape[-2:]
    row = op.Unsqueeze(op.Range(np.array(0), op.size(rows), np.array(1)), [1])
    column = op.Unsqueeze(op.Range(np.array(0), op.size(columns), np.array(1)), [0])
    diagonal = row if k is None else row + k
    keep = op.GreaterOrEqual(column, diagonal) if upper else op.LessOrEqual(column, diagonal)
    return op.And(x, keep) if x.dtype is dtypes.BOOL else op.Where(keep, x, op.constant(0, x.dtype))


@expands("DFT", opmath=True)
def dft(op: Builder, x: Tensor, length: Tensor | None, axis: Tensor | None, *, inverse: int, onesided: int) -> Tensor:
    """A product with the matrix of the roots of unity: sums of x · e^(∓2πijk/n), the inverse ones divided by n.

    Signals are cut or taken for zero behind their end. Half a spectrum (`onesided` and `inverse`) stands for a whole
    one whose other half is its conjugate: all but the first and, of an even count, the last of it count twice.
    """
    along, given = (constant_ints(axis.value) if axis else (-2,)), known_dims(length.value) if length else ()
    if along is None or given is None:
        raise NoExpansion("DFT of a length or along an axis that comes from data")
    is_half = bool(inverse and onesided)
    order = [index for index in range(x.rank) if index not in (along[0] % x.rank, x.rank - 1)]
    order += [along[0] % x.rank, x.rank - 1]
    points = op.Transpose(x, perm=order)
    n = given[0] if given else (points.shape[-2] - 1) * 2 if is_half else points.shape[-2]
    if points.shape[-2] != n and not is_half:
        points = op.Slice(points, [0], [n], [-2])
    rows, columns = points.shape[-2], floor_divide(n, 2) + 1 if onesided and not inverse else n
    cosine, sine = _roots_of_unity(op, rows, columns, n, x.dtype)
    parts = _parts(op, points)
    if is_half:
        parts = [part * _times(op, rows, n, x.dtype) for part in parts]
    result = _product(op, parts, cosine, sine if inverse else op.Neg(sine), is_real=is_half)
    if inverse:
        result = result / op.Cast(op.size(n), to=x.dtype)
    return op.Transpose(result, perm=sorted(range(x.rank), key=order.__getitem__))


@expands("STFT", opmath=True)
def stft(
    op: Builder, signal: Tensor, frame_step: Tensor, window: Tensor | None, frame_length: Tensor | None, *,
    onesided: int,
) -> Tensor:  # fmt: skip
    """The transform of each frame times the window: one begins every `frame_step` samples."""
    step, given = constant_ints(frame_step.value), constant_ints(frame_length.value) if frame_length else ()
    if step is None or given is None:
        raise NoExpansion("STFT of frames whose length or distance comes from data")
    length = given[0] if given else window.shape[0] if window is not None else signal.shape[1]
    count = floor_divide(signal.shape[1] - length, step[0]) + 1
    place = op.Unsqueeze(counted(op, count) * step[0], [1]) + counted(op, length)
    points = signal if signal.rank == 3 else op.Unsqueeze(signal, [2])
    frames = op.Gather(points, place, axis=1)
    frames = frames if window is None else frames * op.Unsqueeze(window, [1])
    return dft(op, frames, None, op.constant(2), inverse=0, onesided=onesided)


def _parts(op: Builder, x: Tensor) -> list[Tensor]:
    """The real part and, where there is one, the imaginary."""
    count = x.shape[-1]
    return [op.Gather(x, np.array(part), axis=-1) for part in range(count if isinstance(count, int) else 2)]


def _product(op: Builder, parts: list[Tensor], cosine: Tensor, sine: Tensor, *, is_real: bool) -> Tensor:
    """(re + i·im) · (cosine + i·sine), the parts in a new last axis."""
    real = op.MatMul(parts[0], cosine)
    imaginary = None if is_real else op.MatMul(parts[0], sine)
    if len(parts) > 1:
        real = real - op.MatMul(parts[1], sine)
        imaginary = None if imaginary is None else imaginary + op.MatMul(parts[1], cosine)
    columns = [op.Unsqueeze(part, [-1]) for part in (real, imaginary) if part is not None]
    return columns[0] if len(columns) == 1 else op.Concat(*columns, axis=-1)


def _roots_of_unity(op: Builder, rows: Dim, columns: Dim, n: Dim, dtype: DType) -> tuple[Tensor, Tensor]:
    """cos and sin of 2πjk/n. Whole turns are left out while the numbers are integers: what is left is exact."""
    if isinstance(rows, int) and isinstance(columns, int) and isinstance(n, int):
        turns = np.outer(np.arange(rows), np.arange(columns)) % max(n, 1) / max(n, 1)
        return op.constant(np.cos(2 * np.pi * turns), dtype), op.constant(np.sin(2 * np.pi * turns), dtype)
    products = op.Unsqueeze(counted(op, rows), [1]) * op.Unsqueeze(counted(op, columns), [0])
    turns = op.Cast(products % op.size(n), to=dtype) / op.Cast(op.size(n), to=dtype)
    return op.Cos(turns * (2 * np.pi)), op.Sin(turns * (2 * np.pi))


def _times(op: Builder, rows: Dim, n: Dim, dtype: DType) -> Tensor:
    """How often each point of half a spectrum counts."""
    place = counted(op, rows)
    once = op.Or(op.Equal(place, 0), op.Equal(place * 2, op.size(n)))
    return op.Cast(op.Where(once, 1, op.constant(2)), to=dtype)
