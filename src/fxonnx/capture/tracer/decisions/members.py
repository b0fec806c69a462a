"""Loops over the numbers that data selects out of a fixed range: for each one of the range it is decided whether it is
among them.

    for expert in (counts > 0).nonzero():           the numbers from 0 to the length of counts
    for label in scores.argmax(-1).unique():        those to the size of the axis

Both give each number once, in order. What the loop gives are constants: `self.experts[expert]` takes one of a list.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.functional_form import memories_written
from fxonnx.capture.graph.views import argument, storage
from fxonnx.capture.tracer.decisions.script import MOST_TIMES
from fxonnx.capture.tracer.sizes.nodes import dim_of

aten = torch.ops.aten
_SHAPED = frozenset({"view", "reshape", "flatten", "squeeze", "unsqueeze", "select", "clone", "detach", "contiguous",
                     "alias", "to", "_to_copy"})  # fmt: skip
_MOVED = _SHAPED | {"permute", "transpose", "t", "expand", "slice", "narrow", "repeat"}
_PLACES = {"argmax": None, "argmin": None, "argsort": None, "topk": 1, "sort": 1, "max": 1, "min": 1, "kthvalue": 1}
"""op that returns places on an axis -> which of its results they are; None where it has one"""


def members(rows: torch.Tensor, node: fx.Node) -> Iterator[torch.Tensor] | None:
    """The rows of a selection, which a node stands for, each as a constant where it is there; None where it is none, or
    where the range is not known."""
    count = _count(rows, node)
    if count is None:
        return None
    flat = rows.reshape(-1, 1)
    return _present((flat == torch.arange(count, dtype=rows.dtype)).any(0), rows)


def _present(truths: torch.Tensor, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    for number, is_there in enumerate(truths.unbind()):
        if is_there:
            yield torch.full(rows.shape[1:], number, dtype=rows.dtype)


def _count(rows: torch.Tensor, node: fx.Node) -> int | None:
    """How many numbers there are, from 0 on, of which the rows are some, once each and in order."""
    passed = [node, *_back(node, _SHAPED)]
    source, place = _call(passed[-1])
    if _name(source) not in ("nonzero", "nonzero_numpy", "_unique2") or place:
        return None
    if dim_of(rows.shape[0]) != dim_of(passed[-1].meta["val"].shape[0]) or any(size != 1 for size in rows.shape[1:]):
        return None
    chosen: Any = source.args[0]
    if _name(source) == "_unique2":
        passed += [chosen, *_back(chosen, _MOVED)]
        count = _places(passed[-1]) if argument(source, "sorted") else None
    else:
        count = chosen.meta["val"].shape[0] if chosen.meta["val"].dim() == 1 else None
        passed.append(source)
    is_known = isinstance(count, int) and count <= MOST_TIMES
    return count if is_known and not _is_written(passed) else None


def _places(node: fx.Node) -> Any:
    """The size of the axis on which a tensor's numbers are places."""
    source, place = _call(node)
    if _name(source) not in _PLACES or _PLACES[_name(source)] != place:
        return None
    axis = argument(source, "dim")
    return source.args[0].meta["val"].shape[axis] if isinstance(axis, int) else None


def _back(node: fx.Node, names: frozenset[str]) -> Iterator[fx.Node]:
    """What a tensor was made of by ops of these names, which take its elements as they are."""
    while _name(node) in names:
        node = node.args[0]
        yield node


def _call(node: fx.Node) -> tuple[fx.Node, Any]:
    """The call that returns a tensor, and which of its results it is."""
    return (node.args[0], node.args[1]) if node.target is operator.getitem else (node, None)


def _is_written(passed: list[fx.Node]) -> bool:
    """Whether something was written to what these hold since the first of them was made."""
    values = [each.meta["val"] for each in passed]
    held = {storage(each) for each in values if isinstance(each, torch.Tensor)}
    after = takewhile(lambda each: each is not passed[-1], reversed(passed[-1].graph.nodes))
    return not held.isdisjoint(memories_written(after))


def _name(node: fx.Node) -> str:
    return node.target.overloadpacket.__name__ if isinstance(node.target, torch._ops.OpOverload) else ""


__all__ = ["members"]
