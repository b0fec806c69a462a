"""Lists of tensors that a loop has made: stacked along a first axis, and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fxonnx.capture.tracer.record import Tape

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Tensors that stand stacked along a first axis."""

    stack: Any


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Tensors that stand joined along an axis, each of a size of its own."""

    whole: Any
    axis: int


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
