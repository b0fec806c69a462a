"""Arguments that share memory, of which the model writes into one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.errors import CallMismatch


def writes_into_second(a: Tensor, b: Tensor) -> Tensor:
    """What is read of the first after a write into the second."""
    b[0] = 100
    return a + 0


def reads(a: Tensor, b: Tensor) -> Tensor:
    """Nothing is written."""
    return a + b


WHOLE = torch.arange(8.0)


def test_a_call_whose_arguments_overlap_is_refused() -> None:
    compiled = fxonnx.compile(writes_into_second, (torch.ones(4), torch.ones(4)))
    for a, b in ((WHOLE[:4], WHOLE[2:6]), (WHOLE[:4], WHOLE[:4]), (WHOLE[4:8], WHOLE[1:5])):
        with pytest.raises(CallMismatch, match="a shares memory with b"):
            compiled(a, b)
    whole = WHOLE.clone()
    torch.testing.assert_close(compiled(whole[:4], whole[4:]), WHOLE[:4])
    assert whole[4] == 100


def test_an_example_that_overlaps_is_refused() -> None:
    with pytest.raises(CallMismatch, match=r"give a a\.clone\(\)"):
        fxonnx.compile(writes_into_second, (WHOLE, WHOLE))


def test_arguments_that_are_only_read_may_overlap() -> None:
    compiled = fxonnx.compile(reads, (WHOLE, WHOLE))
    torch.testing.assert_close(compiled(WHOLE, WHOLE), WHOLE + WHOLE)
