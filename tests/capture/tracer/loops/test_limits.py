"""Calls beyond what the loops of a program are rolled up for."""

import time

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors


def slowed_down(x: Tensor) -> Tensor:
    h, t = x.new_zeros(x.shape[0]), 0
    while t < x.shape[1]:
        h = h + x[:, t]
        if t // 700 > 0:
            h = h / 2
        t += 1
    return h


def test_calls_of_many_more_steps_are_refused_at_once():
    compiled = fxonnx.compile(slowed_down, (torch.rand(2, 20),), dynamic_shapes={"x": {1: "t"}})
    x = torch.rand(2, 700)
    torch.testing.assert_close(compiled(x), slowed_down(x))
    start = time.perf_counter()
    with pytest.raises(errors.CallMismatch) as raised:
        compiled(torch.rand(2, 701))
    assert time.perf_counter() - start < 1
    assert "captured for t <= 700" in str(raised.value)
    assert "compile it for these" in raised.value.cure


def test_the_cure_for_calls_of_many_more_steps_works():
    x = torch.rand(2, 701)
    torch.testing.assert_close(fxonnx.compile(slowed_down, (x,))(x), slowed_down(x))
