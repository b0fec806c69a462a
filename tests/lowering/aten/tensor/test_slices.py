"""Slices read and written: all bounds and steps by Python's rules, at all sizes."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from torch import Tensor

import fxonnx

BOUNDS = (None, -9, -3, -1, 0, 1, 2, 3, 9)
SIZES = (7, 5, 4, 3, 2, 1, 0)


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


def token_cache(x: Tensor, past: Tensor) -> list[Tensor]:
    """New columns put behind those that are there."""
    cache = torch.ones(2, 16)
    before, after = past.shape[1], past.shape[1] + x.shape[1]
    cache[:, before:after] = x
    return [cache, cache[:, :after]]


def assigned(function):
    """Makes a function that writes into its argument return it."""

    def written(x: Tensor, like: Tensor) -> Tensor:
        y = x.clone()
        function(y, like)
        return y

    return written


def prefix(y: Tensor, like: Tensor) -> None:
    """Columns written by those of another size."""
    y[:, : like.shape[1]] = like


def suffix(y: Tensor, like: Tensor) -> None:
    """Columns written by those of another size, counted from the back."""
    y[:, -like.shape[1] :] = like


def one_column(y: Tensor, like: Tensor) -> None:
    """A column at a size, by a value of one column."""
    y[:, like.shape[1] - 1 : like.shape[1]] = torch.ones(1, 2, 1)


def spread(y: Tensor, like: Tensor) -> None:
    """Slices filled with what broadcasts to them."""
    y[..., : like.shape[1]] = torch.arange(like.shape[1])
    y[0, 1 : like.shape[1]] = y[1, 0]
    y[None, :, : like.shape[1]] = torch.ones(1, 1, 2, 1)


WRITES = {
    "a token cache": token_cache,
    "a prefix": assigned(prefix),
    "a suffix": assigned(suffix),
    "one column": assigned(one_column),
    "what broadcasts": assigned(spread),
}


@pytest.mark.parametrize("function", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("example", ((7, 4), (8, 5)), ids=str)
def test_writes_between_sizes(function, example) -> None:
    def args(size: int, length: int) -> tuple[Tensor, Tensor]:
        return rows(size), -rows(length)

    compiled = fxonnx.compile(function, args(*example), dynamic_shapes=({1: "n"}, {1: "k"}))
    for sizes in (example, (7, 5), (6, 2), (4, 4), (5, 1), (1, 1)):
        torch.testing.assert_close(compiled(*args(*sizes)), function(*args(*sizes)))
