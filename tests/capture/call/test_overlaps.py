"""Inputs in one memory are refused where one of them is written to, and nowhere else."""

import pytest
import torch
from torch import nn

import fxonnx
from fxonnx.capture.call.overlaps import overlapping
from fxonnx.errors import CallMismatch, CaptureRefused


def test_which_overlap() -> None:
    x = torch.zeros(6)
    assert overlapping([0], [x, x]) == overlapping([0], [x, x[2:]]) == (0, 1)
    assert overlapping([1], [torch.ones(2), x[:3], x[2:]]) == (1, 2)
    assert overlapping([0], [x[:3], x[3:]]) is None
    assert overlapping([], [x, x]) is None
    assert overlapping([0], [x[:0], x]) is None


@pytest.mark.parametrize("capture", ["trace", "export"])
def test_refused_at_compile_and_at_a_call(capture: str) -> None:
    def writes(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x + y

    x = torch.zeros(4)
    with pytest.raises(CaptureRefused, match="memory") as refused:
        fxonnx.compile(writes, (x[:3], x[1:]), capture=capture)
    assert refused.value.locations[0].code.startswith("x.add_(1)")
    compiled = fxonnx.compile(writes, (x[:2], x[2:]), capture=capture)
    with pytest.raises(CallMismatch, match="shares memory"):
        compiled(x[:2], x[1:3])
    torch.testing.assert_close(compiled(x[:2], x[2:]), torch.ones(2))


def test_inputs_that_are_read_may_be_one() -> None:
    x = torch.rand(3)
    torch.testing.assert_close(fxonnx.compile(lambda x, y: x * y, (x, x))(x, x), x * x)


def test_an_input_that_is_a_state_of_the_model() -> None:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total += 1
            x.add_(self.total)
            return x * 2

    model = Adds()
    compiled = fxonnx.compile(model, (torch.rand(3),))
    with pytest.raises(CallMismatch, match="total"):
        compiled(model.total)
