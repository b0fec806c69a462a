"""Tensors in the memory of NumPy arrays: what forward writes there would be lost, what it reads is a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fxonnx import errors
from fxonnx.capture import capture


class Keeping(nn.Module):
    """A function of an array and a tensor."""

    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.array = body, np.zeros(4, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def writes(self: Any, x: Tensor) -> Tensor:
    return torch.from_numpy(self.array).add_(x)


def writes_a_part(self: Any, x: Tensor) -> Tensor:
    torch.as_tensor(self.array)[1:] = x[1:]
    return torch.from_numpy(self.array) * 1


def writes_a_result(self: Any, x: Tensor) -> Tensor:
    return torch.add(x, 1, out=torch.asarray(self.array))


def writes_in_numpy(self: Any, x: Tensor) -> Tensor:
    self.array[0] += 1
    return x * torch.from_numpy(self.array)


def reads(self: Any, x: Tensor) -> Tensor:
    return x + torch.from_numpy(self.array)


def writes_a_copy(self: Any, x: Tensor) -> Tensor:
    return torch.tensor(self.array).add_(x) + torch.from_numpy(self.array).clone().mul_(x)


@pytest.mark.parametrize("body", [writes, writes_a_part, writes_a_result, writes_in_numpy])
def test_writes_into_an_array_are_refused(body: Any) -> None:
    model = Keeping(body)
    with pytest.raises(errors.CaptureRefused, match="NumPy array") as caught:
        capture(model, (torch.randn(4),))
    assert caught.value.locations[0].function == body.__name__
    assert not model.array.any()


@pytest.mark.parametrize("body", [reads, writes_a_copy])
def test_arrays_that_are_read_and_copies_are_not(body: Any) -> None:
    capture(Keeping(body), (torch.randn(4),))
