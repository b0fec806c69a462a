"""The ops that return what others write in place."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from tests.capture.interpret import run, writes
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx.capture import capture

X = torch.arange(24.0).reshape(4, 6)


def test_a_pointwise_write_asks_no_sizes() -> None:
    """Whatever the sizes are: of a size that Python made plain torch cannot compare any."""

    def function(x: Tensor) -> Tensor:
        side = operator.index(x.shape[0]) // 2
        y = x.reshape(2, side, -1) * 1
        return F.leaky_relu(y, 0.1, inplace=True).add_(y[:1] > 0)

    program = capture(function, (X,), dynamic_shapes={"x": {0: "n"}})
    assert not writes(program.graph)
    for rows in (4, 6, 12):
        other = torch.randn(rows, 6)
        torch.testing.assert_close(run(program, (other,))[0], function(other))


def test_a_buffer_becomes_a_literal() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            y = x * self.scale
            self.scale[()] = 3
            return y

    program = capture(Model(), torch.ones(2))
    assert run(program, (torch.ones(2),))[2] == [3]


def test_a_write_whose_partner_takes_its_arguments_in_another_order() -> None:
    def model(x: Tensor) -> Tensor:
        y = x * 1
        y[1:].polygamma_(2)
        return y

    x = torch.rand(3, 2) + 1
    torch.testing.assert_close(run(capture(model, (x,)), (x,))[0], model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.float64], ids=str)
def test_what_is_made_of_numbers_into_a_place(dtype: torch.dtype) -> None:
    def made(x: Tensor, place: Tensor, row: Tensor) -> Any:
        found = [torch.ones(2, 3, out=place) * x, torch.full((2, 3), 2.0, out=place) * x]
        found += [torch.eye(2, 3, out=place) * x, torch.arange(3, out=row) * x]
        return [*found, torch.linspace(0, 4, 3, out=row), torch.zeros(2, 3, out=place)]

    given = torch.rand(2, 3), torch.zeros(2, 3, dtype=dtype), torch.zeros(3, dtype=dtype)
    ours, theirs = ([each.clone() for each in given] for _ in range(2))
    torch.testing.assert_close(fxonnx.compile(made, given)(*ours), made(*theirs))
    torch.testing.assert_close(ours, theirs)


def test_what_is_added_up_is_cast_to_its_place_first() -> None:
    def summed(x: Tensor, total: Tensor, running: Tensor) -> Any:
        return torch.sum(x, 1, out=total), torch.cumsum(x, 1, out=running)

    x = torch.tensor([[1e8, 1.0, -1e8], [3.0, 1e-9, 4.0]])
    given = x, torch.zeros(2).double(), torch.zeros(2, 3).double()
    torch.testing.assert_close(fxonnx.compile(summed, given)(*given), summed(*given), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3,), (2, 1)], ids=str)
def test_a_mask_broadcasts_to_what_is_written_through_it(shape: tuple[int, ...]) -> None:
    mask = torch.arange(max(shape)).remainder(2).bool().reshape(shape)

    def function(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
        return (x * 1).masked_scatter_(mask, source)

    x, source = torch.zeros(2, 3), torch.arange(9.0)
    compiled = fxonnx.compile(function, (x, mask, source), dynamic_shapes="auto")
    torch.testing.assert_close(compiled(x, mask, source), function(x, mask, source))


@pytest.mark.parametrize("op", [torch.sum, torch.prod, torch.cumsum, torch.cumprod])
def test_complex_numbers_become_real_before_they_are_added_up(op: Any) -> None:
    x = torch.randn(4, 3, dtype=torch.complex64)

    def into_a_place(x: Tensor) -> Tensor:
        return op(x, 0, out=torch.empty(0))

    for function in (into_a_place, lambda x: op(x, 0, dtype=torch.float64), lambda x: op(x * 3, 0, dtype=torch.int64)):
        torch.testing.assert_close(fxonnx.compile(function, (x,))(x), function(x))


def test_a_result_that_is_laid_out_lies_in_its_place() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.zeros(6, 4).t()
        return torch.floor_divide(x, x + 1, out=place).add_(1), place.reshape(-1)

    torch.testing.assert_close(fxonnx.compile(function, (X,))(X), function(X))
