"""Python that goes by a size of which there are few: each number is a way of its own; and numbers that an empty axis
changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx


def _repeated(x: Tensor) -> Tensor:
    for step in range(x.shape[0] % 3):
        x = x * 2 + step
    return x


MODELS: dict[str, Callable[[Tensor], Any]] = {
    "the first, if any": lambda x: next((x.unsqueeze(axis) for axis in range(x.shape[0] % 2)), x),
    "a loop": _repeated,
    "an entry": lambda x: x * [1, 2, 3][x.shape[0] % 3],
    "of two sizes": lambda x: x * [1.0, 2.0][x.shape[0] % 2] + len(range(x.shape[1] % 2)),
    "the truth of a root": lambda x: x * 2 if x.shape[0] ** 0.5 else x - 1,
    "the truth of a quotient": lambda x: x * 2 if x.shape[0] / 2 - 1.5 else x - 1,
    "strides": lambda x: x.transpose(0, 1) * x.stride(0) + x.stride(1),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_few_ways(name: str) -> None:
    model = MODELS[name]
    compiled = fxonnx.compile(model, torch.randn(5, 4), dynamic_shapes={"x": {0: "n", 1: "m"}})
    for shape in ((5, 4), (8, 4), (3, 5), (2, 3), (1, 4), (4, 1), (0, 4), (4, 0)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))


ROOTS: dict[str, Callable[[Tensor], Any]] = {
    "a row of a root": lambda x: x[:, : int(x.shape[1] ** 0.5)][:, 0],
    "a row of the lesser": lambda x: x.topk(min(int(x.shape[1] ** 0.5), x.shape[0]), 0)[0][0],
    "a square": lambda x: x[:, : int(x.shape[1] ** 0.5) ** 2].reshape(x.shape[0], int(x.shape[1] ** 0.5), -1)[:, -1],
    "a row of one less": lambda x: x[:, : int(x.shape[1] ** 0.5) - 1 + (x.shape[1] + 3) // 5][:, 0],
    "a narrow part": lambda x: x.narrow(1, int(x.shape[1] ** 0.5) - 1, 1),
    "a share": lambda x: x[:, : round(x.shape[1] * 0.3)][:, 0],
}


@pytest.mark.parametrize("name", ROOTS)
def test_an_index_into_a_size_that_no_dim_says(name: str) -> None:
    model = ROOTS[name]
    compiled = fxonnx.compile(model, torch.randn(3, 5), dynamic_shapes={"x": {1: "n"}})
    for n in (5, 2, 9, 17, 4):
        x = torch.randn(3, n)
        torch.testing.assert_close(compiled(x), model(x))


def _with_enough(x: Tensor) -> Tensor:
    torch._check(x.shape[1] ** 0.5 > 1.9, lambda: "too few")
    return x * 2


def test_a_check_of_a_float_of_a_size_is_one_of_each_call() -> None:
    compiled = fxonnx.compile(_with_enough, torch.randn(3, 5), dynamic_shapes={"x": {1: "n"}})
    x = torch.randn(3, 4)
    torch.testing.assert_close(compiled(x), x * 2)
    with pytest.raises(fxonnx.errors.CheckFailed, match="too few"):
        compiled(torch.randn(3, 3))


def _other_sizes_in_each_way(x: Tensor, t: Tensor) -> Tensor:
    if t.sum() > 0:
        return torch.zeros(x.shape[0] - 3).sum() + x.sum()
    return x.sum() if x.shape[0] - 3 < 0 else x.sum() * 2


def test_sizes_of_one_way_say_nothing_in_another() -> None:
    compiled = fxonnx.compile(
        _other_sizes_in_each_way, (torch.randn(5), torch.ones(2)), dynamic_shapes={"x": {0: "n"}}
    )
    for n in (5, 2, 3, 4):
        x = torch.randn(n)
        torch.testing.assert_close(compiled(x, -torch.ones(2)), _other_sizes_in_each_way(x, -torch.ones(2)))
