"""Loops of Python's over a dynamic size: one Loop in the file, which computes what PyTorch does at every length."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.lowering.support import operators
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.loops.periods import NotRolled

SIZES = [(2, 6), (3, 9), (1, 4), (2, 2), (2, 3), (2, 1), (2, 60)]
DIMS = {"x": {0: "b", 1: "t"}}


class Cell(nn.Module):
    """A cell and a body that calls it in a loop."""

    def __init__(self, body: Callable[[Any, Tensor], Any], features: int = 3) -> None:
        super().__init__()
        self.cell, self.linear, self.body = nn.GRUCell(features, 4), nn.Linear(features, 4), body

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def stacked(self: Any, x: Tensor) -> Any:
    h, outputs = x.new_zeros(x.shape[0], 4), []
    for t in range(x.shape[1]):
        h = self.cell(x[:, t], h)
        outputs.append(h)
    return torch.stack(outputs, 1), h


def unbound_without_a_state(self: Any, x: Tensor) -> Any:
    h, outputs = None, []
    for each in x.unbind(1):
        h = self.cell(each, h)
        outputs += [h.unsqueeze(1)]
    return torch.cat(outputs, dim=1)


def backwards(self: Any, x: Tensor) -> Any:
    h, outputs = x.new_zeros(x.shape[0], 4), []
    for t in reversed(range(x.shape[1])):
        h = self.cell(x[:, t, :], h)
        outputs.insert(0, h)
    return torch.stack(outputs, 1)


def both_ways(self: Any, x: Tensor) -> Any:
    forwards, _ = stacked(self, x)
    pairs = zip(forwards.unbind(1), backwards(self, x).unbind(1), strict=True)
    return torch.stack([torch.cat(pair, -1).tanh() for pair in pairs], 1)


def while_there_are_more(self: Any, x: Tensor) -> Any:
    h, t = x.new_zeros(x.shape[0], 4), 0
    while t < x.shape[1]:
        h = self.cell(x[:, t], h)
        t += 1
    return h


def into_a_buffer(self: Any, x: Tensor) -> Any:
    h, out = x.new_zeros(x.shape[0], 4), torch.empty(x.shape[0], x.shape[1], 4)
    for t in range(x.shape[1]):
        h = self.cell(x[:, t], h)
        out[:, t, :] = h
    return out


def read_and_written(self: Any, x: Tensor) -> Any:
    out = self.linear(x)
    for t in range(1, x.shape[1]):
        out[:, t] += 0.5 * out[:, t - 1]
    return out


def appended(self: Any, x: Tensor) -> Any:
    h, out = x.new_zeros(x.shape[0], 4), x.new_zeros(x.shape[0], 0, 4)
    for t in range(x.shape[1]):
        h = self.cell(x[:, t], h)
        out = torch.cat([out, h[:, None]], 1)
    return out


def over_what_was_made(self: Any, x: Tensor) -> Any:
    made = self.linear(x[:, :1])
    for t in range(1, x.shape[1]):
        weights = (made @ self.linear(x[:, t]).unsqueeze(-1)).softmax(1)
        made = torch.cat([made, (weights * made).sum(1, keepdim=True)], 1)
    return made


def in_chunks(self: Any, x: Tensor) -> Any:
    return torch.cat([self.linear(x[:, at : at + 4]).softmax(1) for at in range(0, x.shape[1], 4)], 1)


def split(self: Any, x: Tensor) -> Any:
    return torch.cat([self.linear(part).cumsum(1) for part in x.split(3, 1)], 1)


def another_first(self: Any, x: Tensor) -> Any:
    outputs: list[Tensor] = []
    for t in range(x.shape[1]):
        h = self.linear(x[:, t])
        outputs.append(h if t == 0 else h + 0.5 * outputs[-1])
    return torch.stack(outputs, 1)


def layers(self: Any, x: Tensor) -> Any:
    return stacked(self, torch.nn.functional.pad(stacked(self, x)[0], (0, -1)))[0]


def summed(self: Any, x: Tensor) -> Any:
    return sum(self.linear(x[:, t]).relu() for t in range(x.shape[1])) / x.shape[1]


def up_to_here(self: Any, x: Tensor) -> Any:
    return torch.stack([x[:, : t + 1].mean(1) for t in range(x.shape[1])], 1)


def fed_back(self: Any, x: Tensor) -> Any:
    h, y, outputs = self.linear(x.mean(1)), x[:, 0], []
    for _ in range(x.shape[1]):
        h = self.cell(y, h)
        y = h[:, :3].softmax(-1)
        outputs.append(h.argmax(-1))
    return torch.stack(outputs, 1), y


def by_the_number(self: Any, x: Tensor) -> Any:
    h, n = x.new_zeros(x.shape[0], 3), x.shape[1]
    for t in range(n):
        h = 0.9 ** (n - t) * h + (t / n) * x[:, t] + math.cos(0.1 * t) / math.sqrt(t + 1) + torch.tensor(2 * t)
    return h / n


def by_the_number_of_a_list(self: Any, x: Tensor) -> Any:
    outputs: list[Tensor] = []
    for t, each in enumerate(x.unbind(1)):
        outputs.append(each * 0.5**t + len(outputs) * torch.full((1,), 1 / (t + 1)))
    return torch.stack(outputs, 1)


def from_a_table(self: Any, x: Tensor) -> Any:
    table = self.linear.weight.new_ones(64, 3).cumsum(0)
    return torch.stack([x[:, t] * table[t] for t in range(x.shape[1])], 1)


def over_all_before(self: Any, x: Tensor) -> Any:
    outputs = [x.new_zeros(x.shape[0], 4)]
    for t in range(x.shape[1]):
        before = torch.stack(outputs, 1)
        h = self.linear(x[:, t]) + (before * outputs[-1][:, None]).softmax(1).sum(1)
        outputs.append(h.tanh())
    return torch.stack(outputs[1:], 1)


def over_all_so_far(self: Any, x: Tensor) -> Any:
    keys: list[Tensor] = []
    means: list[Tensor] = []
    for t in range(x.shape[1]):
        keys.append(self.linear(x[:, t : t + 1]))
        means.append(torch.cat(keys, 1).mean(1))
    return torch.stack(means, 1)


def over_the_rows_of_another(self: Any, x: Tensor) -> Any:
    encoded = [self.linear(x[:, t]) for t in range(x.shape[1])]
    h = encoded[-1]
    for t in range(x.shape[1]):
        memory = torch.stack(encoded, 1)
        h = self.cell(x[:, t], ((memory * h[:, None]).softmax(1) * memory).sum(1))
    return h


def chosen_by_data(self: Any, x: Tensor) -> Any:
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = torch.cond(x[:, t].sum() > 0, lambda h, v: h + v, lambda h, v: h * 0.5 - v, (h, x[:, t]))
    return h


def decided_by_data(self: Any, x: Tensor) -> Any:
    h = x.new_zeros(x.shape[0], 3)
    for t in range(x.shape[1]):
        h = h + x[:, t] if x[:, t].sum() > 0 else h * 0.5
    return h


BODIES = [
    stacked, unbound_without_a_state, backwards, both_ways, while_there_are_more, into_a_buffer, read_and_written,
    appended, over_what_was_made, in_chunks, split, another_first, layers, summed, up_to_here, fed_back,
    by_the_number, by_the_number_of_a_list, from_a_table, over_all_before, over_all_so_far, over_the_rows_of_another,
    chosen_by_data, decided_by_data,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_loop_computes_what_pytorch_does_at_every_length(body, tmp_path):
    torch.manual_seed(0)
    model = Cell(body).eval()
    compiled = fxonnx.compile(model, torch.randn(2, 6, 3), dynamic_shapes=DIMS)
    assert "Loop" in operators(compiled)
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for size in SIZES:
        x = torch.randn(*size, 3)
        with torch.no_grad():
            expected = model(x)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
        if min(size) > 1:  # with a size of 1 there may be a program of its own
            first = expected[0] if isinstance(expected, tuple) else expected
            np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], first, rtol=1e-4, atol=1e-5)


DECISIONS = {
    "a power": lambda t, n: 0.9**t > 0.1,
    "a quotient": lambda t, n: t / n < 0.97,
    "a logarithm": lambda t, n: math.log(t + 1) < 3.2,
}


@pytest.mark.parametrize("decides", DECISIONS.values(), ids=DECISIONS)
def test_a_loop_that_decides_by_a_float_of_its_number_is_refused(decides):
    def decayed(x: Tensor) -> Tensor:
        h = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            h = h * 0.9 + x[:, t] if decides(t, x.shape[1]) else h * 0.5
        return h

    with pytest.raises(errors.FrozenDimension, match="decides by what is made of the number"):
        fxonnx.compile(decayed, torch.randn(2, 6, 3), dynamic_shapes={"x": {0: "n", 1: "t"}})


def every_fifth_of_the_later(self: Any, t: Any, n: Any) -> bool:
    return t % 5 == 4 and t > 20


NUMBERS = {
    "a quotient": lambda self, t, n: t // 7 > 3,
    "a quotient that is 0 at first": lambda self, t, n: t // 20 > 3,
    "a quotient of a float": lambda self, t, n: int(t / 40),
    "a square": lambda self, t, n: t * t > 500,
    "a rest": every_fifth_of_the_later,
    "the last ones": lambda self, t, n: t >= n - 30,
    "a quotient of what is left": lambda self, t, n: (n - t) // 4 == 6,
    "one of a few": lambda self, t, n: t in (3, 40),
    "one of a set": lambda self, t, n: t in {3, 40},
    "a bit": lambda self, t, n: t & 16,
    "a shift": lambda self, t, n: t >> 5,
    "bits": lambda self, t, n: bin(t).count("1") > 3,
    "text": lambda self, t, n: str(t).endswith("17"),
    "formatted": lambda self, t, n: f"{t:02}" == "17",
    "an attribute": lambda self, t, n: t == self.late,
    "the greater": lambda self, t, n: max(t, 40) > 40,
    "a difference": lambda self, t, n: abs(t - 40) < 3,
    "a root": lambda self, t, n: math.isqrt(t) > 5,
    "a common divisor": lambda self, t, n: math.gcd(t, 30) > 14,
    "a table": lambda self, t, n: self.table[t] if t < len(self.table) else 0.0,
    "a table of numbers": lambda self, t, n: self.longer[t] > 1.0,
    "a mapping": lambda self, t, n: {40: True}.get(t, False),
}


class Deciding(nn.Module):
    """Decides in each iteration by its number."""

    def __init__(self, decides: Any) -> None:
        super().__init__()
        self.decides, self.late, self.table, self.longer = decides, 33, [1.0] * 25, [1.0] * 25 + [2.0] * 25

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            h = h + x[:, t]
            if self.decides(self, t, x.shape[1]):
                h = 1 - h
        return h


@pytest.mark.parametrize("decides", NUMBERS.values(), ids=NUMBERS)
def test_a_loop_that_decides_otherwise_at_greater_lengths_is_refused(decides):
    with pytest.raises(errors.FrozenDimension, match="freezes"):
        fxonnx.compile(Deciding(decides).eval(), torch.randn(2, 8, 3), dynamic_shapes={"x": {1: "t"}})


ALIKE = {
    "the first": lambda self, t, n: t == 0,
    "the last": lambda self, t, n: t == n - 1,
    "the last two": lambda self, t, n: n - t <= 2,
    "all": lambda self, t, n: t >= 0 and t - n < 0,
    "none": lambda self, t, n: t < 0,
}


@pytest.mark.parametrize("decides", ALIKE.values(), ids=ALIKE)
def test_a_loop_decides_by_its_ends(decides):
    model = Deciding(decides).eval()
    compiled = fxonnx.compile(model, torch.randn(2, 8, 3), dynamic_shapes={"x": {1: "t"}})
    for length in (1, 2, 5, 64, 300):
        x = torch.randn(2, length, 3)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_loop_that_decides_by_its_number_is_rolled_up_where_the_example_is_long():
    model = Deciding(lambda self, t, n: t > 4).eval()
    compiled = fxonnx.compile(model, torch.randn(2, 40, 3), dynamic_shapes={"x": {1: "t"}})
    for length in (3, 5, 6, 64, 300):
        x = torch.randn(2, length, 3)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


def in_chunks_of_many_calls(x: Tensor) -> Tensor:
    def body(part: Tensor) -> Tensor:
        for step in range(20):
            part = (part * 1.01).sin() + (part + step).cos()
        return part

    return torch.cat([body(x[at : at + 16]) for at in range(0, x.shape[0], 16)])


def test_chunks_of_many_calls_are_tried_at_greater_lengths():
    compiled = fxonnx.compile(in_chunks_of_many_calls, torch.randn(20, 2), dynamic_shapes={"x": {0: "n"}})
    for size in (20, 5, 16, 33, 70):
        x = torch.randn(size, 2)
        torch.testing.assert_close(compiled(x), in_chunks_of_many_calls(x))


def from_far_apart(x: Tensor) -> Tensor:
    """How many there are is (n + 2) // 4, which is (n + 1) // 4 unless n leaves 2."""
    return torch.stack([x[at : at + 2].sum(0).tanh() for at in range(0, x.shape[0] - 1, 4)])


def no_more_than_fifty(x: Tensor) -> Tensor:
    h = torch.zeros(2)
    for t in range(min(x.shape[0], 50)):
        h = torch.tanh(h + x[t])
    return h


def rows_of_a_part(x: Tensor) -> Tensor:
    h = torch.zeros(2)
    for row in x[:30]:
        h = torch.tanh(h + row)
    return h + x[-1]


@pytest.mark.parametrize("model", [from_far_apart, no_more_than_fifty, rows_of_a_part])
def test_further_lengths_tell_what_the_first_ones_leave_open(model):
    compiled = fxonnx.compile(model, torch.randn(20, 2), dynamic_shapes={"x": {0: "n"}})
    for size in (20, 6, 7, 29, 30, 31, 38, 49, 50, 51, 52, 130):
        x = torch.randn(size, 2)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_loop_over_the_first_axis():
    def scan(x):
        total, rows = x.new_zeros(x.shape[1]), []
        for row in x:
            total = total * 0.5 + row
            rows.append(total)
        return torch.stack(rows)

    compiled = fxonnx.compile(scan, torch.randn(5, 2), dynamic_shapes={"x": {0: "t"}})
    for length in (5, 1, 2, 40):
        x = torch.randn(length, 2)
        torch.testing.assert_close(compiled(x), scan(x))


def test_what_a_loop_writes_to_is_a_state():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            for t in range(x.shape[0]):
                self.mean = 0.9 * self.mean + 0.1 * x[t]
            return x - self.mean

    ours, theirs = Mean(), Mean()
    compiled = fxonnx.compile(ours, torch.randn(5, 3), dynamic_shapes={"x": {0: "t"}})
    for length in (5, 8, 2):
        x = torch.randn(length, 3)
        torch.testing.assert_close(compiled(x), theirs(x))
        torch.testing.assert_close(ours.mean, theirs.mean)


def test_a_check_before_a_loop_is_kept():
    def checked(x):
        assert (x >= 0).all(), "negative"
        h = x[0]
        for t in range(1, x.shape[0]):
            h = h * 0.5 + x[t]
        return h

    compiled = fxonnx.compile(checked, torch.rand(5, 3), dynamic_shapes={"x": {0: "t"}})
    x = torch.rand(9, 3)
    torch.testing.assert_close(compiled(x), checked(x))
    with pytest.raises(errors.CheckFailed, match="negative"):
        compiled(-x)


def test_a_check_in_each_iteration_is_kept():
    def checked(x):
        h = x[0]
        for t in range(x.shape[0]):
            assert (x[t] >= 0).all(), "negative"
            h = h * 0.5 + x[t]
        return h

    compiled = fxonnx.compile(checked, torch.rand(5, 3), dynamic_shapes={"x": {0: "t"}})
    for length in (9, 1):
        x = torch.rand(length, 3)
        torch.testing.assert_close(compiled(x), checked(x))
        x[-1] = -1
        with pytest.raises(errors.CheckFailed, match="negative"):
            compiled(x)


def tells_how_many(x):
    rows = torch.cat(list(x * 2))
    torch._assert_async(x.min() > -1, f"{rows.shape[0]} rows of {x.shape[1]}")
    return rows


def tells_which(x):
    rows = []
    for number, row in enumerate(x):
        torch._assert_async(row.min() > -1, f"row {number} is negative")
        rows.append(row.sin())
    return torch.stack(rows)


@pytest.mark.parametrize(("function", "text"), [(tells_how_many, "… rows of 3"), (tells_which, "row … is negative")])
def test_numbers_in_what_a_check_says_are_none_of_the_loops(function, text):
    compiled = fxonnx.compile(function, torch.rand(5, 3, 2), dynamic_shapes={"x": {0: "t"}})
    for length in (5, 2, 9):
        x = torch.rand(length, 3, 2)
        torch.testing.assert_close(compiled(x), function(x))
        x[-1, 0] = -1
        with pytest.raises(errors.CheckFailed, match=text):
            compiled(x)


def depends_on_the_iteration(x):
    h = x[0]
    for t in range(x.shape[0]):
        h = h.sin() if t % 3 else h + x[t]
    return h


def later_something_else(x):
    h = x[0]
    for t in range(x.shape[0]):
        h = h + x[t] if t != 40 else h * x[t]
    return h


def as_many_results(x):
    return [row.sin() for row in x]


NONE = [depends_on_the_iteration, later_something_else, as_many_results]


@pytest.mark.parametrize("function", NONE)
def test_what_is_no_loop_freezes_as_before(function):
    with pytest.raises(errors.Error, match="freezes"):
        fxonnx.compile(function, torch.randn(5, 3), dynamic_shapes={"x": {0: "t"}})


def test_a_loop_that_is_none_says_why():
    with pytest.raises(errors.FrozenDimension) as caught:
        fxonnx.compile(depends_on_the_iteration, torch.randn(5, 3), dynamic_shapes={"x": {0: "t"}})
    assert isinstance(caught.value.__cause__, NotRolled)
    assert caught.value.cause.endswith(f"the loop over it cannot be rolled up: {caught.value.__cause__}")
    assert caught.value.locations[0].function == depends_on_the_iteration.__name__


def test_what_loops_over_nothing_says_nothing_of_loops():
    with pytest.raises(errors.FrozenDimension) as caught:
        fxonnx.compile(lambda x: x * int(9 * math.sin(x.shape[0])), torch.randn(5, 3), dynamic_shapes={"x": {0: "t"}})
    assert "rolled" not in caught.value.cause
