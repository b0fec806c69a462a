"""Models that return numbers and texts of Python beside the tensors that loops make: a size is right at every length,
what the loop has counted up is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import fxonnx
from fxonnx import errors


def steps(x: Tensor) -> tuple[Tensor, int, str]:
    h, count, text = x[:, 0], 0, ""
    for at in range(x.shape[1]):
        h, count, text = h.tanh() + x[:, at], count + 3, text + "a"
    return h, count, text


def iterations(x: Tensor, k: Tensor) -> tuple[Tensor, int]:
    count = 0
    for _ in range(int(k)):
        x, count = x * 0.9, count + 2
    return x, count


def until_the_end(x: Tensor) -> tuple[Tensor, int]:
    h, at = x[:, 0], 0
    while at < x.shape[1]:
        h, at = h * 0.9 + x[:, at], at + 1
    return h, at


def assert_equal(found: Any, wanted: Any) -> None:
    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert [each for each in found if not isinstance(each, Tensor)] == [
        each for each in wanted if not isinstance(each, Tensor)
    ]
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, Tensor):
            torch.testing.assert_close(one, other)


SIZES: dict[str, Callable[[Tensor], Any]] = {
    "a size": lambda x: (steps(x)[0], x.shape[1]),
    "of a size": lambda x: {"h": steps(x)[0], "n": 2 * x.shape[1] - 1, "b": x.shape[0]},
    "others": lambda x: (steps(x)[0], 7, "name", None),
}
COUNTED: dict[str, Callable[[Tensor], Any]] = {
    "a number": lambda x: steps(x)[:2],
    "a text": lambda x: steps(x)[::2],
    "in a structure": lambda x: {"h": steps(x)[0], "rest": [steps(x)[1], 4]},
    "until the end": until_the_end,
}


@pytest.mark.parametrize("model", SIZES.values(), ids=SIZES)
def test_sizes(model: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(3, 7),), dynamic_shapes=({0: "b", 1: "n"},))
    for shape in ((3, 7), (2, 4), (1, 11), (2, 1)):
        x = torch.randn(shape)
        assert_equal(compiled(x), model(x))


@pytest.mark.parametrize("model", COUNTED.values(), ids=COUNTED)
def test_what_is_counted_up_is_refused(model: Callable[[Tensor], Any]) -> None:
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(model, (torch.randn(3, 7),), dynamic_shapes=({0: "b", 1: "n"},))
    x = torch.randn(3, 7)
    assert_equal(fxonnx.compile(model, (x,), dynamic_shapes=({0: "b"},))(x), model(x))


def test_what_is_counted_up_by_a_number_from_data_is_refused() -> None:
    with pytest.raises(errors.DataDependentControlFlow):
        fxonnx.compile(iterations, (torch.randn(3), torch.tensor(4)))
