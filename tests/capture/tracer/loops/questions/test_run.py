"""Loops that data ends: as many turns as eager has, whatever the data, in one Loop."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.errors import CheckFailed


def root(x: Tensor) -> Tensor:
    """Newton's iteration, which may have no turn."""
    y = torch.ones_like(x)
    while (y * y - x).abs().max() > 1e-3:
        y = 0.5 * (y + x / y)
    return y


def power(x: Tensor) -> tuple[Tensor, Tensor]:
    """Power iteration: a first turn of its own, and what the turn before said."""
    last, v, matrix = torch.zeros(()), x, torch.outer(x, x) + torch.eye(4)
    for _ in range(60):
        w = matrix @ v
        norm = w.norm()
        v = w / norm
        if (norm - last).abs() < 1e-4:
            break
        last = norm
    return v, norm


def counted(x: Tensor) -> tuple[Tensor, int]:
    """How many turns there were is a number of the result."""
    turns = 0
    while True:
        x, turns = x * 0.7, turns + 1
        if x.abs().max() < 0.1:
            return x, turns


def found_by_python(x: Tensor) -> Tensor:
    """By floats that Python compares, the first of which is none of data's."""
    error, turns = float("inf"), 0
    while error > 1e-3 and turns < 50:
        y = torch.cos(x)
        error, x, turns = (x - y).abs().max().item(), y, turns + 1
    return x


def _is_near(x: Tensor, y: Tensor) -> bool:
    return bool((x - y).abs().max() < 1e-2)


def asked_elsewhere(x: Tensor) -> Tensor:
    while not _is_near(x, torch.cos(x)):
        x = torch.cos(x)
    return x


def divisor(x: Tensor) -> Tensor:
    """Euclid's algorithm: what is returned is what the turn before the last has made, or one of the numbers."""
    a, b = (x.abs().sum() * 1000).long(), torch.tensor(144)
    while b.item() != 0:
        a, b = b, a % b
    return a


def other_before(x: Tensor) -> Tensor:
    """What is read behind the loop was something else before it than what is carried."""
    best, now = x, x * 3
    while now.abs().sum() > 1:
        now = best = torch.tanh(now) * 0.9
    return best


def gathered(x: Tensor) -> Tensor:
    rows = [x]
    while x.abs().max() > 0.05:
        x = x * 0.8
        rows.append(x + 1)
    return torch.stack(rows)


def filled(x: Tensor) -> Tensor:
    rows, at = torch.zeros(64, 4), 0
    while at < 64 and x.abs().sum() > 0.1:
        rows[at] = x
        x, at = x * 0.8, at + 1
    return rows[:at]


class Decoder(nn.Module):
    """Tokens until all rows have ended, a list and a sequence of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(9, 4), nn.GRUCell(4, 4), nn.Linear(4, 9)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state, token, ended = x.repeat(3, 1) * torch.arange(3.0)[:, None], torch.zeros(3).long(), torch.zeros(3) > 0
        tokens, step, whole = [], 0, torch.zeros(3, 1).long()
        while not ended.all() and step < 40:
            state = self.cell(self.embedding(token), state)
            token = self.head(state).argmax(-1)
            tokens.append(token)
            whole, ended, step = torch.cat([whole, token[:, None]], 1), ended | (token == 4), step + 1
        return torch.stack(tokens, 1), whole


FUNCTIONS = [
    root, power, counted, found_by_python, asked_elsewhere, divisor, other_before, gathered, filled, Decoder().eval(),
]  # fmt: skip


def inputs() -> list[Tensor]:
    """Of many turns, of few, and of none."""
    torch.manual_seed(0)
    return [torch.rand(4) + 0.1, torch.rand(4) * 90 + 1, torch.full((4,), 1e-3), torch.ones(4), torch.rand(4) * 3e3]


@pytest.mark.parametrize("model", FUNCTIONS)
def test_as_many_turns_as_eager(model: Callable[[Tensor], Any], tmp_path: Path) -> None:
    compiled = fxonnx.compile(model, (torch.rand(4) + 0.5,))
    assert [node.op for node in compiled.graph.nodes if node.op in ("If", "Loop")] == ["Loop"]
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for x in inputs() * 2:
        wanted = model(x)
        torch.testing.assert_close(compiled(x), wanted)
        first = wanted[0] if isinstance(wanted, tuple) else wanted
        got = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got[0]), first)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_at_all_sizes(size: int) -> None:
    compiled = fxonnx.compile(root, (torch.rand(5) + 0.5,), dynamic_shapes={"x": {0: "n"}})
    for scale in (1, 50):
        x = torch.rand(size) * scale + 0.1
        torch.testing.assert_close(compiled(x), root(x))


def halved(x: Tensor) -> Tensor:
    for _ in range(30):
        x = x * 0.5
        if x.max() < 0.1:
            break
    else:
        x = x + 100
    return x


def raised(x: Tensor) -> Tensor:
    for turn in range(40):
        x = x * 0.5 if turn != 31 else x + 7
        if x.max() < 1e-6:
            break
    return x


@pytest.mark.parametrize("model", [halved, raised])
def test_where_it_ends_by_itself_it_does_what_eager_does_or_refuses(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.rand(4),))
    for exponent in range(0, 44, 3):
        x = torch.rand(4) * 2.0**exponent
        try:
            found = compiled(x)
        except CheckFailed:
            continue
        torch.testing.assert_close(found, model(x))


def emptied(x: Tensor) -> Tensor:
    rows: list[Tensor] = []
    while x.abs().max() > 0.05:
        x = x * 0.8
        rows.append(x)
    return torch.stack(rows) if rows else x[None] - 5


def test_a_list_that_python_asks_for_is_not_taken_for_one_with_rows() -> None:
    compiled = fxonnx.compile(emptied, (torch.rand(4),))
    torch.testing.assert_close(compiled(torch.ones(4)), emptied(torch.ones(4)))
    torch.testing.assert_close(compiled(torch.zeros(4)), emptied(torch.zeros(4)))


# ── what Python counts ──


def another_turn(x: Tensor) -> tuple[Tensor, int]:
    """A late turn is another one than those that short runs have."""
    at = 0
    while x.abs().sum() > 1:
        x, at = x * (0.8 if at != 30 else 0.5), at + 1
    return x, at


def looked_up(x: Tensor) -> Tensor:
    """What is done behind the loop is told by a count, by no comparison."""
    at = 0
    while x.abs().sum() > 1:
        x, at = x * 0.8, at + 1
    return x * {5: 2.0, 37: 3.0}.get(at, 1.0)


def decaying(x: Tensor) -> Tensor:
    """A float that Python multiplies in each turn."""
    rate = 1.0
    while x.abs().sum() > 1:
        x, rate = x * (1 - 0.1 * rate), rate * 0.99
    return x


def through_an_iterator(x: Tensor) -> Tensor:
    factors = iter([0.9] * 20 + [0.5] * 600)
    while x.abs().sum() > 1:
        x = x * next(factors)
    return x


def a_window(x: Tensor) -> Tensor:
    """What the first turns read was made before the loop, the same for each; later ones read what turns have made."""
    window = deque(torch.zeros(()) for _ in range(40))
    while x.abs().sum() > 1:
        x = x * 0.8 + window.popleft() * 1e-9
        window.append(x.sum())
    return x + window[0]


def the_one_before(x: Tensor) -> Tensor:
    last = x
    while x.abs().sum() > 1:
        last, x = x, x * 0.8
    return last


def for_or_else(x: Tensor) -> tuple[Tensor, int]:
    for at in range(40):
        x = x * 0.8
        if x.abs().sum() < 1:
            return x, at
    return x - 1, -1


def a_counter_in_a_tensor(x: Tensor) -> tuple[Tensor, Tensor]:
    """Whether it goes on by the counter is known, and no question of data."""
    at = torch.tensor(0)
    while at < 30 and x.abs().sum() > 1:
        x, at = x * 0.8, at + 1
    return x, at


def asked_behind(x: Tensor) -> Tensor:
    """What is done behind one number of turns is something else."""
    rows = [x]
    while x.abs().sum() > 1:
        x = x * 0.8
        rows.append(x)
    return rows[26] if len(rows) > 26 else x


COUNTING = [
    another_turn, looked_up, decaying, through_an_iterator, a_window, the_one_before, for_or_else,
    a_counter_in_a_tensor, asked_behind,
]  # fmt: skip


@pytest.mark.parametrize("model", COUNTING)
def test_what_python_counts_is_as_in_eager_or_the_call_is_refused(model: Callable[[Tensor], Any]) -> None:
    compiled = fxonnx.compile(model, (torch.rand(4),))
    for turns in (0, 1, 2, 5, 6, 20, 24, 25, 30, 31, 37, 38, 39, 40, 41):
        x = torch.ones(4) / 4 * 0.8 ** (0.5 - turns)
        try:
            found = compiled(x)
        except CheckFailed:
            assert turns > 8
            continue
        torch.testing.assert_close(found, model(x))


def test_what_is_gathered_is_right_up_to_the_last_turn() -> None:
    def decode(x: Tensor) -> tuple[Tensor, Tensor]:
        rows, lengths = [x], torch.zeros(len(x), dtype=torch.int64)
        for _ in range(100):
            x = x * 0.8
            lengths += x > 0.1
            rows.append(x)
            if (x <= 0.1).all():
                break
        return torch.stack(rows, 1), lengths

    compiled = fxonnx.compile(decode, (torch.rand(4),), dynamic_shapes={"x": {0: "n"}})
    for turns in (0, 1, 2, 7, 24, 33, 64, 99, 100, 101, 150):
        x = torch.tensor([0.5, 0.1 * 0.8 ** (0.5 - turns), 0.01])
        torch.testing.assert_close(compiled(x), decode(x))


@pytest.mark.parametrize("turns", [0, 1, 2, 500, 3000])
def test_without_a_count_there_are_as_many_turns_as_it_takes(turns: int) -> None:
    def shrunk(x: Tensor) -> Tensor:
        while x.abs().sum() > 1:
            x = x * 0.99
        return x

    compiled = fxonnx.compile(shrunk, (torch.rand(4),))
    x = torch.ones(4) / 4 * 0.99 ** (0.5 - turns)
    torch.testing.assert_close(compiled(x), shrunk(x))
