"""What constants are known by."""

from __future__ import annotations

import torch

import fxonnx
from fxonnx.capture.equivalence.constants import key_of


def test_a_constant_is_known_by_what_it_holds() -> None:
    ones = torch.ones(2, 3)
    alike = [ones.clone(), ones[:, :1].expand(2, 3), torch.ones(3, 2).t(), torch.ones(4, 6)[::2, ::2]]
    assert {key_of(each) for each in alike} == {key_of(ones)}
    others = [torch.zeros(2, 3), ones.double(), ones.t(), torch.tensor(1.0)]
    assert key_of(ones) not in {key_of(each) for each in others}


def test_one_element_may_have_any_stride() -> None:
    assert key_of(torch.arange(4).as_strided((1,), (3,), 1)) == key_of(torch.tensor([1]))


def test_of_fewer_rows_there_are_fewer_chunks() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        table = torch.eye(x.shape[0])
        table.chunk(2)[-1].zero_()
        return table

    compiled = fxonnx.compile(function, (torch.ones(3),), dynamic_shapes={"x": {0: "n"}})
    for size in (3, 1, 2, 7):
        x = torch.ones(size)
        torch.testing.assert_close(compiled(x), function(x))


def test_a_size_below_zero_is_that_of_no_tensor() -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = y[-2:].flip(0)[: y.shape[0]].to(torch.int64)
        rows[rows.shape[1] :] = 2
        return rows, x > 0 if x > 0 else x < 0

    inputs = torch.tensor(1.0), torch.arange(16).view(4, 1, 4)
    compiled = fxonnx.compile(function, inputs, dynamic_shapes={"y": {0: "n", 2: "n"}})
    for size in (4, 0, 1, 2, 8):
        y = torch.arange(size * size).view(size, 1, size)
        torch.testing.assert_close(compiled(inputs[0], y), function(inputs[0], y))
