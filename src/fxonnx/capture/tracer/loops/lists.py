"""Lists of tensors that a loop has made: stacked along a first axis, and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.record import Tape
from fxonnx.ir.dims import Dim

aten = torch.ops.aten


class Row(NamedTuple):
    """What a step of a loop's body returned in so many iterations (`length`): from `first` on, every `stride`-th."""

    loop: int
    step: int
    result: int | None
    first: Dim
    stride: int
    length: Dim


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Tensors that stand stacked along a first axis."""

    stack: Any


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Tensors that stand joined along an axis, each of a size of its own: `lengths`, int64[number of tensors]."""

    whole: Any
    axis: int
    lengths: Any


def _stacked(tape: Tape, tensors: Sequence[Any], dim: int = 0) -> Any:
    """torch.stack"""
    pieces = []
    for each in tensors:
        if isinstance(each, Rows):
            rank = each.stack.dim()
            axis = dim % rank
            order = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
            pieces.append(each.stack if axis == 0 else tape.call(aten.permute.default, (each.stack, order), {}))
        else:
            pieces.append(tape.call(aten.unsqueeze.default, (each, dim), {}))
    return pieces[0] if len(pieces) == 1 else tape.call(aten.cat.default, (pieces, dim), {})


def _joined(tape: Tape, tensors: Sequence[Any], dim: int = 0) -> Any:
    """torch.cat"""
    pieces = []
    for each in tensors:
        if isinstance(each, Rows):
            rank = each.stack.dim() - 1
            axis = dim % rank
            order = [*range(1, axis + 1), 0, *range(axis + 1, rank + 1)]
            moved = each.stack if axis == 0 else tape.call(aten.permute.default, (each.stack, order), {})
            pieces.append(tape.call(aten.flatten.using_ints, (moved, axis, axis + 1), {}))
        elif isinstance(each, Joined):
            pieces.append(each.whole)
        else:
            pieces.append(each)
    return pieces[0] if len(pieces) == 1 else tape.call(aten.cat.default, (pieces, dim), {})


JOINING: dict[Any, Callable[..., Any]] = {aten.stack.default: _stacked, aten.cat.default: _joined}
"""op that takes a list -> what computes the same of one with rows in it"""


# ── which they are ──────────────────────────────────────────────────────


def is_made(named: Any) -> bool:
    """Whether what a tape names so was made in an iteration of a loop."""
    return not isinstance(named, Outside) and len(named) == 4


def rows_of(named: Sequence[Any]) -> Iterator[Any]:
    """A list's parts; two and more of one step, a constant number of iterations apart, are a Row."""
    at = 0
    while at < len(named):
        end = at + 1
        first = named[at]
        if is_made(first):
            while end < len(named) and is_made(named[end]) and _continues(named, at, end):
                end += 1
        if end - at > 1:
            loop, step, result, iteration = first
            yield Row(loop, step, result, iteration, named[at + 1][3] - iteration, end - at)
        else:
            yield first
        at = end


def _continues(named: Sequence[Any], at: int, end: int) -> bool:
    stride = named[at + 1][3] - named[at][3]
    return named[end][:3] == named[at][:3] and named[end][3] - named[end - 1][3] == stride != 0
