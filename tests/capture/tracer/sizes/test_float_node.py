"""Floats of sizes: what is said of the quotient must be what the float does."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer.sizes.float_node import FloatNode
from fxonnx.capture.tracer.sizes.guards import GuardLog, Specialized
from fxonnx.capture.tracer.sizes.nodes import IntNode
from fxonnx.ir.dims import ceil_divide, evaluate, floor_divide, modulo, symbol
from fxonnx.location import Location

NAMES = ("n", "m")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
}  # fmt: skip
NUMBERS = st.integers(-40, 40).filter(bool) | st.sampled_from([0.5, 0.25, -1.5, 2.0, 2.5, 0.1, 0.3, 1 / 3])
STEP = st.tuples(st.sampled_from(list(OPERATORS)), NUMBERS | st.sampled_from(NAMES), st.booleans())
STEPS = st.lists(STEP, max_size=5)
SIZES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(2, 2**20)))


def node_and_value(steps: list[Any], hints: dict[str, int], sizes: dict[str, int]) -> tuple[FloatNode, float]:
    """The node that a chain of operations makes of the float of n, and the float that they make of it."""
    guard_log = GuardLog(dict.fromkeys(NAMES, 2), {}, hints, Location)

    def operand(item: Any) -> tuple[Any, float]:
        if isinstance(item, str):
            return IntNode(symbol(item), hints[item], guard_log).sym_float(), float(sizes[item])
        if isinstance(item, int):
            return IntNode(item, item, guard_log).sym_float(), float(item)
        return IntNode(2, 2, guard_log).wrap_float(item), item

    node, value = operand("n")
    for name, item, turned in steps:
        other, number = operand(item)
        pairs = ((other, node), (number, value)) if turned else ((node, other), (value, number))
        node = getattr(pairs[0][0], name)(pairs[0][1])
        value = OPERATORS[name](*pairs[1])
    return node, value


@given(STEPS, SIZES, SIZES)
def test_a_quotient_rounds_as_the_float_does(steps: list[Any], hints: dict[str, int], sizes: dict[str, int]) -> None:
    try:
        node, value = node_and_value(steps, hints, sizes)
    except ZeroDivisionError:
        assume(False)
    assume(node.quotient is not None)
    assume(all(abs(evaluate(side, sizes)) < 2**52 for side in node.quotient))
    assert evaluate(floor_divide(*node.quotient), sizes) == math.floor(value)
    assert evaluate(ceil_divide(*node.quotient), sizes) == math.ceil(value)
    assert (evaluate(modulo(*node.quotient), sizes) == 0) is value.is_integer()


@given(st.integers(-(2**52), 2**52), st.integers(1, 2**52), st.integers(1, 2**20))
def test_a_rounded_quotient_is_on_the_side_of_whole_numbers_where_the_exact_one_is(a: int, b: int, c: int) -> None:
    assert math.floor(a / b) == a // b
    assert math.ceil(a / b) == -(-a // b)
    assert math.floor(a / b / c) == a // (b * c)


@pytest.mark.parametrize(
    ("steps", "floor"),
    [
        ([("truediv", 3, False)], "n // 3"),
        ([("truediv", "m", False)], "n // m"),
        ([("truediv", 3, False), ("truediv", 5, False)], "n // 15"),
        ([("add", 2, False), ("truediv", 3, False), ("add", 1, False)], "((n + 2) // 3) + 1"),
        ([("sub", 100, False), ("truediv", 3, False)], "((n + 2) // 3) - 34"),
        ([("mul", 0.5, False), ("add", 0.5, False)], "(n + 1) // 2"),
        ([("truediv", 2, False), ("truediv", "m", False), ("mul", 4, False)], "(2*n) // m"),
        ([("truediv", 100, False), ("mul", 100, False)], None),
        ([("mul", 0.1, False)], None),
        ([("truediv", 3, False), ("sub", 0.1, False)], None),
        ([("truediv", 7, True), ("truediv", 3, True)], None),
    ],
)
def test_which_floors_are_dims(steps: list[Any], floor: str | None) -> None:
    sizes = {"n": 11, "m": 7}
    node, _ = node_and_value(steps, sizes, sizes)
    assert (None if node.quotient is None else str(floor_divide(*node.quotient))) == floor


def test_two_that_were_rounded_apart_are_not_compared() -> None:
    sizes = {"n": 11, "m": 7}
    node, _ = node_and_value([("truediv", 3, False)], sizes, sizes)
    moved = node.add(node.wrap_float(1.0))
    assert moved._compare(">", node.wrap_float(2.0)).hint
    with pytest.raises(Specialized):
        moved._compare(">", node).guard_bool()


def test_a_quotient_that_is_whole_is_not_rounded() -> None:
    def windows(x: torch.Tensor) -> torch.Tensor:
        parts = x.new_zeros(x.shape[0] * (x.shape[1] // 7 + 1), 2)
        rows = 7 * (x.shape[1] // 7) + 7
        return parts.view(int(parts.shape[0] / (rows / 7)), rows // 7, 2) + x.sum()

    compiled = fxonnx.compile(windows, torch.randn(3, 40), dynamic_shapes=({0: "n", 1: "m"},))
    assert not any("trunc" in str(node.target) for node in compiled.program.graph.nodes)
    for shape in ((3, 40), (1, 7), (5, 101)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), windows(x))


def test_a_size_that_is_divided_by_is_not_0() -> None:
    def relative(x: torch.Tensor) -> torch.Tensor:
        rows = columns = x.shape[0] // 8
        places = torch.arange(rows)[:, None] * max(columns / rows, 1.0) - torch.arange(columns)
        return places + x.sum()

    compiled = fxonnx.compile(relative, torch.randn(40), dynamic_shapes=({0: "n"},))
    for size in (40, 43, 8, 101):
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), relative(x))
    with pytest.raises(errors.CallMismatch):  # eager divides by 0
        compiled(torch.randn(7))


def test_halves_of_a_size_meet_in_the_size() -> None:
    def centred(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        places = torch.arange(-n / 2, n / 2) if n % 2 == 0 else torch.arange(-(n - 1) / 2, n / 2)
        return torch.roll(places, -(n // 2), 0) * x

    compiled = fxonnx.compile(centred, torch.randn(8), dynamic_shapes=({0: "n"},))
    for size in (8, 9, 1, 2, 101):
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), centred(x))
