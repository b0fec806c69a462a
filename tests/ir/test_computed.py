"""Weights computed of others: in float64, rounded once, any rows of them alike."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, conv2d, linear

from fxonnx import dtypes
from fxonnx.ir.computed import Kernel, added, met_by, multiplied, rounded, scaled
from fxonnx.ir.data import ArrayData

RANDOM = np.random.default_rng(0)


def weight(*shape: int) -> ArrayData:
    """Random float32."""
    return ArrayData(RANDOM.standard_normal(shape).astype(np.float32))


def test_a_scaled_weight_is_rounded_once():
    source, factor = weight(2, 2), np.array([[1 / 3], [3.0]])
    product = scaled(source, factor)
    assert (product.dtype, product.shape) == (dtypes.FLOAT32, (2, 2))
    np.testing.assert_array_equal(product.array(), (source.content.astype(np.float64) * factor).astype(np.float32))
    assert product.buffer().flags.c_contiguous


def test_what_is_computed_of_the_computed_is_rounded_once():
    source, third = weight(64, 64), np.full((1, 1), 1 / 3)
    wide = source.content.astype(np.float64)
    once = added(scaled(source, third), scaled(source, third * 2)).array()
    np.testing.assert_array_equal(once, (wide / 3 + wide * (2 / 3)).astype(np.float32))


def test_equal_sources_make_equal_contents():
    one, two, other = weight(64, 32), weight(64, 32), np.array(2.0)
    assert scaled(one, other).identity == scaled(one, other).identity != scaled(one, other + 1).identity
    assert added(one, two).identity == added(one, two).identity != added(one, one).identity


def test_any_rows_are_those_of_the_whole():
    kernel = Kernel(weight(6, 2, 3), 2, (range(-1, 2),)).plus(Kernel(weight(6, 1, 1), 4, (range(1),)))
    made = [
        scaled(weight(6, 2), np.ones(1)), multiplied(weight(6, 4), weight(4, 3), (6, 3)), kernel.weight,
        met_by(weight(6, 2, 3), np.arange(4.0), 2, np.zeros(6)), rounded(np.arange(6.0), dtypes.FLOAT32),
    ]  # fmt: skip
    for each in made:
        pieces = np.concatenate([each.part(0, 1), each.part(1, 4), each.part(4, 6)])
        np.testing.assert_array_equal(pieces, each.array())


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("size", "step"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_a_sum_of_kernels_is_a_sum_of_convolutions(groups, size, step):
    x, pad = torch.randn(2, 4, 9, 8, dtype=torch.float64), (size - 1) * step // 2
    wide, narrow = weight(8, 4, 5, 5), weight(8, 4 // groups, size, size)
    ours = Kernel(wide, 1, (range(-2, 3),) * 2)
    theirs = Kernel(narrow, groups, (range(-pad, size * step - pad, step),) * 2)
    assert ours.covers(theirs)
    one, other, both = (torch.tensor(each.wide(0, 8)) for each in (wide, narrow, ours.plus(theirs).weight))
    wanted = conv2d(x, one, padding=2) + conv2d(x, other, padding=pad, dilation=step, groups=groups)
    torch.testing.assert_close(conv2d(x, both, padding=2), wanted)


@pytest.mark.parametrize(("ours", "theirs"), [
    (Kernel(weight(4, 4, 3), 1, (range(-1, 2),)), Kernel(weight(4, 4, 3), 1, (range(3),))),
    (Kernel(weight(4, 2, 3), 2, (range(-1, 2),)), Kernel(weight(4, 4, 1), 1, (range(1),))),
    (Kernel(weight(6, 2, 3), 3, (range(-1, 2),)), Kernel(weight(6, 3, 1), 2, (range(1),))),
    (Kernel(weight(4, 4, 3), 1, (range(-2, 4, 2),)), Kernel(weight(4, 4, 3), 1, (range(-1, 2),))),
])  # fmt: skip
def test_a_kernel_covers_none_that_reads_more(ours, theirs):
    assert not ours.covers(theirs)


@pytest.mark.parametrize("groups", [1, 2])
def test_what_meets_a_vector(groups):
    source, vector, bias = weight(6, 2, 3), np.arange(2.0 * groups), np.arange(6.0)
    same = torch.tensor(vector)[None, :, None].expand(1, 2 * groups, 3)
    wanted = conv1d(same, torch.tensor(source.wide(0, 6)), torch.tensor(bias), groups=groups)
    np.testing.assert_allclose(met_by(source, vector, groups, bias).array(), wanted[0, :, 0], rtol=1e-6)


@pytest.mark.parametrize(("second", "first"), [((4, 6, 1, 1), (6, 3, 3, 2)), ((4, 6, 3, 2), (6, 3, 1, 1))])
def test_a_product_of_layers_is_one_behind_the_other(second, first):
    x, left, right = torch.randn(1, 3, 7, 7, dtype=torch.float64), weight(*second), weight(*first)
    both = multiplied(left, right, (4, 3, 3, 2))
    inner = conv2d(x, torch.tensor(right.wide(0, 6)))
    wanted = conv2d(inner, torch.tensor(left.wide(0, 4)))
    torch.testing.assert_close(conv2d(x, torch.tensor(both.wide(0, 4))), wanted)


def test_a_product_of_matrices():
    x, left, right = torch.randn(5, 3, dtype=torch.float64), weight(4, 6), weight(6, 3)
    wanted = linear(linear(x, torch.tensor(right.wide(0, 6))), torch.tensor(left.wide(0, 4)))
    both = torch.tensor(multiplied(left, right, (4, 3)).wide(0, 4))
    torch.testing.assert_close(linear(x, both), wanted)
