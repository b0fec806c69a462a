"""torch's constructors by type, of numbers that vary, against eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.capture.tracer.python.constructors import TYPES


def of_sizes(x: Tensor) -> Any:
    return torch.LongTensor([x.shape[0], 2]), torch.FloatTensor([[x.shape[1] / 3, 2.0]]) * x.sum()


def of_data(x: Tensor) -> Any:
    keep = [int(x[0].sum()), x[-1].argmax().item(), x.shape[0]]
    return torch.LongTensor(keep), torch.DoubleTensor([x.max().item()]), x.new([x.min().item(), 1])


def of_tensors(x: Tensor) -> Tensor:
    return torch.IntTensor([x[0, 0].long(), x[0, 1].long()])


def of_arrays(x: Tensor) -> Tensor:
    return torch.FloatTensor(np.linspace(0, 1, x.shape[0]))[:, None] * x


def of_constants(x: Tensor) -> Any:
    return x[:, : len(torch.BoolTensor([True, False]))] * torch.FloatTensor([1.0, 2.0]), torch.LongTensor(3).zero_()


def as_a_type(x: Tensor) -> Any:
    assert isinstance(x, torch.FloatTensor)
    return x.type(torch.LongTensor), x.type(dtype=torch.DoubleTensor), (x > 0).type(x.dtype)


MODELS = [of_sizes, of_data, of_tensors, of_arrays, of_constants, as_a_type]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_constructors(model: Callable[[Tensor], Any]) -> None:
    example = torch.randn(5, 4) * 3
    compiled = fxonnx.compile(model, (example,), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for shape in ((5, 4), (1, 4), (7, 3), (3, 2)):
        x = torch.randn(shape) * 3
        torch.testing.assert_close(compiled(x), model(x))
    assert torch.LongTensor is not TYPES["LongTensor"]


def test_they_are_taken_for_torchs_own() -> None:
    for name, kind in TYPES.items():
        original = getattr(torch, name)
        assert kind == original and hash(kind) == hash(original) and repr(kind) == repr(original)
        assert kind.dtype is original.dtype and isinstance(torch.zeros(1, dtype=original.dtype), kind)
