"""Assertions on data in a graph: calls that return nothing, and raise where their condition is false."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxonnx.errors import CallMismatch, CheckFailed
from fxonnx.location import Location

aten = torch.ops.aten
ASSERTION = aten._assert_async.msg
_TARGETS = frozenset(
    {
        ASSERTION,
        aten._assert_async.default,
        aten._assert_scalar.default,
        aten._functional_assert_async.msg,
        aten._functional_assert_scalar.default,
    }
)


ONE_LEFT = "one element is left, and squeeze drops its axis"
"""What an assertion of ours says, where the rank of a value would come from data."""


def is_check(node: fx.Node) -> bool:
    """Whether a node is an assertion on data."""
    return node.op == "call_function" and node.target in _TARGETS


QUESTION = "a loop goes on"
"""What an assertion says that stands for the question of a loop, in a run whose turns are given: not that it holds."""


def is_question(node: fx.Node) -> bool:
    """Whether a node is what a loop asks in each of its turns: the truth with which it goes on."""
    return is_check(node) and node.args[1:2] == (QUESTION,)


def answered(relation: str, difference: Any, answer: bool) -> None:
    """The target of marks in runs whose loops are to be rolled up: the model's Python was answered whether `difference`
    is above 0, or what else the relation says: `if t == 40` is answered("==", t - 40, False)."""


def is_answer(node: fx.Node) -> bool:
    """Whether a node is such a mark."""
    return node.op == "call_function" and node.target is answered


@dataclass(frozen=True, slots=True)
class Check:
    """What a model checks of its data: the call of the assertion, what it says where its condition is false, and its
    place."""

    node: fx.Node
    text: str
    location: Location


def checks_of(graph: fx.Graph, locate: Callable[[fx.Node], Location]) -> tuple[Check, ...]:
    """The assertions of a graph."""
    found = (node for node in graph.nodes if is_check(node))
    return tuple(Check(node, str(next(iter(node.args[1:2]), "")), locate(node)) for node in found)


class Said(str):
    """What an assertion says where its condition is false: it computes nothing, and no two calls differ in it."""


_NUMBER = re.compile(r"(\d+)")


def said_by_all(texts: Sequence[str]) -> Said:
    """What the assertions of several runs say, with … for the numbers that are others in each: sizes, where Python has
    written them into it."""
    pieces = [_NUMBER.split(each) for each in texts]
    if len({len(each) for each in pieces}) > 1:
        return Said(texts[0])
    return Said("".join(each[0] if len(set(each)) == 1 else "…" for each in zip(*pieces, strict=True)))


def refuse_failed(checks: Sequence[Check], truths: Sequence[torch.Tensor]) -> None:
    """Raise CheckFailed for the first check that does not hold; CallMismatch where it is one of ours."""
    for check, truth in zip(checks, truths, strict=True):
        if not truth and check.text == ONE_LEFT:
            raise CallMismatch(
                f"the model does not hold for this data: {ONE_LEFT}",
                cause="the file has one rank for each value",
                cure="say which axis to squeeze: .squeeze(-1) keeps the one that the data fills",
                location=check.location,
            )
        if not truth:
            raise CheckFailed(
                f"the model refuses its inputs: {check.text or check.location.code}",
                cause="it checks this itself, and raises",
                cure="give inputs that meet it",
                location=check.location,
            )
