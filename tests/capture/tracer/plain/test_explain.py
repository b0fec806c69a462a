"""Plain numbers of sizes that no function of ours follows: found by comparing runs, or refused."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat, example_arguments
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.failures import TooManyCalls, Translating
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.run import Run

DIMS = {"x": {0: "b", 1: "n"}}
plain = operator.index


class Halves(nn.Module):
    """Writes to a buffer too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        half = plain(x.shape[1]) // 2
        return x.reshape(x.shape[0], half, 2).transpose(1, 2).reshape(x.shape[0], 2 * half) * half + self.calls


EXPLAINED: dict[str, Callable[[Tensor], Tensor]] = {
    "size": lambda x: x.reshape(plain(x.shape[0]) * plain(x.shape[1])),
    "half": lambda x: x[:, : plain(x.shape[1]) // 2],
    "text": lambda x: x + len("." * x.shape[1]),
    "float": lambda x: x / plain(x.shape[1]) ** 0.5 + math.sqrt(plain(x.shape[0])) + plain(x.shape[1]) ** -0.5,
    "whole windows only": lambda x: x.view(plain(x.shape[0]), plain(x.shape[1]) // 2, 2)[:, :, 1],
    "padding": lambda x: F.pad(x, (0, -plain(x.shape[1]) % 5)),
    "constant": lambda x: x + torch.tensor([plain(x.shape[1]), 3]).sum(),
    "positions": lambda x: x + torch.arange(plain(x.shape[1])),
    "array": lambda x: x.reshape(tuple(np.array([*map(plain, x.shape)]).tolist())[::-1]),
    "bits": lambda x: x * (plain(x.shape[1]) & 3),
    "rows that nothing is computed of": lambda x: x + len([row.shape for row in x]),
    "the longest row": lambda x: x + x.new_zeros([len(x), max([row.shape[0] for row in x])]),
    "several results": lambda x: x.split([2, plain(x.shape[1]) - 2], 1)[1] * 2,
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_runs_at_several_sizes_explain_a_number(name: str) -> None:
    model = EXPLAINED[name]
    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes=DIMS)
    assert "plain numbers of sizes" in compiled.report()
    for shape in ((2, 8), (3, 12), (1, 6), (5, 30)):
        x = torch.rand(shape)
        torch.testing.assert_close(compiled(x), model(x))


def test_states_are_kept() -> None:
    model = Halves().eval()
    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes=DIMS)
    for calls, shape in enumerate(((2, 8), (3, 12), (1, 6)), start=1):
        x = torch.rand(shape)
        half = shape[1] // 2
        expected = x.reshape(-1, half, 2).transpose(1, 2).reshape(-1, 2 * half) * half + calls
        torch.testing.assert_close(compiled(x), expected)


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "branch": lambda x: x * 2 if plain(x.shape[1]) > 5 else x,
    "divisor": lambda x: x * math.gcd(x.shape[1], 4),
    "table": lambda x: x * [3, 1, 4, 1, 5, 9, 2, 6][plain(x.shape[1]) % 8],
    "text": lambda x: x * len(str(x.shape[1])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_expression_is_refused(name: str) -> None:
    with pytest.raises(errors.FrozenDimension) as caught:
        fxonnx.compile(REFUSED[name], (torch.rand(2, 8),), dynamic_shapes=DIMS)
    assert caught.value.locations[0].file == __file__


def test_a_model_that_makes_other_calls_at_each_size_is_not_run_often(monkeypatch: pytest.MonkeyPatch) -> None:
    def growing(x: Tensor) -> Tensor:
        for at in range(x.shape[1]):
            x = x.sin() if plain(x.shape[1]) % (at + 2) else x + at
        return x

    runs: list[Run] = []
    record = Run.record
    monkeypatch.setattr(Run, "record", lambda run: (runs.append(run), record(run))[-1])
    with pytest.raises(errors.FrozenDimension, match="freezes"):
        fxonnx.compile(growing, (torch.rand(2, 8),), dynamic_shapes=DIMS)
    explaining = [run for run in runs if run.symbols.takes_plain and not run.symbols.counts]
    assert len(explaining) == 8


@pytest.mark.parametrize("go", [lambda n: range(n % 8), lambda n: np.arange(0, n, 40)[1:]], ids=["range", "array"])
def test_what_all_runs_go_through_as_often_is_not_at_other_sizes(go: Callable[[int], Iterable[Any]]) -> None:
    def model(x: Tensor) -> Tensor:
        for _ in go(x.shape[1]):
            x = x * 2
        return x

    compiled = fxonnx.compile(model, (torch.rand(2, 8),), dynamic_shapes={"x": {1: "n"}})
    for size in (8, 16, 11, 41, 160):
        x = torch.rand(2, size)
        torch.testing.assert_close(compiled(x), model(x))


def test_a_run_that_makes_many_more_calls_is_cut_off() -> None:
    """A loop that goes as often as the square of a size is a million calls at sizes far from the example's."""

    def growing(x: Tensor) -> Tensor:
        return sum(x[:, 0] * t for t in range(x.shape[1] ** 2))

    arguments = example_arguments(inspect.signature(growing), (torch.ones(2, 1_000),), {})
    leaves, _, tree = flatten(arguments.values)
    flat = Flat(growing, arguments.without_values(), tree)
    run = Run.prepare(Example(flat, ["x"], leaves, {}), SymbolTable(most_calls=100))
    with pytest.raises(TooManyCalls), Translating():
        run.record()
    assert len(run.tape.graph.nodes) <= 101
