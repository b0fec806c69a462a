"""Whole numbers that grow slowly with a size: logarithms, rounded. Python's own are right, not the runtime's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.errors import FrozenDimension

SIZES = (24, 1, 2, 3, 7, 8, 9, 31, 32, 33, 148, 149, 1000, 1024)


def _sampled(x: Tensor) -> Tensor:
    count = 5 * np.ceil(np.log(x.shape[0])).astype("int").item()
    return x.topk(count if count < x.shape[0] else x.shape[0])[0]


def _doubled(x: Tensor) -> Tensor:
    for step in range(int(math.log2(x.shape[0]))):
        x = x + x.roll(2**step)
    return x


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "natural": lambda n: int(math.log(n)),
    "binary": lambda n: int(math.log2(n)),
    "decimal, up": lambda n: math.ceil(math.log10(n)),
    "of another base": lambda n: math.floor(math.log(n, 3) + 1),
    "scaled": lambda n: round(1.5 * math.log(n + 0.0) / 2),
    "of a root": lambda n: int(2 * math.log(math.sqrt(n))),
    "NumPy's": lambda n: np.floor(np.log2(n)).astype(np.int64),
    "at most": lambda n: int(max(math.log(n), 2.0) - 1.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_grows_slowly(name: str) -> None:
    def model(x: Tensor) -> Tensor:
        return torch.zeros(NUMBERS[name](x.shape[0])) if x.dim() else x

    compiled = fxonnx.compile(model, torch.randn(SIZES[0]), dynamic_shapes={"x": {0: "n"}})
    for size in SIZES:
        assert compiled(torch.randn(size)).shape == (NUMBERS[name](size),)


COMPARISONS: dict[str, Callable[[Any], bool]] = {
    "above": lambda n: math.log(n) > 3,
    "not above": lambda n: torch.tensor(3.0).item() >= math.log(n),
    "at least": lambda n: math.log2(n) >= 5,
    "at most": lambda n: math.log2(n) <= 5,
    "below": lambda n: 0.5 * math.log(n) < 2,
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_with_a_logarithm(name: str) -> None:
    def model(x: Tensor) -> Tensor:
        return x * 2 if COMPARISONS[name](x.shape[0]) else x - 1

    compiled = fxonnx.compile(model, torch.randn(SIZES[0]), dynamic_shapes={"x": {0: "n"}})
    for size in SIZES:
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("model", [_sampled, _doubled], ids=lambda model: model.__name__)
def test_models_that_go_by_a_logarithm(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, torch.randn(SIZES[0]), dynamic_shapes={"x": {0: "n"}})
    for size in SIZES:
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), model(x))


def test_a_number_that_falls_has_no_steps() -> None:
    with pytest.raises(FrozenDimension):
        fxonnx.compile(
            lambda x: x[: int(8 / math.log(x.shape[0] + 1.5))], torch.randn(9), dynamic_shapes={"x": {0: "n"}}
        )
