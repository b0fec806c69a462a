"""Two ways, value by value: which values are one and the same, which come of the same call on others, and which differ.

common    both compute it: it has one value number, and so has all that it is computed of
suffix    the same call, at the same place in the model, of values that are common, suffix or branch
branch    anything else: the two ways have each a value of their own
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.equivalence.value_numbers import Number, NumberedGraph, ValueNumbers, constant_number
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.paths.copying import inputs_of, is_drawn
from fxonnx.capture.tracer.paths.sizes import Agreement, DataSizes
from fxonnx.capture.tracer.paths.way import Way

Pair: TypeAlias = tuple[Any, Any]
"""a value of one way, and that in its place of the other: nodes or plain numbers"""

_READS_STRIDES = frozenset({torch.ops.aten.as_strided.default})
"""ops that ask how a value lies in memory, which what stands for two does not keep"""


@dataclass(eq=False, slots=True)
class Side:
    """One of two ways, numbered. `common` are its nodes that the other way has too."""

    way: Way
    numbers: dict[fx.Node, Any]
    common: dict[fx.Node, Any] = field(default_factory=dict)  # node -> its number

    @staticmethod
    def of(way: Way, mark: fx.Node, shared: ValueNumbers, sizes: DataSizes) -> Side:
        """A way, numbered together with others. What it computes behind the mark is another value than the same before:
        a way to the same state may have other values before it."""
        numbered = NumberedGraph(shared, way.weights, sizes.dim)
        numbered.add(way.graph.nodes)
        numbers: dict[fx.Node, Any] = {}
        met, is_before = Counter[Any](), True
        for node, number in numbered.numbers.items():
            is_before = is_before and node is not mark
            is_value = isinstance(number, Number) and isinstance(node.meta.get("val"), (torch.Tensor, list, tuple))
            key = type(number), node.args[1] if is_mark(node) else number  # a size of 1 is no truth
            met[key] += is_before
            numbers[node] = (*key, met[key] if is_before else 0) if is_value and node.op != "placeholder" else key
        return Side(way, numbers)

    def number(self, node: fx.Node) -> Any:
        """The number of a node."""
        return self.numbers[node]

    def values(self) -> dict[fx.Node, Any]:
        """The number of each node but bodies."""
        return {node: self.number(node) for node in self.way.graph.nodes if node.op != "get_attr"}


class Pairs:
    """What the pairs of two ways are. Asked whether values are alike, it lets their sizes be one."""

    def __init__(self, one: Side, other: Side, sizes: DataSizes) -> None:
        self._one, self._other, self._sizes = one, other, sizes
        self._alike: dict[Pair, bool] = {}
        self._drawn: dict[fx.Node, bool] = {}
        self._agree = Agreement(sizes, sizes.names(one.way.graph), sizes.names(other.way.graph))
        _find_common(one, other)
        self._agree_on_sizes()

    def is_common(self, one: Any, other: Any) -> bool:
        """Whether two values are the same value, which both ways have before they part, or in spite of it."""
        if not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
            return not isinstance(one, fx.Node) and not isinstance(other, fx.Node) and _same_constant(one, other)
        return one in self._one.common and self._one.common[one] == self._other.common.get(other)

    def is_joinable(self, one: Any, other: Any) -> bool:
        """Whether one value can stand for both: tensors of one kind."""
        if self.is_common(one, other) or not isinstance(one, fx.Node) or not isinstance(other, fx.Node):
            return self.is_common(one, other)
        value = one.meta.get("val")
        if one.op == "get_attr" or isinstance(value, (list, tuple)):
            return self.is_suffix(one, other) or self._one.number(one) == self._other.number(other)
        return self._is_one_kind(value, other.meta.get("val"))

    def unlike_sizes(self, one: torch.Tensor, other: torch.Tensor) -> list[bool]:
        """Which sizes of two tensors nothing stands for."""
        sizes = zip(one.shape, other.shape, strict=True)
        return [not self._agree(self._sizes.dim(mine), self._sizes.dim(theirs)) for mine, theirs in sizes]

    def _is_one_kind(self, one: Any, other: Any) -> bool:
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            is_like = one.dtype is other.dtype and one.dim() == other.dim()
            return is_like and not any(self.unlike_sizes(one, other))
        if isinstance(one, torch.SymInt) and isinstance(other, torch.SymInt):
            return self._agree(self._sizes.dim(one), self._sizes.dim(other))
        return type(one) is type(other) and isinstance(one, (torch.SymBool, torch.SymFloat))

    def is_suffix(self, one: Any, other: Any) -> bool:
        """Whether two values come of one call, on arguments that differ in nothing but values."""
        if (one, other) not in self._alike:
            self._alike[one, other] = self._is_one_call(one, other) and all(
                self.is_joinable(*pair) for pair in self.arguments(one, other)
            )
        return self._alike[one, other]

    def arguments(self, one: fx.Node, other: fx.Node) -> list[Pair]:
        """The arguments of two like calls, in pairs."""
        return list(zip(_leaves(one)[0], _leaves(other)[0], strict=True))

    def _is_one_call(self, one: Any, other: Any) -> bool:
        if not (isinstance(one, fx.Node) and isinstance(other, fx.Node) and one.op == other.op == "call_function"):
            return False
        if one in self._one.common or other in self._other.common:
            return False  # it is there already, and what comes in a known state is told of it alone
        if one.target is not other.target or is_mark(one) or is_check(one) or self._is_drawn(one):
            return False
        is_like = _place(one) == _place(other) and _leaves(one)[1] == _leaves(other)[1]
        return is_like and one.target not in _READS_STRIDES

    def _agree_on_sizes(self) -> None:
        """Let symbols of data be one that common values have, and what is selected at one place, from the end on."""
        first: dict[Any, fx.Node] = {}
        for node, number in self._one.common.items():
            first.setdefault(number, node)
        for node, number in self._other.common.items():
            if number in first:
                self._pair_sizes(first[number], node)
        calls: dict[Any, list[fx.Node]] = {}
        for node in self._one.way.graph.nodes:
            if node.op == "call_function" and node not in self._one.common:
                calls.setdefault((node.target, *_place(node)), []).append(node)
        for node in reversed(self._other.way.graph.nodes):
            same = calls.get((node.target, *_place(node))) if node not in self._other.common else None
            if same:
                self._pair_sizes(same.pop(), node)

    def _pair_sizes(self, one: fx.Node, other: fx.Node) -> None:
        mine, theirs = (self._sizes.dims(node.meta.get("val")) for node in (one, other))
        for size, other_size in zip(mine, theirs, strict=False):
            self._agree(size, other_size)

    def _is_drawn(self, node: fx.Node) -> bool:
        if node not in self._drawn:
            self._drawn[node] = is_drawn(node)
        return self._drawn[node]


def _find_common(one: Side, other: Side) -> None:
    """The values that both compute, and that the first computes of nothing but such; and what they are given."""
    theirs, known = set(other.values().values()), set[Any]()
    for node, number in one.values().items():
        is_known = number in theirs and all(one.number(each) in known for each in inputs_of(node))
        if node.op == "placeholder" or is_known:
            known.add(number)
    for side in (one, other):
        values = side.values().items()
        side.common = {node: number for node, number in values if number in known or node.op == "placeholder"}


def _leaves(node: fx.Node) -> tuple[list[Any], Any]:
    return pytree.tree_flatten((node.args, node.kwargs))


def _place(node: fx.Node) -> tuple[Any, ...]:
    modules: Iterable[Any] = (node.meta.get("nn_module_stack") or {}).values()
    return node.meta.get("stack_trace"), tuple(modules)[-1:]


def _same_constant(one: Any, other: Any) -> bool:
    return bool(constant_number(one) == constant_number(other)) and type(one) is type(other)
