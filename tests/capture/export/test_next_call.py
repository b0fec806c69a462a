"""What forward leaves in Python where torch.export captures: the next call is another one, or it does the same."""

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
    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.table, self.calls, self.array = body, None, 0, np.zeros(4, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def counts(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return x * self.calls


def keeps_an_input(self: Any, x: Tensor) -> Tensor:
    self.table = x.sum(0) if self.table is None else self.table
    return x + self.table


def keeps_an_index(self: Any, x: Tensor) -> Tensor:
    self.table = x.argmax(0) if self.table is None else self.table
    return x + self.table


def keeps_sizes(self: Any, x: Tensor) -> Tensor:
    self.table = torch.arange(x.shape[1]).type_as(x) if self.table is None else self.table
    return x + self.table


def tells_of_the_last(self: Any, x: Tensor) -> Tensor:
    self.table = x.softmax(-1)
    return self.table * 2


@pytest.mark.parametrize("body", [counts, keeps_an_input, keeps_an_index])
def test_what_makes_the_next_call_another_one_is_refused(body: Any) -> None:
    for x in (torch.randn(3, 4), torch.ones(3, 4)):
        model = Keeping(body)
        if body is keeps_an_index and x.amin() == 1:
            continue  # everything is at the same place, wherever it is
        with pytest.raises(errors.CaptureRefused, match="next call") as caught:
            capture(model, (x,), strategy="export")
        assert caught.value.locations[0].function == "forward"
        assert (model.table, model.calls) == (None, 0)


@pytest.mark.parametrize("body", [keeps_sizes, tells_of_the_last])
def test_what_makes_no_difference_is_captured(body: Any) -> None:
    assert capture(Keeping(body), (torch.randn(3, 4),), strategy="export").strategy == "export"


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


@pytest.mark.parametrize("strategy", ["trace", "export"])
@pytest.mark.parametrize("body", [writes, writes_a_part, writes_a_result, writes_in_numpy])
def test_writes_into_an_array_are_refused(body: Any, strategy: str) -> None:
    model = Keeping(body)
    with pytest.raises(errors.CaptureRefused, match="NumPy array") as caught:
        capture(model, (torch.randn(4),), strategy=strategy)
    assert caught.value.locations[0].function == body.__name__
    assert not model.array.any()


@pytest.mark.parametrize("strategy", ["trace", "export"])
@pytest.mark.parametrize("body", [reads, writes_a_copy])
def test_arrays_that_are_read_and_copies_are_not(body: Any, strategy: str) -> None:
    capture(Keeping(body), (torch.randn(4),), strategy=strategy)
