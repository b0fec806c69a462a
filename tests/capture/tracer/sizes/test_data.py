"""Symbols that come from data: names, values in a run, bounds, and what checks let be known."""

from __future__ import annotations

from typing import Any
from weakref import WeakMethod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fxonnx
from fxonnx import errors
from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.tracer.sizes.data import DataSymbols
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import DATA
from fxonnx.capture.tracer.sizes.nodes import BoolNode, FloatNode, sym_int
from fxonnx.ir.dims import Dim, evaluate, symbol
from fxonnx.location import Location


def log() -> GuardLog:
    return GuardLog({"n": 2, "u1": 2}, {}, {"n": 13, "u1": 17}, Location)


def size(guard_log: GuardLog, dim: Dim) -> Any:
    return sym_int(dim, guard_log.data.value(dim), guard_log)


def test_names_are_those_of_no_input() -> None:
    data = log().data
    assert [str(data.new_size()) for _ in range(3)] == ["u0", "u2", "u3"]
    assert str(data.new_number()) == "u4 - u4_below"


def test_values_are_within_the_limit() -> None:
    data = log().data
    for limit in (1, 4, 100, symbol("n")):
        assert data.value(data.new_size(limit)) <= data.value(limit)


KNOWN = {
    "not negative": lambda u, n: u >= 0,
    "no more than there are": lambda u, n: u <= n,
    "less than more": lambda u, n: u < n + 1,
    "a rest": lambda u, n: n - u >= 0,
    "twice": lambda u, n: 2 * u <= 2 * n,
    "with another term": lambda u, n: u + 3 <= n + 3,
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_limit_that_is_a_dim_bounds(name: str) -> None:
    guard_log = log()
    n = symbol("n")
    u = guard_log.data.new_size(n)
    assert KNOWN[name](size(guard_log, u), size(guard_log, n)).node.statically_known() is True


@given(st.sampled_from(sorted(RELATIONS)), st.integers(-3, 6), st.booleans())
def test_what_is_checked_is_known_and_nothing_else(relation: str, bound: int, is_size: bool) -> None:
    guard_log = log()
    dim = guard_log.data.new_size() if is_size else guard_log.data.new_number()
    guard_log.learn(relation, dim, bound)
    assert guard_log.statically_known(relation, dim, bound) is True
    names = sorted(dim.symbols)
    for value in range(0 if is_size else -6, 9):
        parts = {names[0]: max(value, 0), **{below: max(-value, 0) for below in names[1:]}}
        assert evaluate(dim, parts) == value
        if not RELATIONS[relation](value, bound):
            continue
        for other, compare in RELATIONS.items():
            for right in range(-4, 8):
                known = guard_log.statically_known(other, dim, right)
                assert known is None or known is compare(value, right)


def test_sizes_that_agree_are_one() -> None:
    guard_log = log()
    a, b = guard_log.data.new_size(), guard_log.data.new_size()
    assert guard_log.statically_known("==", a, b) is None
    guard_log.learn("==", a, b)
    assert guard_log.statically_known("==", b, a) is True
    assert guard_log.statically_known("!=", a, b) is False


QUESTIONS = {
    "a size": lambda u, f, b: bool(u > 3),
    "a float": lambda u, f, b: bool(f * 2 > 0.5),
    "a truth": lambda u, f, b: bool(b),
    "both": lambda u, f, b: bool((u > 3) & (u < 5)),
    "a size for a truth": lambda u, f, b: bool(u),
    "a plain number": lambda u, f, b: int(u),
    "a plain float": lambda u, f, b: float(f),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_nobody_answers_by_the_value_of_a_run(name: str) -> None:
    guard_log = log()
    data = guard_log.data
    truth = torch.SymBool(BoolNode((DATA, data.new_value()), True, guard_log))
    number = torch.SymFloat(FloatNode((DATA, data.new_value()), 0.5, guard_log))
    with pytest.raises(errors.DataDependentControlFlow):
        QUESTIONS[name](size(guard_log, data.new_size()), number, truth)
    assert guard_log.refused
    assert not guard_log.entries


class No:
    """Answers no, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def decide(self, condition: Any) -> bool:
        self.asked.append(str(condition))
        return False


def test_whoever_decides_is_asked() -> None:
    guard_log, no = log(), No()
    guard_log.decide = WeakMethod(no.decide)
    assert not size(guard_log, guard_log.data.new_size()) > 3
    assert no.asked == [">(u0, 3)"]


def test_data_symbols_are_empty_at_first() -> None:
    assert not DataSymbols({}, (), {})


def test_of_a_rounded_size_as_many_are_selected() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        part = x[: round(x.shape[0] * 0.7)]
        found = part[part[:, 0] > 0]
        return found * 2 if found.numel() > 4 else found

    compiled = fxonnx.compile(model, (torch.randn(9, 3),), dynamic_shapes={"x": {0: "n"}}, capture="trace")
    for size in (9, 4, 1, 30):
        x = torch.randn(size, 3)
        torch.testing.assert_close(compiled(x), model(x))


def test_the_cure_for_a_range_of_a_number_from_data_works() -> None:
    def model(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for row in range(int(mask.sum())):
            x = torch.tanh(x + row) if row % 2 else x / 2
        return x

    def cured(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for row in range(mask.shape[0]):
            x = torch.where(row < mask.sum(), torch.tanh(x + row) if row % 2 else x / 2, x)
        return x

    arguments = torch.rand(3), torch.tensor([1, 1, 0, 0])
    with pytest.raises(errors.DataDependentControlFlow) as raised:
        fxonnx.compile(model, arguments)
    assert "torch.where(i < n, after, before)" in raised.value.cure
    compiled = fxonnx.compile(cured, arguments)
    for count in range(5):
        x, mask = torch.rand(3), (torch.arange(4) < count).long()
        torch.testing.assert_close(compiled(x, mask), model(x, mask))
