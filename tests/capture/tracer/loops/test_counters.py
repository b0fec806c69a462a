"""Numbers that the code counts up itself: when expressions of them make a new step, and loops that read or return
them."""

import ast
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.loops.lengths.counters import turns

EXPRESSIONS = {
    "t // 7 > 3": {2, 29},
    "t * t > 500": {2, 24},
    "t // 20": {2, 21},
    "min(t, 40)": {2, 42},
    "t % 12": {2, 13},
    "t > self.warm": {2, 35},
    "t % 2 + t // 50": {2, 3, 51},
    "t == 0": {2, 3},
    "2 * t + 1": {2},
    "0.1 * t": {2},
    "t * t": set(),
    "0.5 ** t": set(),
    "t > limit": set(),
    "x[t]": set(),
}


class Warm(nn.Module):
    warm = 33


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_turns(text):
    lines = "def forward(self, x):", "    t = 0", "    while t < n:", f"        y = {text}", "        t += 1"
    (function,) = ast.parse("\n".join(lines)).body
    assert turns([function], [Warm()]) == EXPRESSIONS[text]


def test_what_is_not_counted_has_none():
    function = ast.parse("def forward(self, x):\n    for t in range(3):\n        y = t // 7 > 3\n    t += 1\n").body[0]
    assert turns([function], [Warm()]) == set()


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 3)

    def forward(self, x):
        h, t = x.new_zeros(x.shape[0], 3), 0
        for row in x.unbind(1):
            h = self.cell(row, h)
            if t // 7 > 3:
                h = h * 0.5
            t += 1  # noqa: SIM113  what is tried here
        return h


class DecidesLate(Decides):
    def forward(self, x):
        h, t = x.new_zeros(x.shape[0], 3), 0
        for row in x.unbind(1):
            h = self.cell(row, h)
            if t // 1000 > 2:
                h = h * 0.5
            t += 1  # noqa: SIM113  what is tried here
        return h


def test_a_loop_that_decides_by_its_counter_at_greater_lengths_is_refused():
    with pytest.raises(errors.Error, match="cannot be rolled up"):
        fxonnx.compile(Decides(), (torch.randn(2, 9, 3),), dynamic_shapes={"x": {1: "t"}})


def test_a_loop_holds_as_long_as_its_counter_decides_alike():
    compiled = fxonnx.compile(DecidesLate(), (torch.randn(2, 9, 3),), dynamic_shapes={"x": {1: "t"}})
    assert "t <= 3000" in str(compiled.report())


WITHOUT_A_FILE = """
def counted(x):
    h, t = x.new_zeros(x.shape[0]), 0
    while t < x.shape[1]:
        h = h + x[:, t]
        if t // 800 > 0:
            h = h / 2
        t += 1
    return h
"""
RANGED = """
def ranged(x):
    h = x.new_zeros(x.shape[0])
    for t in range(x.shape[1]):
        h = (h + x[:, t]) * 0.9
    return h
"""


def test_what_counts_and_has_no_source_is_not_rolled_up():
    names = {}
    exec(WITHOUT_A_FILE, names)
    with pytest.raises(errors.FrozenDimension, match="its source cannot be read"):
        fxonnx.compile(names["counted"], (torch.rand(2, 20),), dynamic_shapes={"x": {1: "t"}})


def test_what_has_no_source_and_counts_nothing_is_rolled_up():
    names = {}
    exec(RANGED, names)
    compiled = fxonnx.compile(names["ranged"], (torch.rand(2, 20),), dynamic_shapes={"x": {1: "t"}})
    x = torch.rand(2, 1000)
    torch.testing.assert_close(compiled(x), names["ranged"](x))


def ranks(x):
    """The place of each element in the sorted row, written one by one."""
    order, found = x.argsort(), torch.zeros_like(x)
    for place in range(x.shape[0]):
        found[order[place]] = place
    return found


def how_many_before_are_less(x):
    found = torch.zeros_like(x, dtype=torch.long)
    for place in range(x.shape[0]):
        found[x > x[place]] = place
        found[place] = -place
    return found


@pytest.mark.parametrize("model", [ranks, how_many_before_are_less])
def test_the_number_of_an_iteration_is_written_into_a_tensor(model):
    """torch would make a tensor of it in C++: another constant in each iteration."""
    compiled = fxonnx.compile(model, torch.randn(5), dynamic_shapes={"x": {0: "n"}})
    for n in (5, 1, 2, 12):
        x = torch.randn(n)
        torch.testing.assert_close(compiled(x), model(x))


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
def test_returned_sizes(model: Callable[[Tensor], Any]) -> None:
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


FACTORS = [0.8] * 9 + [0.1] + [0.8] * 30


def weighted(x: Tensor) -> Tensor:
    """A factor of one iteration is another one, which the shortest runs do not come to."""
    h, at = x[:, 0], 0
    while at < x.shape[1]:
        h, at = h * FACTORS[at] + x[:, at], at + 1
    return h


def test_a_number_of_a_late_iteration_is_not_taken_for_that_of_the_first_ones() -> None:
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(weighted, (torch.randn(3, 7),), dynamic_shapes=({1: "n"},))
    x = torch.randn(3, 20)
    torch.testing.assert_close(fxonnx.compile(weighted, (x,))(x), weighted(x))
