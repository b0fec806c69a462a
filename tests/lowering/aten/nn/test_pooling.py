"""Pools: every rounding of windows that torch has, for sizes known and unknown."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.database import samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from torch import nn

import fxonnx
from fxonnx.lowering.aten.nn.pooling import avg_pool, windows

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)
DYNAMIC = {"x": {2: "h", 3: "w"}}

# kernel, stride, padding, ceil_mode; in the later ones the last window rounded up would begin behind the input
ROUNDINGS = [
    (3, 2, 1, True),
    (2, 2, 0, True),
    (3, 2, 0, True),
    (2, 3, 1, True),
    (1, 3, 0, True),
    (3, 1, 1, False),
    (3, 4, 1, True),
    (2, 4, 1, True),
]

POOLS = {
    "max": lambda x, k, s, p, c: F.max_pool2d(x, k, s, p, 1, c, return_indices=True),
    "average": lambda x, k, s, p, c: F.avg_pool2d(x, k, s, p, c),
    "average of elements": lambda x, k, s, p, c: F.avg_pool2d(x, k, s, p, c, count_include_pad=False),
    "average by divisor": lambda x, k, s, p, c: F.avg_pool2d(x, k, s, p, c, divisor_override=7),
}


@pytest.mark.parametrize("rounding", ROUNDINGS, ids=str)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_windows(pool, rounding):
    x, other = torch.randn(2, 3, 10, 13), torch.randn(2, 3, 9, 14)
    check(lambda x: pool(x, *rounding), x)
    check(lambda x: pool(x, *rounding), other)


@pytest.mark.parametrize("window", [(2, 1, 2), (3, 1, 3), (2, 1, 5), (4, 2, 3)], ids=str)
@pytest.mark.parametrize("before", [nn.Identity(), nn.Conv1d(2, 2, 1)], ids=["input", "convolution"])
def test_windows_that_step_over_all_elements(before, window):
    """A window that begins in padding with steps beyond a short axis holds nothing: its largest is -∞."""
    kernel, padding, dilation = window
    shortest = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
    model = nn.Sequential(before, nn.MaxPool1d(kernel, 1, padding, dilation)).eval()
    compiled = fxonnx.compile(model, torch.randn(1, 2, 20), dynamic_shapes=({2: "n"},))
    for row in (torch.randn(1, 2, size) for size in range(shortest, shortest + 5)):
        torch.testing.assert_close(compiled(row), model(row))
        torch.testing.assert_close(fxonnx.compile(model, row)(row), model(row))


@pytest.mark.parametrize("rounding", [r for r in ROUNDINGS if r[1] + r[2] <= r[0]], ids=str)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_windows_of_unknown_sizes(pool, rounding):
    again = (torch.randn(2, 3, 9, 14),)
    check(lambda x: pool(x, *rounding), torch.randn(2, 3, 10, 13), dynamic=DYNAMIC, again=again)


@pytest.mark.parametrize("size", range(2, 30))
def test_windows_are_as_many_as_torch_takes(size):
    for kernel, stride, padding, dilation in [(2, 3, 1, 1), (3, 2, 1, 2), (1, 4, 0, 1), (4, 3, 2, 1), (2, 5, 1, 3)]:
        reach = dilation * (kernel - 1) + 1
        if size + 2 * padding < reach:
            continue
        axis = windows(size, kernel, stride, padding, dilation, ceil_mode=True)
        count = (size + axis.before + axis.behind - reach) // stride + 1
        expected = F.max_pool1d(torch.randn(1, 1, size), kernel, stride, padding, dilation, ceil_mode=True)
        assert count == expected.shape[-1]


MAXIMA = {
    "1d": (lambda x: F.max_pool1d(x, 3, 2, 1), (3, 10)),
    "3d": (lambda x: F.max_pool3d(x, 3, 2, 1, ceil_mode=True, return_indices=True), (2, 3, 10, 11, 12)),
    "dilated": (lambda x: F.max_pool2d(x, 2, 1, 1, 5, return_indices=True), (2, 3, 10, 13)),
    "padding as wide as the kernel": (lambda x: F.max_pool2d(x, 2, 3, 1, 4, True, return_indices=True), (3, 10, 13)),
    "unpooled": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (2, 3, 10, 12)),
    "adaptive to one": (lambda x: F.adaptive_max_pool2d(x, 1, return_indices=True), (2, 3, 10, 12)),
    "adaptive, even": (lambda x: F.adaptive_max_pool2d(x, (5, 4), return_indices=True), (2, 3, 10, 12)),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, (7, 5), return_indices=True), (2, 3, 10, 12)),
    "adaptive 3d": (lambda x: F.adaptive_max_pool3d(x, (4, 5, 3), return_indices=True), (2, 3, 5, 6, 4)),
}


@pytest.mark.parametrize(("function", "shape"), MAXIMA.values(), ids=MAXIMA)
def test_maxima(function, shape):
    check(function, torch.randn(shape))


AVERAGES = {
    "1d unbatched": (lambda x: F.avg_pool1d(x, 3, 2, 1), (3, 10)),
    "3d": (lambda x: F.avg_pool3d(x, 3, 2, 1, ceil_mode=True), (2, 3, 10, 11, 12)),
    "lp": (lambda x: F.lp_pool2d(x, 3, 2), (2, 3, 10, 11)),
    "adaptive unbatched": (lambda x: F.adaptive_avg_pool2d(x, 1), (3, 10, 12)),
    "adaptive, even": (lambda x: F.adaptive_avg_pool2d(x, (5, 4)), (3, 10, 12)),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (7, 5)), (3, 10, 12)),
    "adaptive 1d": (lambda x: F.adaptive_avg_pool1d(x, 5), (3, 12)),
    "adaptive 3d": (lambda x: F.adaptive_avg_pool3d(x, (2, 7, 5)), (2, 3, 5, 10, 12)),
}


@pytest.mark.parametrize(("function", "shape"), AVERAGES.values(), ids=AVERAGES)
def test_averages(function, shape):
    check(function, torch.randn(shape))


@pytest.mark.parametrize("sizes", [(7, 5), (1, 1), (None, 5), (3, 1)], ids=str)
def test_adaptive_pools_of_unknown_sizes(sizes):
    x, other = torch.randn(2, 3, 10, 12), torch.randn(2, 3, 7, 21)
    check(lambda x: F.adaptive_avg_pool2d(x, sizes), x, dynamic=DYNAMIC, again=(other,))
    if None not in sizes:  # torch itself makes a constant of the size there
        check(lambda x: F.adaptive_max_pool2d(x, sizes, return_indices=True), x, dynamic=DYNAMIC, again=(other,))


def test_one_average_of_an_empty_axis_is_nan():
    def model(x, y):
        return F.adaptive_avg_pool1d(x[..., 3:], y.shape[0])

    compiled = fxonnx.compile(
        model, (torch.randn(2, 3, 8), torch.randn(3)), dynamic_shapes={"x": {2: "n"}, "y": {0: "k"}}
    )
    for n, k in ((3, 1), (2, 1), (5, 1), (9, 4)):
        x, y = torch.randn(2, 3, n), torch.randn(k)
        torch.testing.assert_close(compiled(x, y), model(x, y), equal_nan=True)


def test_adaptive_averages_keep_infinities_in_their_windows():
    x = torch.rand(2, 3, 10, 7)
    x[0, 0, 0, 0], x[1, 1, 5, 5] = float("inf"), float("nan")
    check(lambda x: F.adaptive_avg_pool2d(x, (4, 3)), x)
    check(lambda x: F.adaptive_avg_pool2d(x, (4, 3)), x, dynamic={"x": {2: "h", 3: "w"}}, again=(x[:, :, 1:6, 1:],))


def test_an_average_of_everything_is_global():
    compiled = check(lambda x: F.adaptive_avg_pool2d(x, 1), torch.randn(2, 3, 4, 5))
    assert operators(compiled) == ["GlobalAveragePool"]


@pytest.mark.parametrize("name", ["max_pool1d", "max_pool3d", "avg_pool1d", "avg_pool3d", "max_unpool1d"])
def test_samples(name):
    for function, tensors in samples(f"nn.functional.{name}", torch.float32, 4):
        check(function, *tensors, rtol=1e-4, atol=1e-4)


def test_bodies_run_eagerly():
    x = RANDOM.random((1, 2, 7), dtype=np.float32)
    expected = F.avg_pool1d(torch.from_numpy(x), 3, 2, 1, ceil_mode=True).numpy()
    np.testing.assert_allclose(eager(avg_pool, x, [3], [2], [1], ceil_mode=True, opset=22), expected, rtol=1e-5)


def _specials(*shape):
    """Numbers among which are NaN, infinities, and windows of nothing but -∞."""
    chosen = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    x = torch.randn(shape).masked_fill(chosen < 0.1, math.nan)
    x = x.masked_fill((chosen > 0.1) & (chosen < 0.25), -math.inf).masked_fill(chosen > 0.95, math.inf)
    x.flatten()[: x.numel() // 3] = -math.inf
    return x


MAXIMA = {
    "1d": (lambda x: F.max_pool1d(x, 3, 2, 1, return_indices=True), (2, 3, 17)),
    "2d": (lambda x: F.max_pool2d(x, 3, 2, 1), (2, 3, 9, 11)),
    "2d with indices": (lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), (2, 3, 9, 11)),
    "3d in float16": (lambda x: F.max_pool3d(x.half(), 2, ceil_mode=True), (2, 3, 5, 4, 3)),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True), (2, 3, 7, 5)),
    "adaptive to one": (lambda x: F.adaptive_max_pool2d(x, 1, return_indices=True), (2, 3, 7, 5)),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_maxima_of_nan_and_infinities(name):
    function, shape = MAXIMA[name]
    compiled = check(function, torch.randn(shape), again=(_specials(*shape),))
    for value in (-math.inf, math.nan):
        x = torch.full(shape, value)
        torch.testing.assert_close(compiled(x), function(x), equal_nan=True)


def test_a_pool_behind_a_convolution_is_one_operator():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    assert "If" not in operators(check(model, torch.randn(2, 3, 9, 9), rtol=1e-4, atol=1e-5))


@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (3, 9, 8)], ids=str)
def test_fractional_pools(shape):
    batch = shape[0] if len(shape) == 4 else 1
    of_image = {"kernel_size": (3, 2), "output_size": (4, 3), "return_indices": True}
    of_volume = {"kernel_size": (3, 2, 2), "output_size": (3, 4, 1), "return_indices": True}
    image, volume = torch.randn(shape), torch.randn(*shape, 7)
    for drawn in (torch.rand(batch, 3, 2), torch.rand(batch, 3, 2) * -3):  # torch does not ask for [0, 1)
        check(lambda x, r: F.fractional_max_pool2d(x, **of_image, _random_samples=r), image, drawn)
    check(lambda x, r: F.fractional_max_pool3d(x, **of_volume, _random_samples=r), volume, torch.rand(batch, 3, 3))


@pytest.mark.parametrize("shape", [(2, 3, 7, 6, 5), (3, 7, 6, 5)], ids=str)
def test_fractional_pools_with_samples_left_over(shape):
    def pool(x, r):
        return F.fractional_max_pool3d(x, 2, 3, return_indices=True, _random_samples=r)

    check(pool, torch.randn(shape), torch.rand(4, 3, 3))


def test_sums_of_integers_over_a_negative_divisor():
    check(lambda x: F.avg_pool2d(x, 2, divisor_override=-2), torch.arange(16).reshape(1, 1, 4, 4))


@pytest.mark.parametrize("pool", [F.max_pool1d, F.max_pool2d, F.max_pool3d])
def test_windows_that_step_over_all_there_is(pool):
    x, again = (torch.randn(2, 2, *(size,) * int(pool.__name__[-2])) for size in (2, 5))
    check(lambda x: pool(x, 2, 1, 1, 3, return_indices=True), x)
    dynamic = {"x": {axis: f"d{axis}" for axis in range(2, x.dim())}}
    check(lambda x: pool(x, 2, 1, 1, 3, return_indices=True), x, dynamic=dynamic, again=(again,))
