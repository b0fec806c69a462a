"""Lazy contents: what they hold, and that they are one when their sources are."""

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.data import ArrayData, first_half


def test_half_of_a_table():
    table = np.arange(24, dtype=np.float16).reshape(2, 1, 3, 4)
    half = first_half(ArrayData(table))
    assert (half.dtype, half.shape) == (dtypes.FLOAT16, (2, 3, 2))
    np.testing.assert_array_equal(half.array(), table[:, 0, :, :2])
    assert half.buffer().flags.c_contiguous


def test_equal_sources_make_equal_contents():
    source, other = ArrayData(np.zeros((1, 1, 256, 8), np.float32)), ArrayData(np.zeros((1, 1, 256, 8), np.float32))
    assert first_half(source).identity == first_half(source).identity != first_half(other).identity
