"""What comes after a decision, put behind another way to the same state.

Ways that have gone apart and come to one state of Python again, but for what its tensors hold, go on alike. What one of
them does then, through all decisions that follow, need not be run again for the other: its graph is copied, with the
tensors that the other holds. That the other's own run is such a copy is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from fxonnx.capture.equivalence.value_numbers import NumberedGraph, ValueNumbers
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.paths.copying import Copy, inputs_of
from fxonnx.capture.tracer.paths.sizes import DataSizes
from fxonnx.capture.tracer.paths.way import Place, Way


def transplanted(source: Way, mark: fx.Node, onto: Way, there: fx.Node, sizes: DataSizes) -> Way | None:
    """The way `onto` up to its mark, and from there on what `source` does behind its own; None where that reads what
    the other way does not hold. Linear time."""
    return _Transplant(source, mark, onto, there, sizes).run()


def is_same_way(one: Way, other: Way, sizes: DataSizes) -> bool:
    """Whether two ways return, write, check and decide the same."""
    shared = ValueNumbers(sizes.symbols)
    return _said(one, shared, sizes) == _said(other, shared, sizes)


def _said(way: Way, shared: ValueNumbers, sizes: DataSizes) -> Any:
    numbered = _numbered(way, shared, sizes)
    asked = [numbered.of(node.args[0]) for node in way.graph.nodes if is_mark(node) or is_check(node)]
    written = {place: numbered.of(value) for place, value in way.written.items()}
    return numbered.of(way.results), written, asked, way.returned.tree, way.returned.effects


def _numbered(way: Way, shared: ValueNumbers, sizes: DataSizes) -> NumberedGraph:
    numbered = NumberedGraph(shared, way.weights, sizes.dim)
    numbered.add(way.graph.nodes)
    return numbered


class _Missing(Exception):
    """A value that the other way does not have."""


@dataclass(slots=True, eq=False)
class _Transplant:
    source: Way
    mark: fx.Node
    onto: Way
    there: fx.Node
    sizes: DataSizes
    copy: Copy = field(default_factory=Copy)
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    known: dict[Any, fx.Node] = field(default_factory=dict)  # number -> the joined graph's node
    own: dict[fx.Node, fx.Node] = field(default_factory=dict)  # node of `onto` -> the joined graph's
    values: dict[fx.Node, fx.Node] = field(default_factory=dict)  # node of `source` -> the joined graph's

    def run(self) -> Way | None:
        """The way; None where a value is missing."""
        shared = ValueNumbers(self.sizes.symbols)
        ways = self.onto, self.source
        mine, theirs = (_numbered(way, shared, self.sizes).numbers for way in ways)
        for way, numbers in zip(ways, (mine, theirs), strict=True):
            self._placeholders(way, numbers)
        self._before(mine)
        self.values.update(self._held())
        try:
            self._after(theirs)
            results = [self._value(each) for each in self.source.results]
            written = {place: self._value(value) for place, value in self.source.written.items()}
            written |= dict(self._written_before())
        except _Missing:
            return None
        inputs = tuple(self.own[node] for node in self.onto.inputs)
        return Way(self.copy.graph, inputs, self.weights, self.source.returned, results, written)

    def _placeholders(self, way: Way, numbers: dict[fx.Node, Any]) -> None:
        nodes = self.own if way is self.onto else self.values
        for node in way.graph.find_nodes(op="placeholder"):
            if numbers[node] not in self.known:
                self.known[numbers[node]] = self.copy.placeholder(node)
            nodes[node] = self.known[numbers[node]]
            if node in way.weights:
                self.weights.setdefault(nodes[node], way.weights[node])

    def _before(self, numbers: dict[fx.Node, Any]) -> None:
        """What the other way does up to its mark, and the mark."""
        for node in _calls(self.onto.graph):
            self.own[node] = self.copy.node(node, self.own.__getitem__)
            self.known.setdefault(numbers[node], self.own[node])
            if node is self.there:
                break

    def _held(self) -> Iterator[tuple[Any, fx.Node]]:
        """What Python holds in the one way and in the other, and what it asks for."""
        (condition, _, held), (other_condition, _, others) = self.mark.args, self.there.args
        pairs = zip((condition, *held), (other_condition, *others), strict=True)
        return ((one, self.own[other]) for one, other in pairs if isinstance(one, fx.Node))

    def _after(self, numbers: dict[fx.Node, Any]) -> None:
        """What the source does behind its mark."""
        order = {node: at for at, node in enumerate(self.source.graph.nodes)}
        behind = order[self.mark]
        wanted = [*self.source.results, *self.source.written.values()]
        waiting = [each for each in wanted if isinstance(each, fx.Node)]
        asked = (node for node in order if order[node] > behind and (is_mark(node) or is_check(node)))
        needed = dict.fromkeys(asked)
        waiting += [node.args[0] for node in needed if isinstance(node.args[0], fx.Node)]
        while waiting:
            node = waiting.pop()
            if node in needed or node in self.values:
                continue
            if order[node] < behind and not isinstance(node.meta.get("val"), torch.SymInt):
                if numbers[node] not in self.known:
                    raise _Missing
                self.values[node] = self.known[numbers[node]]
                continue
            needed[node] = None
            waiting.extend(inputs_of(node))
        for node in sorted(needed, key=order.__getitem__):
            self._copy(node)

    def _copy(self, node: fx.Node) -> None:
        if is_mark(node):
            self.copy.call(node, (self._value(node.args[0]), node.args[1], []), {})
        else:
            self.values[node] = self.copy.node(node, self.values.__getitem__)

    def _value(self, value: Any) -> Any:
        return self.values[value] if isinstance(value, fx.Node) else value

    def _written_before(self) -> Iterator[tuple[Place, Any]]:
        """What only the other way writes, before its mark."""
        for place, value in self.onto.written.items():
            if place not in self.source.written:
                if value not in self.own:
                    raise _Missing
                yield place, self.own[value]


def _calls(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "call_function"]
