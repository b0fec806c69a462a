"""Decisions: where Python asks data for a truth and goes one way or the other.

if x.sum() > 0: …      while err > tol: …      y if mask.any() else z      value in tensor      max(a, b)

A run answers each question by its script, and with True beyond that; a mark on the tape tells what was asked. Which
ways there are, and how they join, is up to `paths`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from fxonnx.location import Location

NOT_ONE = NotImplemented
"""What `condition_of` says of a call that asks for no truth."""


def decided(condition: Any, number: int) -> None:
    """The target of marks: the run's decision with this number was taken by this condition."""


def is_mark(node: fx.Node) -> bool:
    """Whether a node is the mark of a decision."""
    return node.op == "call_function" and node.target is decided


@dataclass(frozen=True, slots=True)
class Decision:
    """A question that a run was asked, as its mark on the tape, its answer and its place; and how many symbols there
    were of data."""

    mark: fx.Node
    answer: bool
    location: Location
    symbols: int


@dataclass(slots=True, eq=False)
class Decisions:
    """The questions of one run, in order, and the `script` of answers to the first ones."""

    script: tuple[bool, ...]
    locate: Callable[[], Location]
    made: list[Decision] = field(default_factory=list)

    @property
    def answers(self) -> tuple[bool, ...]:
        """What was answered."""
        return tuple(each.answer for each in self.made)

    def answer(self, record: Callable[[int], fx.Node], symbols: int) -> bool:
        """The answer to the next question; `record(number)` marks it on the tape."""
        number = len(self.made)
        said = self.script[number] if number < len(self.script) else True
        self.made.append(Decision(record(number), said, self.locate(), symbols))
        return said


# ── what asks for a truth ────────────────────────────────────────


def condition_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The tensor of one element whose truth a function of torch's gives to Python; NOT_ONE for any other function."""
    condition = _CONDITIONS.get(func)
    return NOT_ONE if condition is None else condition(*args, **kwargs)


def _itself(tensor: torch.Tensor) -> Any:
    return tensor if tensor.numel() == 1 else NOT_ONE


def _item(tensor: torch.Tensor) -> Any:
    return tensor if tensor.dtype is torch.bool and tensor.numel() == 1 else NOT_ONE


def _equal(one: torch.Tensor, other: torch.Tensor) -> Any:
    return (one == other).all() if one.shape == other.shape and one.dtype is other.dtype else NOT_ONE


def _all_close(*args: Any, **kwargs: Any) -> Any:
    return torch.isclose(*args, **kwargs).all()


def _contains(tensor: torch.Tensor, element: Any) -> Any:
    return (element == tensor).any() if isinstance(element, (torch.Tensor, int, float, bool)) else NOT_ONE


_CONDITIONS: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__bool__: _itself,
    torch.Tensor.__contains__: _contains,
    torch.Tensor.allclose: _all_close,
    torch.Tensor.equal: _equal,
    torch.Tensor.is_nonzero: _itself,
    torch.Tensor.item: _item,
    torch.allclose: _all_close,
    torch.equal: _equal,
    torch.is_nonzero: _itself,
}
