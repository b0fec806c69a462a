"""Slices read and written: all bounds and steps by Python's rules, at all sizes."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from torch import Tensor

import fxonnx

BOUNDS = (None, -9, -3, -1, 0, 1, 2, 3, 9)
SIZES = (7, 5, 4, 3, 2)


def rows(size: int) -> Tensor:
    """Two rows of so many numbers."""
    return torch.arange(2.0 * size).reshape(2, size) + 1


def read_and_written(x: Tensor, at: slice) -> list[Tensor]:
    """A slice of the columns; the whole with it filled, and with it computed anew."""
    filled, computed = x.clone(), x.clone()
    filled[:, at] = 5
    computed[:, at] *= 2
    return [x[:, at], filled, computed]


@pytest.mark.parametrize("step", (1, 2, 3))
@pytest.mark.parametrize("end", (None, -9, -2, 0, 2, 3, 9))
def test_all_bounds(end: int | None, step: int) -> None:
    def function(x: Tensor) -> list[Tensor]:
        return [each for start in BOUNDS for each in read_and_written(x, slice(start, end, step))]

    for dynamic in (None, {"x": {1: "n"}}):
        compiled = fxonnx.compile(function, (rows(7),), dynamic_shapes=dynamic)
        for size in SIZES if dynamic else (7,):
            torch.testing.assert_close(compiled(rows(size)), function(rows(size)), rtol=0, atol=0)


SYMBOLIC = {
    "from the back": lambda k: slice(-k, None),
    "up to the back": lambda k: slice(None, -k),
    "from the front": lambda k: slice(k, None),
    "up to the front": lambda k: slice(None, k),
    "between both": lambda k: slice(-k, k),
    "the middle": lambda k: slice(k, -k),
    "from below or above 0": lambda k: slice(k - 3, None),
    "from below 0": lambda k: slice(3 - k, k),
    "in steps": lambda k: slice(-k, None, 2),
}


@pytest.mark.parametrize("bounds", SYMBOLIC.values(), ids=SYMBOLIC)
def test_symbolic_bounds(bounds) -> None:
    def function(x: Tensor, like: Tensor) -> list[Tensor]:
        return read_and_written(x, bounds(like.shape[0]))

    compiled = fxonnx.compile(function, (rows(7), torch.zeros(4)), dynamic_shapes=({1: "n"}, {0: "k"}))
    for size, length in ((7, 4), (7, 5), (7, 6), (5, 4), (4, 4)):
        args = rows(size), torch.zeros(length)
        torch.testing.assert_close(compiled(*args), function(*args), rtol=0, atol=0)


def narrowed(x: Tensor) -> list[Tensor]:
    """Parts and columns at places from either end, read and written."""
    results = []
    for start, length in ((-1, 1), (-2, 2), (-2, 1), (0, 2), (1, 1), (0, 0), (2, 0), (-2, 0)):
        y = x.clone()
        y.narrow(1, start, length).fill_(9)
        results += [y, x.narrow(1, start, length)]
    for index in (-1, -2, 0, 1):
        y = x.clone()
        y[:, index] = 3
        y.select(1, index).mul_(2)
        results += [y, x[:, index]]
    return results


def test_narrow_and_select() -> None:
    check(narrowed, rows(7))
    check(narrowed, rows(7), dynamic={"x": {1: "n"}}, again=(rows(3),))


def test_narrow_and_select_at_sizes() -> None:
    def function(x: Tensor, like: Tensor) -> list[Tensor]:
        k, y, z = like.shape[0], x.clone(), x.clone()
        y.narrow(1, -k, k).fill_(7)
        z[:, -k] = 3
        z[:, k - 1] += z[:, -k]
        return [y, z, x.narrow(1, -k, k), x.narrow(1, -k, 1), x.narrow(1, k - 2, 2), x[:, -k], x[:, k - 1]]

    compiled = fxonnx.compile(function, (rows(7), torch.zeros(4)), dynamic_shapes=({1: "n"}, {0: "k"}))
    for size, length in ((7, 4), (7, 5), (7, 2), (5, 4), (4, 4)):
        args = rows(size), torch.zeros(length)
        torch.testing.assert_close(compiled(*args), function(*args), rtol=0, atol=0)


def test_a_write_through_a_view_of_permuted_memory() -> None:
    def function(x: Tensor) -> Tensor:
        y = x.clone()
        y.permute(2, 0, 1).as_strided((2, 2), (4, 2), 3).mul_(3)
        return y

    check(function, torch.arange(24.0).reshape(2, 3, 4))
