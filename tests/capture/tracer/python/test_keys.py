"""Sizes as keys of caches and tables: right at every size, or refused, and nothing is left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

DIMS = {"x": {1: "h", 2: "w"}}


@functools.lru_cache
def grid(height: int, width: int) -> Tensor:
    """Positions, made once for each size."""
    return torch.arange(height * width, dtype=torch.float32).reshape(height, width)


class Kept(nn.Module):
    """A table of positions in an attribute, by sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[tuple[int, ...], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        key = tuple(x.shape[1:])
        if key not in self.positions:
            self.positions[key] = torch.arange(key[0] * key[1], dtype=torch.float32).reshape(key)
        return x + self.positions[key]


class Cached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * grid(*x.shape[1:])


@pytest.mark.parametrize("kind", [Kept, Cached])
def test_a_cache_by_sizes(kind: Callable[[], nn.Module]) -> None:
    model = kind()
    compiled = fxonnx.compile(model, (torch.rand(2, 6, 8),), dynamic_shapes=DIMS, capture="trace")
    for shape in ((2, 6, 8), (2, 5, 12), (2, 1, 7), (2, 11, 13)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_nothing_is_left_in_caches() -> None:
    model = Kept()
    fxonnx.compile(model, (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
    fxonnx.compile(Cached(), (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
    assert not model.positions
    assert grid.cache_info().currsize == 0


TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "a table": lambda x: x * {31: 2.0, 37: 3.0}.get(x.shape[2], 1.0),
    "a set": lambda x: x * len({x.shape[1], x.shape[2], 41}),
    "text": lambda x: x * {"31": 2.0}.get(f"{x.shape[2]}", 1.0) * grid(*x.shape[1:]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_says_something_else_for_some_sizes_is_refused(name: str) -> None:
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(TABLES[name], (torch.rand(2, 6, 8),), dynamic_shapes=DIMS, capture="trace")
