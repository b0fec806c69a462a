"""What comes after a decision, put behind another way to the same state.

Ways that have gone apart and come to one state of Python again, but for what its tensors hold, go on alike. What one of
them does then, through all decisions that follow, need not be run again for the other: its graph is copied, with the
values that the other has. That the other's own run does the same is found out first, in lockstep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from fxonnx.capture.equivalence.value_numbers import NumberedGraph, ValueNumbers
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.paths.copying import Copy, inputs_of
from fxonnx.capture.tracer.paths.lockstep import Lockstep, Parted, lockstep
from fxonnx.capture.tracer.paths.sizes import DataSizes
from fxonnx.capture.tracer.paths.way import Place, Way
from fxonnx.ir.dims import Dim, symbol, symbols_of


def transplanted(
    after: Way, like: Way, mark: fx.Node, onto: Way, there: fx.Node, sizes: DataSizes
) -> Way:
    """The way `onto` up to its mark, and from there on what is `after` that of another, in all ways that this may take.

    `like` is one of those, and what `onto` does. Raises Parted where it does something else, or where values would have
    to be known that no call behind the mark tells. Linear time.
    """
    pairs = _in_lockstep(like, mark, onto, there)
    renamed: dict[str, Dim] = {str(other): symbol(name) for name, other in pairs.names.items() if str(other) != name}
    theirs, mine = sizes.names(after.graph), sizes.names(onto.graph)
    is_clear = theirs.isdisjoint(renamed) and mine.isdisjoint(map(str, renamed.values()))  # none says two sizes
    sizes.rename(renamed)
    shared = ValueNumbers(sizes.symbols)
    known = {number: node for node, number in numbers_before(like, mark, shared, sizes).items()}
    source, paired = after.mark(mark.args[1]), _with_origins(pairs) if is_clear else pairs.values
    held = {
        node: paired[known[number]]
        for node, number in numbers_before(after, source, shared, sizes).items()
        if known.get(number) in paired
    }
    numbers = _numbers_of_pairs(before(onto.graph, there), pairs, sizes) if is_clear else {}
    return _Transplant(after, source, onto, there, held, lambda size: numbers.get(sizes.dim(size))).run()


def _with_origins(pairs: Lockstep) -> dict[fx.Node, fx.Node]:
    """The values in pairs, and what those from before the marks were computed of, by the same calls: Python holds it no
    more, but a way may ask it for a size that it has told."""
    found, doubtful = dict(pairs.values), set[fx.Node]()
    waiting = [each for each in found.items() if each[0] not in pairs.behind]
    while waiting:
        for one, other in pairs.arguments(*waiting.pop()):
            if one not in found:
                found[one] = other
                waiting.append((one, other))
            elif found[one] is not other and one not in pairs.values:
                doubtful.add(one)
    return {one: other for one, other in found.items() if one not in doubtful}


def _numbers_of_pairs(nodes: Iterable[fx.Node], pairs: Lockstep, sizes: DataSizes) -> dict[Dim, fx.Node]:
    """The nodes that tell numbers of paired sizes: a way may ask a tensor for them that Python holds no more."""
    known = sizes.symbols | symbols_of(sizes.now(symbol(name)) for name in pairs.names)
    numbers = [node for node in nodes if isinstance(node.meta.get("val"), torch.SymInt)]
    found = {sizes.dim(node.meta["val"]): node for node in reversed(numbers)}
    return {dim: node for dim, node in found.items() if known.issuperset(symbols_of([dim]))}


def numbers_before(way: Way, mark: fx.Node, shared: ValueNumbers, sizes: DataSizes) -> dict[fx.Node, Any]:
    """The numbers of a way's nodes before a mark; what is computed twice there is two values, which other ways may have
    computed otherwise."""
    numbered, met = NumberedGraph(shared, way.weights, sizes.dim), Counter[Any]()
    nodes = before(way.graph, mark)
    numbered.add(nodes)
    found: dict[fx.Node, Any] = {}
    for node in nodes:
        number = numbered.numbers.get(node)
        met[type(number), number] += 1
        found[node] = type(number), number, met[type(number), number]
    return found


def before(graph: fx.Graph, mark: fx.Node) -> list[fx.Node]:
    """The nodes of a graph before one."""
    found = []
    for node in graph.nodes:
        if node is mark:
            break
        found.append(node)
    return found


def _in_lockstep(like: Way, mark: fx.Node, onto: Way, there: fx.Node) -> Lockstep:
    """Two ways behind their marks, with what they return and write."""
    pairs = lockstep(mark, there)
    if like.returned.structure != onto.returned.structure:
        raise Parted
    for one, other in zip(like.results, onto.results, strict=True):
        pairs.pair(one, other)
    for place in like.written.keys() | onto.written.keys():
        if place in like.written and place in onto.written:
            pairs.pair(like.written[place], onto.written[place])
        elif place in like.written or onto.written[place] in pairs.others_behind:
            raise Parted
    return pairs


@dataclass(slots=True, eq=False)
class _Transplant:
    source: Way
    mark: fx.Node
    onto: Way
    there: fx.Node
    held: dict[fx.Node, fx.Node]  # node of `source` before its mark -> node of `onto`
    number: Callable[[torch.SymInt], fx.Node | None]  # the node of `onto` that tells a number, if one does
    copy: Copy = field(default_factory=Copy)
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    own: dict[fx.Node, fx.Node] = field(default_factory=dict)  # node of `onto` -> the joined graph's
    values: dict[fx.Node, fx.Node] = field(default_factory=dict)  # node of `source` -> the joined graph's

    def run(self) -> Way:
        """The way. Raises Parted where a value is missing."""
        self._placeholders()
        for node in before(self.onto.graph, self.there.next):
            if node.op == "call_function":
                self.own[node] = self.copy.node(node, self.own.__getitem__)
        self._hold()
        self._after()
        results = [self._value(each) for each in self.source.results]
        written = {place: self._value(value) for place, value in self.source.written.items()}
        written |= dict(self._written_before())
        inputs = tuple(self.own[node] for node in self.onto.inputs)
        return Way(self.copy.graph, inputs, self.weights, self.source.returned, results, written)

    def _placeholders(self) -> None:
        known: dict[Any, fx.Node] = {}
        for way, nodes in ((self.onto, self.own), (self.source, self.values)):
            inputs = {node: at for at, node in enumerate(way.inputs)}
            for node in way.graph.find_nodes(op="placeholder"):
                key = inputs[node] if node in inputs else ("weight", id(way.weights[node].tensor))
                if key not in known:
                    known[key] = self.copy.placeholder(node)
                nodes[node] = known[key]
                if node in way.weights:
                    self.weights.setdefault(known[key], way.weights[node])

    def _hold(self) -> None:
        """Take over what the other way holds by then. A variable that held an input may hold something else; where it
        held a weight, which the model's code reads by its name as well, nothing tells the two apart."""
        for node, other in self.held.items():
            if node in self.source.weights and self.values[node] is not self.own[other]:
                raise Parted
            self.values[node] = self.own[other]

    def _after(self) -> None:
        """What the source does behind its mark, where all its decisions are joined."""
        order = {node: at for at, node in enumerate(self.source.graph.nodes)}
        behind = order[self.mark]
        checks = [node for node in order if order[node] > behind and is_check(node)]
        needed = dict.fromkeys(checks)
        waiting = [*self.source.results, *self.source.written.values(), *(node.args[0] for node in checks)]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, fx.Node) or node in needed or node in self.values:
                continue
            if order[node] < behind and self._is_number_before(node):
                continue
            needed[node] = None
            waiting.extend(inputs_of(node))
        for node in sorted(needed, key=order.__getitem__):
            self.values[node] = self.copy.node(node, self.values.__getitem__)

    def _is_number_before(self, node: fx.Node) -> bool:
        """Whether a value of the source before its mark is a number that the other way has too. Raises Parted for one
        that is no number, and not held."""
        size = node.meta.get("val")
        if not isinstance(size, torch.SymInt):
            raise Parted
        if (known := self.number(size)) is not None:
            self.values[node] = self.own[known]
        return known is not None

    def _value(self, value: Any) -> Any:
        return self.values[value] if isinstance(value, fx.Node) else value

    def _written_before(self) -> Iterator[tuple[Place, Any]]:
        """What only the other way writes, before its mark."""
        for place, value in self.onto.written.items():
            if place not in self.source.written:
                if value not in self.own:
                    raise Parted
                yield place, self.own[value]


__all__ = ["numbers_before", "transplanted"]
