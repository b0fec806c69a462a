"""What capturing makes is let go of with what was compiled: the collector sees no sizes in the memory of tensors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fxonnx


def of_its_size(self: nn.Module, x: Tensor) -> Tensor:
    return self.linear(x).view(x.shape[0], 2, -1)


def of_a_selection(self: nn.Module, x: Tensor) -> Tensor:
    found = x[x[:, 0] > 0]
    return self.linear(found) if found.shape[0] > 1 else found.sum(0, keepdim=True)


def of_each_row(self: nn.Module, x: Tensor) -> Tensor:
    state = x.new_zeros(4)
    for t in range(x.shape[0]):
        state = torch.tanh(self.linear(x[t]) + state)
    return state


@pytest.mark.parametrize("forward", (of_its_size, of_a_selection, of_each_row))
def test_a_model_is_let_go_of(forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model = type("Model", (nn.Module,), {"forward": forward})()
    model.linear = nn.Linear(4, 4)
    fxonnx.compile(model, (torch.randn(5, 4),), dynamic_shapes={"x": {0: "rows"}})
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
