"""Whether two runs that come to one state of Python go on alike, and which values of the one are which of the other.

Both runs are followed call by call behind the marks of their decisions. What they read of what came before is thereby
paired, also what only stacks and iterators of Python's hold: it is in no variable.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, substitute, symbol, symbols_of

_NUMBERS = (torch.SymInt, torch.SymFloat, torch.SymBool)


class Parted(Exception):
    """Two runs in one state do something else."""


def lockstep(mark: fx.Node, there: fx.Node) -> Lockstep:
    """Two runs behind two marks, which both come to their ends with the same calls. Raises Parted. Linear time."""
    (condition, _, held), (other_condition, _, others) = mark.args, there.args
    pairs = Lockstep(_behind(mark), _behind(there))
    for one, other in zip((condition, *held), (other_condition, *others), strict=True):
        pairs.pair(one, other)
    one_calls, other_calls = filter(_is_step, pairs.behind), filter(_is_step, pairs.others_behind)
    for one, other in zip(one_calls, other_calls, strict=False):
        pairs.step(one, other)
    if next(one_calls, None) is not None or next(other_calls, None) is not None:
        raise Parted
    return pairs


@dataclass(slots=True, eq=False)
class Lockstep:
    """The values of two runs in pairs; `behind` are the nodes of each behind its mark."""

    behind: dict[fx.Node, None]
    others_behind: dict[fx.Node, None]
    values: dict[fx.Node, fx.Node] = field(default_factory=dict)
    names: dict[str, Dim] = field(default_factory=dict)  # symbol from data -> what it is in the other run

    def step(self, one: fx.Node, other: fx.Node) -> None:
        """A call that both make."""
        self._call(one, other)
        self.values[one] = other
        self._sizes(one.meta.get("val"), other.meta.get("val"))

    def pair(self, one: Any, other: Any) -> None:
        """Two arguments, or results, that are to be one."""
        if not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
            self._constant(one, other)
        elif one.op == "get_attr" or other.op == "get_attr":
            _same_body(one, other)
        elif isinstance(one.meta.get("val"), torch.SymInt):
            self._dims(one.meta["val"], other.meta.get("val"))
        elif one in self.values:
            _require(self.values[one] is other)
        elif one in self.behind:
            _require(not _is_step(one) and other in self.others_behind)
            self.step(one, other)
        else:
            _require(other not in self.others_behind)
            self.values[one] = other
            self._sizes(one.meta.get("val"), other.meta.get("val"))

    def _call(self, one: fx.Node, other: fx.Node) -> None:
        _require(one.target is other.target)
        count = 1 if is_mark(one) or is_check(one) else None  # both ask for the first of their arguments
        (leaves, structure), (others, other_structure) = (_leaves(each, count) for each in (one, other))
        _require(structure == other_structure)
        for each in zip(leaves, others, strict=True):
            self.pair(*each)

    def arguments(self, one: fx.Node, other: fx.Node) -> list[tuple[fx.Node, fx.Node]]:
        """The tensors that two calls before the marks compute theirs of, in pairs, where they are one call of the same
        numbers; none of two that are not."""
        if one.op != "call_function" or one.target is not other.target or is_mark(one):
            return []
        (leaves, structure), (others, other_structure) = map(_leaves, (one, other))
        given = list(zip(leaves, others, strict=False)) if structure == other_structure else []
        if not all(self._is_alike(*each) for each in given):
            return []
        return [each for each in given if isinstance(each[0], fx.Node) and each[0].op == "call_function"]

    def _is_alike(self, one: Any, other: Any) -> bool:
        """Whether two arguments are both tensors, or what is known to be one number."""
        if isinstance(one, fx.Node) and isinstance(other, fx.Node):
            mine, theirs = (each.meta.get("val") for each in (one, other))
            if isinstance(mine, torch.SymInt) and isinstance(theirs, torch.SymInt):
                return substitute(dim_of(mine), self.names) == dim_of(theirs)
            return one.op == other.op and one.op != "get_attr"
        return type(one) is type(other) and not isinstance(one, _NUMBERS) and bool(one == other)

    def _constant(self, one: Any, other: Any) -> None:
        if isinstance(one, torch.SymInt) or isinstance(other, torch.SymInt):
            self._dims(one, other)
        else:
            _require(type(one) is type(other) and (one == other or one != one))

    def _sizes(self, one: Any, other: Any) -> None:
        """The sizes of two values, whose symbols from data are told here."""
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            _require(one.dtype is other.dtype and one.dim() == other.dim())
            for each in zip(one.shape, other.shape, strict=True):
                self._dims(*each)
        elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            _require(len(one) == len(other))
            for each in zip(one, other, strict=True):
                self._sizes(*each)
        elif isinstance(one, torch.SymInt):
            self._dims(one, other)
        else:
            _require(type(one) is type(other))

    def _dims(self, one: Any, other: Any) -> None:
        _require(isinstance(other, (int, torch.SymInt)))
        mine, theirs = dim_of(one), dim_of(other)
        told = symbols_of([mine]) - self.names.keys()
        new = symbols_of([theirs]) - {str(each) for each in self.names.values()}
        _require(len(told) == len(new))
        self.names |= {name: symbol(name) for name in told & new}
        pairs = zip(sorted(told - new), sorted(new - told), strict=True)
        self.names |= {name: symbol(other_name) for name, other_name in pairs}
        _require(substitute(mine, self.names) == theirs)


def _leaves(node: fx.Node, count: int | None = None) -> tuple[list[Any], Any]:
    return pytree.tree_flatten((node.args[:count], node.kwargs))


def _behind(mark: fx.Node) -> dict[fx.Node, None]:
    """The nodes behind a mark."""

    def nodes() -> Iterator[fx.Node]:
        node = mark.next
        while node.op != "root":
            yield node
            node = node.next

    return dict.fromkeys(nodes())


def _is_step(node: fx.Node) -> bool:
    """Whether a node is a call of the model's; elements and numbers of sizes are made where they are first read."""
    if node.op != "call_function" or node.target is operator.getitem:
        return False
    if is_mark(node) or is_check(node) or not isinstance(node.meta.get("val"), _NUMBERS):
        return True
    return isinstance(node.target, torch._ops.OpOverload) and not str(node.target).startswith("aten.sym_")


def _same_body(one: fx.Node, other: fx.Node) -> None:
    """Let the bodies of two higher-order ops be one."""
    _require(one.op == other.op)
    graphs = [getattr(each.graph.owning_module, str(each.target)).graph for each in (one, other)]
    nodes = [list(graph.nodes) for graph in graphs]
    pairs = Lockstep(dict.fromkeys(nodes[0]), dict.fromkeys(nodes[1]))
    _require(len(nodes[0]) == len(nodes[1]))
    for mine, theirs in zip(*nodes, strict=True):
        _require(mine.op == theirs.op)
        if mine.op == "placeholder":
            pairs.values[mine] = theirs
        elif mine.op != "get_attr":
            pairs.step(mine, theirs)


def _require(is_so: bool) -> None:
    if not is_so:
        raise Parted
