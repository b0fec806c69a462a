"""Shape functions: what they say of dims is what torch says of sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fxonnx.capture.tracer.results.shapes import SHAPE_FUNCTIONS
from fxonnx.ir.dims import evaluate, symbol

# kernel, stride, padding, dilation
POOLS = [(2, 2, 0, 1), (3, 2, 1, 1), (2, 3, 0, 1), (3, 3, 1, 1), (1, 2, 0, 1), (3, 2, 1, 2), (5, 3, 2, 1), (2, 3, 1, 1)]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("pool", POOLS)
def test_windows_of_a_pool(pool: tuple[int, int, int, int], ceil_mode: bool) -> None:
    kernel, stride, padding, dilation = pool
    options = (kernel,), (stride,), (padding,), (dilation,), ceil_mode
    *_, windows = SHAPE_FUNCTIONS["max_pool1d"]((1, 1, symbol("n")), *options)
    for size in range(dilation * (kernel - 1) + 1, 30):
        expected = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode)
        assert evaluate(windows, {"n": size}) == expected.shape[-1]
