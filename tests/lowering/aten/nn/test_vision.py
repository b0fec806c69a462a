"""Sampling, unfolding and detection."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check

torch.manual_seed(0)


@pytest.mark.parametrize("align", [True, False], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, align):
    x, grid = torch.randn(2, 3, 5, 6), torch.randn(2, 4, 7, 2)
    check(lambda x, grid: F.grid_sample(x, grid, mode, padding, align), x, grid, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opset", [None, 13], ids=["default", "13"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_that_no_pixel_is_near_to(mode, padding, opset):
    far = [math.nan, math.inf, -math.inf, 0.3, *((1e30, -1e30, 5e9) if padding != "reflection" else ())]
    grid = torch.tensor([[[x, y] for x in far] for y in far])[None]
    x = torch.arange(1.0, 13).reshape(1, 1, 3, 4)

    def sample(x, grid):
        return F.grid_sample(x, grid, mode, padding, align_corners=False)

    check(sample, x, grid, opset=opset)


def test_grid_sample_of_volumes():
    x, grid = torch.randn(2, 3, 5, 6, 4), torch.randn(2, 4, 7, 3, 3)
    check(lambda x, grid: F.grid_sample(x, grid, align_corners=False), x, grid, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("theta", "size"), [((2, 2, 3), (2, 3, 4, 5)), ((2, 3, 4), (2, 3, 4, 5, 6))], ids=["2d", "3d"])
def test_affine_grid(theta, size):
    for align in (True, False):
        check(lambda x: F.affine_grid(x, size, align), torch.randn(theta), rtol=1e-4, atol=1e-5)  # noqa: B023


WINDOWS = {
    "kernel": {"kernel_size": 3},
    "stride and padding": {"kernel_size": (2, 3), "stride": 2, "padding": 1},
    "dilation": {"kernel_size": 2, "dilation": 3, "stride": (2, 1), "padding": (0, 2)},
}


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
@pytest.mark.parametrize("size", [(2, 3, 1, 4), (2, 3, 5, 1), (2, 3, 1, 1), (2, 3, 5, 1, 2)], ids=str)
def test_an_axis_of_one_element_has_its_corner_in_the_middle(size):
    check(lambda theta: F.affine_grid(theta, size, align_corners=True), torch.randn(2, len(size) - 2, len(size) - 1))


@pytest.mark.parametrize("options", WINDOWS.values(), ids=WINDOWS)
def test_unfold_and_fold(options):
    def both(x):
        columns = F.unfold(x, **options)
        return columns, F.fold(columns, x.shape[2:], **options)

    x, other = torch.randn(2, 3, 9, 10), torch.randn(3, 3, 12, 7)
    check(both, x)
    check(both, x, dynamic={"x": {0: "n", 2: "h", 3: "w"}}, again=(other,))


def test_unfold_and_fold_unbatched():
    x = torch.randn(3, 9, 10)
    check(lambda x: F.unfold(x, 3), x)
    check(lambda x: F.fold(x, (9, 10), 3), F.unfold(x, 3))


def test_channel_shuffle():
    check(lambda x: F.channel_shuffle(x, 2), torch.randn(2, 4, 5, 6))


def test_unfold_after_a_transpose():
    """ONNX Runtime moves the Transpose past the Pad, and forgets the axes of one that names them."""
    check(lambda x: F.unfold(x.transpose(1, 2).unsqueeze(-1), [3, 1], padding=[1, 0]), torch.randn(2, 5, 6))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_grid_of_a_constant_map(dtype, align_corners):
    places = torch.tensor([[[1.0, 0.2, 0.0], [0.1, 1.0, 0.3]]], dtype=dtype)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype is torch.float16 else {}
    x = torch.zeros(2, dtype=dtype)
    check(lambda x: x + F.affine_grid(places, (1, 1, 5, 6), align_corners=align_corners), x, **tolerance)
