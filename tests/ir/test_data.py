"""Lazy contents: what they hold, and that they are one when their sources are."""

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.data import ArrayData, first_half, scaled


def test_a_scaled_weight_is_rounded_once():
    weight = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    factor = np.array([[1 / 3], [3.0]])
    product = scaled(ArrayData(weight), factor)
    assert (product.dtype, product.shape) == (dtypes.FLOAT32, (2, 2))
    np.testing.assert_array_equal(product.array(), (weight.astype(np.float64) * factor).astype(np.float32))
    assert product.buffer().flags.c_contiguous


def test_half_of_a_table():
    table = np.arange(24, dtype=np.float16).reshape(2, 1, 3, 4)
    half = first_half(ArrayData(table))
    assert (half.dtype, half.shape) == (dtypes.FLOAT16, (2, 3, 2))
    np.testing.assert_array_equal(half.array(), table[:, 0, :, :2])
    assert half.buffer().flags.c_contiguous


def test_equal_sources_make_equal_contents():
    source, other = ArrayData(np.zeros((1, 1, 256, 8), np.float32)), ArrayData(np.zeros((1, 1, 256, 8), np.float32))
    assert first_half(source).identity == first_half(source).identity != first_half(other).identity
    one, two = np.array(1.0), np.array(2.0)
    assert scaled(source, one).identity == scaled(source, one).identity != scaled(source, two).identity
