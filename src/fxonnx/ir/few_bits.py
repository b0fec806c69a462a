"""Weights in integers of few bits, with a scale for each block of rows, each row or each column.

All is lazy: what is written is quantized while it is written, a few rows at a time. Steps are symmetric: the largest
number of a block is the largest integer, and 0 stays 0. Source: Jacob et al. 2018.
"""

from __future__ import annotations

import numpy as np

from fxonnx.dtypes import FLOAT32, INT4, UINT8, DType
from fxonnx.ir.data import Data, View, only_row


def by_blocks(source: Data, dtype: DType, block: int) -> tuple[View, View]:
    """A matrix [rows, columns] as integers, and scales [rows / block, columns]; blocks divide the rows."""
    rows, columns = source.shape

    def blocks(start: int, stop: int) -> np.ndarray:
        part = source.part(start * block, stop * block).astype(np.float32, copy=False)
        return np.reshape(part, (-1, block, columns))

    def scales(start: int, stop: int) -> np.ndarray:
        return _steps(blocks(start, stop), 1, dtype)

    def integers(start: int, stop: int) -> np.ndarray:
        first, last = start // block, -(-stop // block)
        values = blocks(first, last)
        found = _rounded(values, _steps(values, 1, dtype)[:, None], dtype).reshape(-1, columns)
        return found[start - first * block : stop - first * block]

    how = ("blocks", dtype, block)
    scale = View(source, (*how, "scales"), FLOAT32, (rows // block, columns), scales, ".scale")
    return View(source, how, dtype, (rows, columns), integers, f".{dtype.short}"), scale


def by_columns(source: Data, dtype: DType) -> tuple[View, View]:
    """A matrix as integers, and a scale for each column."""
    integers, scale = by_blocks(source, dtype, source.shape[0])
    return integers, only_row(scale)


def by_rows(source: Data, dtype: DType) -> tuple[View, View]:
    """A table as integers, and a scale for each row; a row may have several axes."""

    def values(start: int, stop: int) -> np.ndarray:
        return source.part(start, stop).astype(np.float32, copy=False).reshape(stop - start, -1)

    def scales(start: int, stop: int) -> np.ndarray:
        return _steps(values(start, stop), 1, dtype)

    def integers(start: int, stop: int) -> np.ndarray:
        found = values(start, stop)
        return _rounded(found, _steps(found, 1, dtype)[:, None], dtype).reshape(stop - start, *source.shape[1:])

    scale = View(source, ("each row", dtype, "scales"), FLOAT32, source.shape[:1], scales, ".scale")
    return View(source, ("each row", dtype), dtype, tuple(source.shape), integers, f".{dtype.short}"), scale


def packed_rows(source: Data, block: int) -> tuple[View, View]:
    """A table [rows, size] in unsigned integers of four bits with 8 for 0, two to a byte [rows, size / 2], the first of
    them in its lower half; and a scale for each block of a row [rows, size / block]. Blocks divide the rows.

    Source: ONNX Runtime, docs/ContribOperators.md, GatherBlockQuantized and MatMulNBits."""
    rows, size = source.shape

    def blocks(start: int, stop: int) -> np.ndarray:
        part = source.part(start, stop).astype(np.float32, copy=False)
        return np.reshape(part, (stop - start, size // block, block))

    def scales(start: int, stop: int) -> np.ndarray:
        return _steps(blocks(start, stop), 2, INT4)

    def integers(start: int, stop: int) -> np.ndarray:
        values = blocks(start, stop)
        steps = np.rint(values / _steps(values, 2, INT4)[..., None])
        found = (np.clip(steps, INT4.lowest, INT4.highest) + 8).astype(np.uint8).reshape(stop - start, size)
        packed: np.ndarray = found[:, 0::2] | (found[:, 1::2] << 4)
        return packed

    how = ("packed rows", block)
    scale = View(source, (*how, "scales"), FLOAT32, (rows, size // block), scales, ".scale")
    return View(source, how, UINT8, (rows, size // 2), integers, f".{INT4.short}"), scale


def _steps(values: np.ndarray, axis: int, dtype: DType) -> np.ndarray:
    """The scales of values along an axis; 1 for zeros alone."""
    largest = np.abs(values).max(axis)
    return np.where(largest == 0, 1, largest / dtype.highest).astype(np.float32)


def _rounded(values: np.ndarray, scales: np.ndarray, dtype: DType) -> np.ndarray:
    steps = np.clip(np.rint(values / scales), dtype.lowest, dtype.highest).astype(np.int8)
    found: np.ndarray = steps.astype(dtype.numpy)
    return found
