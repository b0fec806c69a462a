"""Dtypes that an operator does not take in an opset."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fxonnx


def by_cond(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cond(x.sum() > 0, lambda x: (x + 1, x > 0), lambda x: (x - 1, x < 0), (x,))


def by_python(x: Tensor) -> Tensor:
    if x.sum() > 0:
        return x * 2 if x.max() > 1 else x + 1
    return -x


@pytest.mark.parametrize("opset", [13, 15, 16])
@pytest.mark.parametrize("model", [by_cond, by_python, lambda x: F.max_pool1d(x[None], 2)[0]])
def test_branches_return_what_if_does_not_take(model: object, opset: int) -> None:
    """bfloat16 before opset 16: they return float32, also beside a bool."""
    compiled = fxonnx.compile(model, (torch.randn(4).bfloat16(),), opset=opset)
    for x in (torch.tensor([1.0, 2, 3, 4]), torch.tensor([-1.0, -2, 0.5, 1]), torch.tensor([0.5, 0.25, -0.5, 0])):
        torch.testing.assert_close(compiled(x.bfloat16()), model(x.bfloat16()))  # type: ignore[operator]
