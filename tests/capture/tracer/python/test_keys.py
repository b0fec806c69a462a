"""Sizes as keys of caches and tables: right at every size, or refused, and nothing is left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
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


class KeptWarp(nn.Module):
    """A grid of NumPy's, by the text of its sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.grids: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        _, height, width = x.shape
        if (key := f"{height}x{width}") not in self.grids:
            grid = np.meshgrid(range(width), range(height), indexing="xy")
            self.grids[key] = torch.from_numpy(np.stack(grid).astype(np.float32))
        return x + self.grids[key].sum(0) * torch.linspace(-1, 1, width)


@pytest.mark.parametrize("kind", [Kept, Cached, KeptWarp])
def test_a_cache_by_sizes(kind: Callable[[], nn.Module]) -> None:
    model = kind()
    compiled = fxonnx.compile(model, (torch.rand(2, 6, 8),), dynamic_shapes=DIMS, capture="trace")
    for shape in ((2, 6, 8), (2, 5, 12), (2, 1, 7), (2, 11, 13)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_a_cache_by_sizes_of_a_model_that_was_called_before() -> None:
    for before in ((2, 6, 8), (2, 5, 12), (2, 70, 31)):
        model = Kept()
        model(torch.rand(before))
        compiled = fxonnx.compile(model, (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
        for shape in ((2, 6, 8), (2, 5, 12), (2, 70, 31), (2, 8, 6)):
            x = torch.rand(shape)
            torch.testing.assert_close(compiled(x), Kept()(x))


def test_nothing_is_left_in_caches() -> None:
    model = Kept()
    fxonnx.compile(model, (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
    fxonnx.compile(Cached(), (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
    assert not model.positions
    assert grid.cache_info().currsize == 0


SCALES = {(14, 16): 2.0}
TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "a table": lambda x: x * {31: 2.0, 37: 3.0}.get(x.shape[2], 1.0),
    "a set": lambda x: x * len({x.shape[1], x.shape[2], 41}),
    "pairs": lambda x: x * {(14, 16): 2.0}.get((x.shape[1], x.shape[2]), 1.0),
    "pairs among others": lambda x: x * {(2, 14, 14, "cpu"): 2.0}.get((*x.shape, "cpu"), 1.0),
    "a part": lambda x: x * {(9, 3): 2.0}.get((x.shape[1] // 16, 3), 1.0),
    "a global": lambda x: x * SCALES.get((x.shape[1], x.shape[2]), 1.0),
    "text of two": lambda x: x * {"14x16": 2.0}.get(f"{x.shape[1]}x{x.shape[2]}", 1.0),
    "what two sizes have in common": lambda x: x * len(set(x.shape[1:])),
    "a size and a part of another": lambda x: x * len({x.shape[1]: 1, x.shape[2] // 2: 2}),
    "the later of two entries": lambda x: x * {x.shape[1]: 1.0, x.shape[2]: 2.0}[x.shape[1]],
    "text": lambda x: x * {"31": 2.0}.get(f"{x.shape[2]}", 1.0) * grid(*x.shape[1:]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_says_something_else_for_some_sizes_is_refused(name: str) -> None:
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(TABLES[name], (torch.rand(2, 6, 8),), dynamic_shapes=DIMS, capture="trace")


class Scale(nn.Module):
    """A table in a module of its own, that is asked by text."""

    def __init__(self) -> None:
        super().__init__()
        self.known = {"14x16": 2.0}

    def forward(self, x: Tensor, key: str) -> Tensor:
        return x * self.known.get(key, 1.0)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = Scale()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x, f"{x.shape[1]}x{x.shape[2]}")


def test_text_that_another_module_looks_up_is_refused() -> None:
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(Scaled(), (torch.rand(2, 6, 8),), dynamic_shapes=DIMS)
