"""Runs that take plain numbers of sizes, and note them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fxonnx.capture.tracer.sizes.guards import GuardLog, Specialized
from fxonnx.capture.tracer.sizes.nodes import IntNode
from fxonnx.ir.dims import symbol
from fxonnx.location import Location

PLAIN: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "int": (int, 12),
    "index": (operator.index, 12),
    "range": (lambda n: list(range(n)), list(range(12))),
    "times a list": (lambda n: [0] * n, [0] * 12),
    "float": (lambda n: float(n / 5), 2.4),
    "int of a float": (lambda n: int(n / 5), 2),
    "math": (lambda n: math.exp(n / 12), math.e),
    "bits": (lambda n: n & 4, 4),
    "logarithm": (lambda n: torch.sym_int(torch._sym_log2(n)), 3),
}
TRUTHS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda n: (n**0.5).is_integer(),
    "comparison of floats": lambda n: n**0.5 > 3,
    "comparison of rounded floats": lambda n: round(n**0.5) == 3,
}


def size(*, takes_plain: bool) -> torch.SymInt:
    log = GuardLog({"n": 2}, {}, {"n": 12}, Location, takes_plain=takes_plain)
    return torch.SymInt(IntNode(symbol("n"), 12, log))


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_number_is_noted(name: str) -> None:
    function, expected = PLAIN[name]
    n = size(takes_plain=True)
    assert function(n) == expected
    assert {each.dim.symbols for each in n.node.guard_log.plain} == {frozenset({"n"})}
    assert not n.node.guard_log.specializations


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_number_is_refused(name: str) -> None:
    function, expected = PLAIN[name]
    n = size(takes_plain=False)
    with pytest.raises(Specialized):
        bool(function(n) == expected)
    assert n.node.guard_log.specializations
    assert not n.node.guard_log.plain


def test_text_is_a_plain_number_too() -> None:
    n = size(takes_plain=True)
    n.node.guard_log.in_model = True
    assert n.node.text() == str(n.node.hint)
    assert [each.value for each in n.node.guard_log.plain] == [n.node.hint]
    m = size(takes_plain=False)
    m.node.guard_log.in_model = True
    with pytest.raises(Specialized):
        m.node.text()


@pytest.mark.parametrize("takes_plain", [True, False])
@pytest.mark.parametrize("name", TRUTHS)
def test_a_truth_of_a_float_is_none_of_all_sizes(name: str, takes_plain: bool) -> None:
    n = size(takes_plain=takes_plain)
    with pytest.raises(Specialized):
        bool(TRUTHS[name](n))
    assert n.node.guard_log.specializations
