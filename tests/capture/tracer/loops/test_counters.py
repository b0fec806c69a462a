"""Numbers that the code counts up itself: when expressions of them make a new step, and loops that read them."""

import ast

import pytest
import torch
from torch import nn

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
