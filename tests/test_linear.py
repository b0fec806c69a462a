"""The work grows as the model does: counted in calls, which no other process changes."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fxonnx


def literals(count: int) -> Callable[[Tensor], Tensor]:
    def model(x: Tensor) -> Tensor:
        for index in range(count):
            x = x + torch.tensor([float(index)] * 3)
        return x

    return model


def layouts(count: int) -> Callable[[Tensor], Tensor]:
    def model(x: Tensor) -> Tensor:
        y = x * 2
        for _ in range(count):
            y = y.sin().unsqueeze_(0).squeeze_(0)
        return y

    return model


def floors(count: int) -> Callable[[Tensor], Tensor]:
    def model(x: Tensor) -> Tensor:
        return x.new_zeros(sum(x.shape[0] // divisor for divisor in range(2, count + 2)))

    return model


def calls(model: Callable[[Tensor], Tensor], dynamic: object) -> int:
    profile = cProfile.Profile()
    profile.runcall(fxonnx.compile, model, torch.ones(50, 3), dynamic_shapes=dynamic)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "count", "exponent"), [(literals, 40, 1), (layouts, 40, 1), (floors, 24, 2)]
)  # a sum of n floors is made of n sums
def test_twice_the_model_is_twice_the_work(make: Callable[..., object], count: int, exponent: int) -> None:
    dynamic = {"x": {0: "n"}} if make is floors else None
    calls(make(2), dynamic)  # what is loaded and remembered at the first compile
    once, twice = (calls(make(size), dynamic) for size in (count, 2 * count))
    assert twice < 1.15 * once * 2**exponent
