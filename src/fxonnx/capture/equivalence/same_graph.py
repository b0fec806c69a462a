"""Whether a graph captured for fixed sizes is a graph with dynamic dims at those sizes: call by call, number by number.

Both come from one model, so calls stand in the same order. What the dynamic graph computes on sizes (`sym_size`,
arithmetic) the fixed one has as numbers: it is computed here, from the sizes in the fixed graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.call.tree import Branch, Constant, Slot, Tree
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.graph.clean import ALIASES
from fxonnx.capture.graph.functional_form import is_mutable, written_arguments
from fxonnx.capture.graph.views import storage
from fxonnx.location import Location

_CALLS = ("call_function", "get_attr")
_SLICE, _CONTIGUOUS = torch.ops.aten.slice.Tensor, torch.ops.aten.contiguous.default
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_SHAPED = frozenset({torch.ops.aten.expand.default, torch.ops.aten.view.default, torch.ops.aten.reshape.default})
_END = 2**63 - 1  # how torch writes "to the end"
_NUMBERS = (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool)


class Difference(Exception):
    """Where the two part: what each does, and the place in the model."""

    def __init__(self, general: str, fixed: str, location: Location) -> None:
        super().__init__(f"{fixed}, where the captured graph has {general}")
        self.location = location


def compare(general: CapturedGraph, fixed: CapturedGraph) -> None:
    """Raises Difference where `fixed` is not `general` at fixed sizes. Linear time."""
    matching = _Matching(general, fixed)
    matching.placeholders()
    matching.graphs(general.graph, fixed.graph)
    matching.results()


@dataclass(slots=True, eq=False)
class _Matching:
    """One comparison. `known` has for each node of the general graph its partner, a node or a number; `idle` for each
    call of the fixed graph that returns its argument the node that it is."""

    general: CapturedGraph
    fixed: CapturedGraph
    known: dict[fx.Node, Any] = field(default_factory=dict)
    idle: dict[fx.Node, fx.Node] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)  # memories that something writes to

    def placeholders(self) -> None:
        """Inputs by position; weights by key, where the fixed graph reads them too."""
        self.written = _written(self.general.graph) | _written(self.fixed.graph)
        self.known |= zip(self.general.inputs, self.fixed.inputs, strict=True)
        fixed = {each.key: (node, each.tensor) for node, each in self.fixed.weights.items()}
        for node, each in self.general.weights.items():
            if each.key in fixed and same_tensor(each.tensor, fixed[each.key][1]):
                self.known[node] = fixed[each.key][0]

    def graphs(self, general: fx.Graph, fixed: fx.Graph) -> None:
        """Match the calls of two graphs, whose placeholders are matched already."""
        calls = (node for node in fixed.nodes if node.op in _CALLS and not self._is_idle(node))
        for node in general.nodes:
            if node.op in _CALLS and not self._computed(node) and not self._passes(node):
                self._match(node, next(calls, None))
        if (extra := next(calls, None)) is not None:
            raise Difference("nothing", _say(extra), self.fixed.locator(extra))

    def _is_idle(self, node: fx.Node) -> bool:
        """Whether a call of the fixed graph returns its argument; notes it."""
        if self._returns_its_argument(node, node.args):
            self.idle[node] = self.idle.get(node.args[0], node.args[0])
        return node in self.idle

    def _passes(self, node: fx.Node) -> bool:
        """Pass over a call of the general graph that returns its argument."""
        args = fx.map_arg(tuple(node.args), self.known.get)
        if not self._returns_its_argument(node, args):
            return False
        self.known[node] = args[0]
        return True

    def _returns_its_argument(self, node: fx.Node, args: tuple[Any, ...]) -> bool:
        """Whether a call returns the tensor that it is given: x[:], contiguous(), or a view of the sizes that it has.

        Of those torch or the model makes a call or none, by the sizes. A copy of what is written to is none.
        """
        if str(node.target) in ALIASES:
            return True
        if node.target is _CONTIGUOUS:
            return not self.written & {storage(each.meta["val"]) for each in (node, node.args[0])}
        if not args or not isinstance(args[0], fx.Node):
            return False
        if node.target in _SHAPED:
            return _same_sizes(args[1], args[0].meta["val"].shape)
        if node.target is not _SLICE:
            return False
        dim, start, end, step = args[1:] + (0, None, None, 1)[len(args) - 1 :]
        size = args[0].meta["val"].shape[dim]
        whole = end in (None, _END) or (isinstance(end, int) and isinstance(size, int) and end >= size)
        return whole and start in (0, None) and step == 1

    def _computed(self, node: fx.Node) -> bool:
        """Compute a number from sizes, if it is one and all it takes is known."""
        reads_data = isinstance(node.target, torch._ops.OpOverload) and not str(node.target).startswith("aten.sym_")
        if reads_data or not callable(node.target) or not isinstance(node.meta.get("val"), _NUMBERS):
            return False
        args = [self._number(each) for each in node.args]
        if any(isinstance(each, fx.Node) for each in args):
            return False
        with suppress(ZeroDivisionError, ValueError, OverflowError):
            value = node.target(*args, **node.kwargs)
            if isinstance(value, (bool, int, float)):  # else a size that comes from data
                self.known[node] = value
        return node in self.known

    def _number(self, argument: Any) -> Any:
        """An argument as its number, or as the fake tensor whose size is asked for."""
        partner = self.known.get(argument, argument) if isinstance(argument, fx.Node) else argument
        value = partner.meta.get("val") if isinstance(partner, fx.Node) else partner
        return value if isinstance(value, torch.Tensor) else partner

    def _match(self, node: fx.Node, partner: fx.Node | None) -> None:
        if partner is None:
            raise Difference(_say(node), "nothing", self.general.locator(node))
        if node.op == partner.op == "get_attr":
            self._bodies(node, partner)
        elif not (
            node.target == partner.target
            and self._alike(*_differing_in_effect(node, partner))
            and _kinds(node) == _kinds(partner)
        ):
            raise Difference(_say(node), _say(partner), self.fixed.locator(partner))
        self.known[node] = partner

    def _bodies(self, node: fx.Node, partner: fx.Node) -> None:
        """The bodies of a higher-order op."""
        one, other = (getattr(each.graph.owning_module, str(each.target)).graph for each in (node, partner))
        self.known |= zip(one.find_nodes(op="placeholder"), other.find_nodes(op="placeholder"), strict=False)
        self.graphs(one, other)
        if not self._alike(one.output_node().args, other.output_node().args):
            raise Difference("one result", "another", self.fixed.locator(partner))

    def _alike(self, mine: Any, theirs: Any) -> bool:
        """Whether two arguments are the same, nodes by their partners, numbers by value and kind."""
        if isinstance(mine, fx.Node):
            mine = self.known.get(mine, mine)
        if isinstance(mine, (list, tuple)):
            return (
                isinstance(theirs, (list, tuple)) and len(mine) == len(theirs) and all(map(self._alike, mine, theirs))
            )
        if isinstance(mine, dict):
            return mine.keys() == theirs.keys() and all(self._alike(mine[key], theirs[key]) for key in mine)
        if isinstance(mine, fx.Node) or isinstance(theirs, fx.Node):
            return mine is self.idle.get(theirs, theirs)
        same = mine == theirs or (mine != mine and theirs != theirs)  # not a number is itself here
        return isinstance(mine, bool) == isinstance(theirs, bool) and same

    def results(self) -> None:
        """Match what the two return, and the new values of buffers behind it."""
        one, other = self.general, self.fixed
        mine, theirs = iter(one.outputs), iter(other.outputs)
        same = self._results(one.result, other.result, mine, theirs)
        if not same or not self._alike(list(mine), list(theirs)):
            raise Difference("another result", "one result", Location())

    def _results(self, mine: Tree, theirs: Tree, outputs: Iterator[Any], fixed_outputs: Iterator[Any]) -> bool:
        if isinstance(mine, Branch) and isinstance(theirs, Branch):
            same = mine.type is theirs.type and mine.keys == theirs.keys
            return same and all(
                self._results(one, other, outputs, fixed_outputs)
                for one, other in zip(mine.parts, theirs.parts, strict=True)
            )
        if isinstance(mine, Slot):
            return self._alike(next(outputs), theirs.value if isinstance(theirs, Constant) else next(fixed_outputs))
        return isinstance(mine, Constant) and isinstance(theirs, Constant) and mine.matches(theirs.value)


def _same_sizes(asked: Any, given: Sequence[Any]) -> bool:
    """Whether a tensor of the given sizes has those that are asked for; -1 is the rest."""
    return len(asked) == len(given) and all(
        size == -1 or (isinstance(size, int) and size == known) for size, known in zip(asked, given, strict=True)
    )


def _say(node: fx.Node) -> str:
    """A call with the numbers among its arguments."""
    leaves = pytree.tree_leaves((node.args, node.kwargs))
    numbers = [str(each) for each in leaves if isinstance(each, (bool, int, float))]
    return f"{node.target}({', '.join(numbers)})" if numbers else str(node.target)


def _written(graph: fx.Graph) -> set[int]:
    """The memories that a graph writes to, by the storages of their fake tensors."""
    nodes = [node for node in graph.nodes if is_mutable(node.target)]
    places = [
        node.kwargs.get(name, node.args[at] if at < len(node.args) else None)
        for node in nodes
        for at, name in written_arguments(node.target)
    ]
    leaves = [each.meta["val"] for each in pytree.tree_leaves(places) if isinstance(each, fx.Node)]
    return {storage(each) for each in leaves if isinstance(each, torch.Tensor)}


def _kinds(node: fx.Node) -> list[Any]:
    """dtype and rank of each tensor that a call returns."""
    leaves = pytree.tree_leaves(node.meta.get("val"))
    return [(each.dtype, each.dim()) for each in leaves if isinstance(each, torch.Tensor)]


def same_tensor(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two weights are one; constants of the model's code are made anew by each capture."""
    return one is other or (one.dtype is other.dtype and one.shape == other.shape and torch.equal(one, other))


def _differing_in_effect(node: fx.Node, partner: fx.Node) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The arguments of two calls, without what makes no difference at the partner's sizes.

    One query sees its one key, causal or not: transformers asks for a causal mask where there are several.
    """
    mine, theirs = _arguments(node), _arguments(partner)
    if partner.target is _ATTENTION and all(theirs[name].meta["val"].shape[-2] == 1 for name in ("query", "key")):
        del mine["is_causal"], theirs["is_causal"]
    return mine, theirs


def _arguments(node: fx.Node) -> dict[Any, Any]:
    """A call's arguments by name, left out or not."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {**dict(enumerate(node.args)), **node.kwargs}
    schema = node.target._schema.arguments
    given = {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
    given = {each.name: each.default_value for each in schema if each.name not in given} | given
    if node.target is _SLICE:
        given["start"] = 0 if given["start"] is None else given["start"]
        given["end"] = _END if given["end"] is None else given["end"]
    return given
