"""Containers of results: they come back as what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx

SIZES: dict[str, Callable[[Tensor], Any]] = {
    "shape": lambda x: (x * 2, x.shape),
    "part of a shape": lambda x: (x * 2, x.shape[1:]),
    "size()": lambda x: (x.mT * 2, x.mT.size()),
    "a Size of one's own": lambda x: (x * 2, torch.Size([2 * x.shape[0], 3])),
    "a list": lambda x: (x * 2, list(x.shape)),
    "a tuple": lambda x: (x * 2, tuple(x.shape)),
}


@pytest.mark.parametrize("dynamic", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_come_back_as_what_they_were(name: str, dynamic: Any) -> None:
    model = SIZES[name]
    compiled = fxonnx.compile(model, (torch.ones(3, 4),), dynamic_shapes=dynamic)
    for rows in (3, 5, 1) if dynamic else (3,):
        x = torch.rand(rows, 4)
        (result, sizes), (expected, expected_sizes) = compiled(x), model(x)
        assert sizes == expected_sizes and type(sizes) is type(expected_sizes)
        torch.testing.assert_close(result, expected)
