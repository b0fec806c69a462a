"""Loops over a dim, of a model that takes no primes for its other dims: its windows are of 4 elements."""

import pytest
import torch
from torch import Tensor

import fxonnx


def in_windows(x: Tensor) -> Tensor:
    """Each image on its own, then all cut into windows of 4 by 4."""
    summed = torch.zeros_like(x)
    for at in range(x.shape[0]):
        summed[at] = x[at].cumsum(0)
    batch, height, width = summed.shape
    return summed.view(batch, height // 4, 4, width // 4, 4).transpose(2, 3).reshape(-1, 4, 4)


@pytest.mark.parametrize("sizes", [(2, 16, 16), (3, 8, 12), (1, 16, 16), (7, 20, 8)])
def test_loops_are_rolled_up_at_sizes_that_the_model_takes(sizes):
    dims = {"x": {0: "b", 1: "h", 2: "w"}}
    compiled = fxonnx.compile(in_windows, torch.randn(2, 16, 16), dynamic_shapes=dims)
    x = torch.randn(sizes)
    torch.testing.assert_close(compiled(x), in_windows(x))
