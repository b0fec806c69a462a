"""Loops that ask data for their end, at one place of the model's code."""

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.decisions import script


def counted_up(x: Tensor, mask: Tensor) -> Tensor:
    step = 0
    while step < mask.sum().item():
        x = torch.tanh(x + 1)
        step += 1
    return x


def test_a_loop_that_compares_numbers_from_data_is_taken_to_end(monkeypatch):
    monkeypatch.setattr(script, "MOST_TIMES", 4)
    compiled = fxonnx.compile(counted_up, (torch.rand(3), torch.tensor([1, 1, 0, 0, 0, 0])))
    for count in (0, 1, 4):
        x, mask = torch.rand(3), torch.arange(6) < count
        torch.testing.assert_close(compiled(x, mask.long()), counted_up(x, mask))
    with pytest.raises(errors.Error, match="asks more than"):
        compiled(torch.rand(3), torch.ones(6, dtype=torch.int64))
