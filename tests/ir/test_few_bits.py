"""Weights in few bits: the nearest steps, a few rows at a time."""

import numpy as np
import pytest

from fxonnx.dtypes import INT4, INT8
from fxonnx.ir.data import ArrayData, byte_size
from fxonnx.ir.few_bits import by_blocks, by_columns, by_rows

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
