"""Loops that ask data for their end, at one place of the model's code."""

import torch
from torch import Tensor

import fxonnx


def counted_up(x: Tensor, mask: Tensor) -> Tensor:
    step = 0
    while step < mask.sum().item():
        x = torch.tanh(x + 1)
        step += 1
    return x


def test_a_loop_that_compares_numbers_from_data_goes_as_far_as_they_say():
    compiled = fxonnx.compile(counted_up, (torch.rand(3), torch.tensor([1, 1, 0, 0, 0, 0])))
    for count in (0, 1, 4, 6):
        x, mask = torch.rand(3), torch.arange(6) < count
        torch.testing.assert_close(compiled(x, mask.long()), counted_up(x, mask))
