"""Operators in dtypes that ONNX Runtime has no kernel for, double above all, beside torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.lowering.support import check
from torch.nn import functional as F

EDGES = [0.0, -0.0, 1e-12, -1e-30, 1e9, 1e300, torch.inf, -torch.inf, torch.nan]
EVERYWHERE = torch.cat([torch.linspace(-12, 12, 97), torch.tensor(EDGES, dtype=torch.float64)])
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin, "Asinh": torch.asinh, "Atan": torch.atan,
    "Atanh": torch.atanh, "Cosh": torch.cosh, "Sinh": torch.sinh, "Tan": lambda x: torch.tan(x.clamp(-12, 12)),
    "Erf": torch.erf, "Gelu": F.gelu, "Elu": lambda x: F.elu(x, 0.3), "Celu": lambda x: F.celu(x, 0.3),
    "Selu": F.selu, "LeakyRelu": lambda x: F.leaky_relu(x, 0.1), "PRelu": lambda x: F.prelu(x, x.new_tensor([0.2])),
    "HardSigmoid": F.hardsigmoid, "HardSwish": lambda x: F.hardswish(x.clamp(-1e9, 1e9)),
}  # fmt: skip


def windows(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function of windows with options."""
    return lambda *tensors: function(*tensors, **options)


SIGNAL, IMAGE, VOLUME = (2, 4, 9), (2, 4, 7, 6), (1, 4, 5, 4, 6)
WINDOWS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "Conv": (windows(F.conv2d, stride=2, padding=1), [IMAGE, (6, 4, 3, 2), (6,)]),
    "Conv-groups": (windows(F.conv1d, groups=2, dilation=2), [SIGNAL, (6, 2, 3), (6,)]),
    "Conv-volume": (windows(F.conv3d, padding="same"), [VOLUME, (2, 4, 3, 2, 1)]),
    "ConvTranspose": (windows(F.conv_transpose2d, stride=2, padding=1, output_padding=1), [IMAGE, (4, 3, 3, 2), (3,)]),
    "ConvTranspose-groups": (windows(F.conv_transpose1d, groups=2, dilation=2, stride=3), [SIGNAL, (4, 3, 3)]),
    "ConvTranspose-cut": (windows(F.conv_transpose1d, padding=2), [SIGNAL, (4, 3, 2)]),
    "AveragePool": (windows(F.avg_pool2d, kernel_size=3, stride=2, padding=1), [IMAGE]),
    "AveragePool-inside": (windows(F.avg_pool2d, kernel_size=3, padding=1, count_include_pad=False), [IMAGE]),
    "AveragePool-ceil": (windows(F.avg_pool1d, kernel_size=2, stride=2, ceil_mode=True), [SIGNAL]),
    "AveragePool-divisor": (windows(F.avg_pool3d, kernel_size=2, divisor_override=3), [VOLUME]),
    "MaxPool": (windows(F.max_pool2d, kernel_size=3, stride=2, padding=1, return_indices=True), [IMAGE]),
    "MaxPool-dilation": (windows(F.max_pool1d, kernel_size=2, dilation=3, ceil_mode=True), [SIGNAL]),
    "GlobalAveragePool": (windows(F.adaptive_avg_pool2d, output_size=1), [IMAGE]),
    "Resize": (windows(F.interpolate, size=(5, 9), mode="bilinear"), [IMAGE]),
    "Resize-cubic": (windows(F.interpolate, size=(9, 4), mode="bicubic", align_corners=True), [IMAGE]),
    "Resize-antialias": (windows(F.interpolate, size=(3, 9), mode="bicubic", antialias=True), [IMAGE]),
}
FOR_FLOATS_ONLY = ("GlobalAveragePool", "Resize", "MaxPool")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str) -> None:
    check(ELEMENTWISE[name], EVERYWHERE, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64], ids=str)
def test_windows(name: str, dtype: torch.dtype) -> None:
    if dtype is torch.int64 and name.startswith(FOR_FLOATS_ONLY):
        pytest.skip("torch has it for floats")
    function, shapes = WINDOWS[name]
    torch.manual_seed(0)
    tensors = [(torch.randn(shape, dtype=torch.float64) * 9).to(dtype) for shape in shapes]
    check(function, *tensors, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["Conv", "ConvTranspose", "AveragePool-inside", "MaxPool"])
def test_windows_of_sizes_that_change(name: str) -> None:
    function, (shape, *others) = WINDOWS[name]
    x, again = torch.randn(shape).double(), torch.randn(3, shape[1], 11, 5).double()
    rest = [torch.randn(other).double() for other in others]

    def call(x: torch.Tensor) -> Any:
        return function(x, *rest)

    check(call, x, dynamic={"x": {0: "n", 2: "h", 3: "w"}}, again=(again,), rtol=1e-12, atol=1e-12)


def test_integers_wrap_around() -> None:
    large = torch.full((1, 1, 4), 2**62)
    check(F.conv1d, large, torch.full((1, 1, 3), 3))
