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
