"""Interpolation of every mode, by factors and by sizes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx import errors
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
    assert set(operators(compiled)) <= {"Resize", "Gather"}
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


def test_area_is_an_adaptive_pool():
    check(lambda x: F.interpolate(x, size=(3, 4), mode="area"), torch.randn(2, 3, 5, 6))


def test_bytes():
    check(lambda x: F.interpolate(x, size=(3, 4)), torch.randint(0, 255, (2, 3, 5, 6)).byte())


REFUSED = {
    "antialias and aligned corners": ("aligned corners", {"antialias": True, "align_corners": True, "size": (3, 4)}),
}


@pytest.mark.parametrize(("reason", "options"), REFUSED.values(), ids=REFUSED)
def test_refused(reason, options):
    with pytest.raises(errors.UnsupportedArguments, match=reason):
        fxonnx.compile(lambda x: F.interpolate(x, mode="bilinear", **options), torch.randn(2, 3, 5, 6))


def test_bodies_run_eagerly():
    x = RANDOM.random((1, 2, 5), dtype=np.float32)
    expected = F.interpolate(torch.from_numpy(x), scale_factor=2.0).numpy()
    np.testing.assert_array_equal(
        eager(upsample_nearest, x, None, scale_factors=[2.0], exact=False, opset=19), expected
    )
