"""Interpolation of every mode, by factors and by sizes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx.lowering.aten.nn.resize import upsample_nearest

torch.manual_seed(0)
RANDOM = np.random.default_rng(0)
SHAPE, OTHER = (2, 3, 5, 6, 7), (3, 3, 9, 8, 5)

MODES = [
    ("nearest", 1, None),
    ("nearest", 2, None),
    ("nearest", 3, None),
    ("nearest-exact", 2, None),
    ("linear", 1, False),
    ("bilinear", 2, False),
    ("bilinear", 2, True),
    ("trilinear", 3, True),
    ("bicubic", 2, False),
    ("bicubic", 2, True),
]
TARGETS = {
    "factor 2": {"scale_factor": 2.0},
    "factor 1.7": {"scale_factor": 1.7},
    "factor 0.6": {"scale_factor": 0.6},
    "sizes": {"size": (9, 4, 3)},
    "one": {"size": (1, 1, 1)},
}


def resized(mode, axes, align, target):
    """A function that interpolates, with as many sizes as there are axes."""
    options = {name: value[:axes] if isinstance(value, tuple) else value for name, value in target.items()}
    return lambda x: F.interpolate(x, mode=mode, align_corners=align, **options)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("mode", "axes", "align"), MODES, ids=str)
def test_interpolate(mode, axes, align, target):
    function = resized(mode, axes, align, target)
    x, other = torch.randn(SHAPE[: axes + 2]), torch.randn(OTHER[: axes + 2])
    compiled = check(function, x, rtol=1e-4, atol=1e-5)
    assert set(operators(compiled)) <= {"Resize", "Gather", "Unsqueeze", "Squeeze"}
    dynamic = {"x": {axis: f"d{axis}" for axis in range(axes + 2) if axis != 1}}
    check(function, x, dynamic=dynamic, again=(other,), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_antialiasing(mode, target):
    options = {name: value[:2] if isinstance(value, tuple) else value for name, value in target.items()}
    check(
        lambda x: F.interpolate(x, mode=mode, antialias=True, **options), torch.randn(SHAPE[:4]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("size", range(3, 60, 4))
def test_nearest_reads_what_torch_reads(size):
    x = torch.arange(17.0).reshape(1, 1, 17)
    check(lambda x: F.interpolate(x, size=size), x)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_reads_what_torch_reads_at_sizes_of_run_time(mode):
    def to_other(x, y):
        return F.interpolate(x, size=y.shape[-2:], mode=mode)

    def by_shape(x):
        return F.interpolate(x, size=(x.shape[2] // 7, x.shape[3] * 3), mode=mode)

    sizes = {"x": {2: "h", 3: "w"}}
    compiled = fxonnx.compile(to_other, _pair(5, 7, 9, 4), dynamic_shapes=sizes | {"y": {2: "H", 3: "W"}})
    for before in range(1, 42, 2):
        for after in range(1, 42):
            pair = _pair(before, after, after, before)
            torch.testing.assert_close(compiled(*pair), to_other(*pair), rtol=0, atol=0)
    for size in (14, 21, 35, 70):
        check(by_shape, _pair(28, 5)[0], dynamic=sizes, again=(_pair(size, size)[0],), rtol=0, atol=0)


def _pair(height, width, *other):
    return torch.arange(1.0 * height * width).reshape(1, 1, height, width), torch.zeros(1, 1, *(other or (1, 1)))


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.7, 1.3, 1.5, 2.0, 2.1, 2.3, 7.0])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_by_a_factor_at_sizes_of_run_time(mode, factor):
    def function(x):
        return F.interpolate(x, scale_factor=factor, mode=mode)

    compiled = fxonnx.compile(function, _pair(20, 12)[0], dynamic_shapes={"x": {2: "h", 3: "w"}})
    for size in (4, 5, 9, 10, 15, 18, 30, 33, 36, 50, 66, 90, 110):
        image = _pair(size, size)[0]
        torch.testing.assert_close(compiled(image), function(image), rtol=0, atol=0)


@pytest.mark.parametrize("factor", [1.01, 1.15, 2.0, 2.01, 2.3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("other", [(), (3,), (100,), (2, 3)], ids=str)
def test_an_axis_that_stays_or_doubles_by_a_factor_that_is_more(mode, factor, other):
    """torch reads it as it is in one of its kernels, and by the factor in all others."""

    def function(x):
        return F.interpolate(x, scale_factor=factor, mode=mode)

    compiled = fxonnx.compile(function, torch.rand(1, 1, 5, *other), dynamic_shapes={"x": {2: "n"}})
    for size in (2, 3, 6, 63):
        row = torch.arange(1.0 * size).reshape(1, 1, size, *[1] * len(other)).expand(1, 1, size, *other).contiguous()
        for found in (compiled(row), fxonnx.compile(function, row)(row)):
            torch.testing.assert_close(found, function(row), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1.01, 1.3, 1.45, 1.7])
@pytest.mark.parametrize("mode", ["linear", "bilinear", "trilinear", "bicubic"])
def test_an_axis_that_keeps_its_size_by_a_factor(mode, factor, dtype):
    """3 · 1.3 is 3: torch copies the axis where it interpolates linearly, and never where cubically."""

    def function(x):
        return F.interpolate(x, scale_factor=factor, mode=mode)

    count = {"linear": 1, "trilinear": 3}.get(mode, 2)
    dims = {"x": {axis + 2: f"n{axis}" for axis in range(count)}}
    compiled = fxonnx.compile(function, torch.rand(1, 1, *[7] * count, dtype=dtype), dynamic_shapes=dims)
    for sizes in ((3, 3, 3), (3, 9, 2), (9, 3, 3)):
        image = torch.randn(1, 1, *sizes[:count], dtype=dtype)
        for found in (compiled(image), fxonnx.compile(function, image)(image)):
            torch.testing.assert_close(found, function(image))


@pytest.mark.parametrize("factor", [0.7, 1.4, 2.3])
def test_sizes_are_products_in_double(factor):
    def function(x):
        return F.interpolate(x, scale_factor=factor, mode="linear")

    compiled = fxonnx.compile(function, torch.rand(1, 1, 20), dynamic_shapes={"x": {2: "n"}})
    for size in (45, 50, 90, 100, 110, 170, 180):
        row = torch.rand(1, 1, size)
        # a place near 180 is rounded to 2**-16, and a share between neighbours is as far off
        torch.testing.assert_close(compiled(row), function(row), rtol=0, atol=2 * 2**-16)


@pytest.mark.parametrize("options", [{"scale_factor": 2}, {"scale_factor": 0.7}, {"size": 7}], ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_row(options, align_corners, value):
    rows = torch.rand(2, 3, 5)
    rows[0, 1, 2] = value
    check(
        lambda x: F.interpolate(x, mode="linear", align_corners=align_corners, **options)[:, ::2], rows,
        dynamic={"x": {2: "n"}},
    )  # fmt: skip


def test_a_known_ratio_is_one_operator():
    image = torch.rand(1, 1, 6, 4)
    for function in (lambda x: F.interpolate(x, scale_factor=2), lambda x: F.interpolate(x, size=(x.shape[2] * 3, 8))):
        assert "If" not in operators(check(function, image, dynamic={"x": {2: "h"}}, again=(torch.rand(1, 1, 9, 4),)))


def test_area_is_an_adaptive_pool():
    check(lambda x: F.interpolate(x, size=(3, 4), mode="area"), torch.randn(2, 3, 5, 6))


def test_bytes():
    check(lambda x: F.interpolate(x, size=(3, 4)), torch.randint(0, 255, (2, 3, 5, 6)).byte())


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 4), (11, 2)], ids=str)
def test_antialiased_between_corners(mode, size):
    check(
        lambda x: F.interpolate(x, size=size, mode=mode, antialias=True, align_corners=True),
        torch.randn(2, 3, 5, 6),
        dynamic={"x": {2: "h", 3: "w"}},
        again=(torch.randn(2, 3, 7, 9),),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("mode", ["linear", "bilinear", "bicubic", "trilinear"])
def test_double_by_a_factor_that_single_precision_does_not_hold(mode):
    axes = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}[mode]
    x, again = (torch.randn(2, 3, *sizes[:axes]).double() for sizes in ((5, 6, 4), (10, 1, 7)))
    dynamic = {"x": {2 + axis: f"d{axis}" for axis in range(axes)}}
    for shapes in (None, dynamic):
        check(
            lambda x: F.interpolate(x, scale_factor=1.7, mode=mode),
            x,
            dynamic=shapes,
            again=(again,) if shapes else None,
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
def test_bytes_are_rounded_as_torch_does(mode, antialias, align_corners):
    for asked in ({"size": (14, 18)}, {"size": (5, 13)}, {"scale_factor": (0.7, 2.1)}):
        check(
            lambda x: F.interpolate(x, mode=mode, antialias=antialias, align_corners=align_corners, **asked),  # noqa: B023
            torch.randint(0, 256, (2, 3, 7, 9)).byte(),
            dynamic={"x": {2: "h", 3: "w"}},
            again=(torch.randint(0, 256, (2, 3, 12, 7)).byte(),),
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased_where_resize_cannot(mode):
    image = torch.randn(2, 3, 9, 8)
    for opset in (13, 17):
        check(lambda x: F.interpolate(x, size=(4, 11), mode=mode, antialias=True), image, opset=opset)


def test_bodies_run_eagerly():
    x = RANDOM.random((1, 2, 5), dtype=np.float32)
    expected = F.interpolate(torch.from_numpy(x), scale_factor=2.0).numpy()
    np.testing.assert_array_equal(
        eager(upsample_nearest, x, None, scale_factors=[2.0], exact=False, opset=19), expected
    )


def test_a_size_that_is_a_number_of_the_model_in_float64():
    def half(x):
        return F.interpolate(x, scale_factor=0.6, mode="linear", recompute_scale_factor=True)

    check(half, torch.randn(2, 3, 4).double(), dynamic={"x": {2: "n"}}, again=(torch.randn(2, 3, 9).double(),))


def test_a_product_of_weights_keeps_what_is_no_number_where_it_is():
    image = torch.randn(1, 2, 6, 7)
    image[0, 0, 2, 3], image[0, 1, 5, 6], image[0, 1, 0, 0] = math.inf, math.nan, -math.inf

    def resized(x):
        return F.interpolate(x, size=(9, 12), mode="bilinear", antialias=True, align_corners=True)

    check(resized, image, rtol=1e-5, atol=1e-5)
    check(resized, image.nan_to_num(0, 0, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{"scale_factor": 2.0}, {"size": 7}, {"size": 3}], ids=str)
def test_what_is_no_number_beside_an_edge_in_float64(value, options):
    image = torch.randn(1, 1, 4, 4).double()
    image[0, 0, 1, 1] = value
    check(lambda x: F.interpolate(x, mode="bilinear", **options), image)


@pytest.mark.parametrize("dynamic", [None, {"x": {2: "h", 3: "w"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("size", [(3, 5), (14, 11), (20, 24), (30, 24)], ids=str)
@pytest.mark.parametrize("mode", ["nearest2d", "bilinear2d", "bicubic2d", "bilinear2d_aa", "bicubic2d_aa"])
def test_a_factor_that_makes_another_size_than_is_asked_for(mode, size, dynamic):
    """Torch steps by the factor and fills the size: by fewer elements than there are, or by the last one."""
    if mode.endswith("aa") and size > (14, 11):
        pytest.skip("torch's kernel reads beyond its tensor, times 0")
    resize = getattr(torch.ops.aten, ("_" if mode.endswith("aa") else "") + f"upsample_{mode}")
    aligned = () if mode == "nearest2d" else (False,)
    image, smaller = torch.randn(1, 2, 10, 12), torch.randn(1, 2, 7, 9)
    again = (smaller,) if dynamic else None
    check(lambda x: resize(x, size, *aligned, 2.0, 1.3), image, dynamic=dynamic, again=again)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("factor", [1.7, 0.6])
def test_float64_by_a_factor_of_any_size(mode, factor):
    """For which ONNX Runtime has no kernel: rows are gathered, as many as the factor makes of a size."""
    x, other = torch.randn(1, 2, 4, 5, 3).double(), torch.randn(2, 2, 7, 3, 6).double()
    sizes = {"x": {0: "n", 2: "d", 3: "h", 4: "w"}}
    check(lambda x: F.interpolate(x, scale_factor=factor, mode=mode), x, dynamic=sizes, again=(other,))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("factors", [(2.0, 1.5), (1.37, 2.0), (0.7, 3.0), (1.37, 1.1)], ids=str)
def test_between_aligned_corners_factors_only_give_the_sizes(mode, factors):
    """Of axes that vary: some sizes a dim can say, others are known when the model runs."""

    def resized(x):
        return F.interpolate(x, scale_factor=factors, mode=mode, align_corners=True)

    compiled = fxonnx.compile(resized, (torch.randn(1, 2, 5, 6),), dynamic_shapes={"x": {2: "h", 3: "w"}})
    for size in ((5, 6), (2, 2), (7, 3), (3, 11)):
        x = torch.randn(1, 2, *size)
        torch.testing.assert_close(compiled(x), resized(x), rtol=1e-4, atol=1e-5)
