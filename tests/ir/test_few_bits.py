"""Weights in few bits: the nearest steps, a few rows at a time."""

import numpy as np
import pytest

from fxonnx.dtypes import INT4, INT8, UINT8
from fxonnx.ir.data import ArrayData, byte_size
from fxonnx.ir.few_bits import by_blocks, by_columns, by_rows, packed_rows

WEIGHT = np.random.default_rng(0).standard_normal((64, 6)).astype(np.float32)
WEIGHT[:16, 2] = 0.0


@pytest.mark.parametrize("dtype", [INT4, INT8], ids=str)
@pytest.mark.parametrize("block", [16, 64])
def test_blocks(dtype, block):
    integers, scales = by_blocks(ArrayData(WEIGHT), dtype, block)
    found = integers.array().astype(np.float32) * scales.array().repeat(block, 0)
    assert (np.abs(found - WEIGHT) <= scales.array().repeat(block, 0) / 2 + 1e-6).all()
    assert (integers.shape, scales.shape) == ((64, 6), (64 // block, 6))
    assert byte_size(integers) == 64 * 6 * dtype.bits // 8


def test_rows_are_made_by_themselves():
    integers, scales = by_blocks(ArrayData(WEIGHT), INT8, 16)
    np.testing.assert_array_equal(integers.part(5, 37), integers.array()[5:37])
    np.testing.assert_array_equal(scales.part(1, 3), scales.array()[1:3])


def test_a_scale_for_each_column_or_row():
    integers, scales = by_columns(ArrayData(WEIGHT), INT8)
    assert np.abs(integers.array() * scales.array() - WEIGHT).max() <= scales.array().max() / 2 + 1e-6
    integers, scales = by_rows(ArrayData(WEIGHT), INT8)
    assert np.abs(integers.array() * scales.array()[:, None] - WEIGHT).max() <= scales.array().max() / 2 + 1e-6


def test_rows_of_two_elements_a_byte():
    """Those that the transposed matrix has in blocks, 8 higher."""
    table = np.random.default_rng(1).standard_normal((7, 64)).astype(np.float32)
    packed, scales = packed_rows(ArrayData(table), 16)
    assert (packed.shape, packed.dtype, scales.shape) == ((7, 32), UINT8, (7, 4))
    integers, others = by_blocks(ArrayData(np.ascontiguousarray(table.T)), INT4, 16)
    bytes_ = packed.array()
    unpacked = np.stack([bytes_ & 15, bytes_ >> 4], 2).reshape(7, 64).astype(np.int8) - 8
    np.testing.assert_array_equal(unpacked, integers.array().T.astype(np.int8))
    np.testing.assert_array_equal(scales.array(), others.array().T)
    np.testing.assert_array_equal(packed.part(2, 5), bytes_[2:5])
