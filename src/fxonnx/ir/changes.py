"""Which nodes became which, from one graph to a later one.

Nodes are matched, not texts: a node that writes the value it wrote is the same one, whatever its number in a print-out;
so is one of the same operator, attributes and types at the same place. What remains on both sides belongs together
where it was made for the same fx nodes, or, in graphs that were read from text, for the same ops at the same place.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fxonnx import markup
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.text.html import highlight
from fxonnx.ir.text.literal import format_attribute
from fxonnx.ir.text.places import format_origin, format_place
from fxonnx.ir.text.printer import graph_lines
from fxonnx.location import Location


@dataclass(frozen=True, slots=True)
class Change:
    """Nodes that became others; none where they were added, or are no longer needed.

    `by` are the rules that had a hand in it, else the pass after which the old nodes are gone.
    """

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    by: tuple[str, ...]

    @property
    def location(self) -> Location:
        """The place in the user's model that all of them come from."""
        return Location.merge(*(node.location for node in self.before or self.after))


@dataclass(frozen=True, slots=True, repr=False)
class Diff:
    """What changed from a graph to a later one, in the order of the model. True where anything did."""

    before: Graph
    after: Graph
    changes: tuple[Change, ...]
    kept: int

    def __bool__(self) -> bool:
        return bool(self.changes) or self.before.opset != self.after.opset

    def __repr__(self) -> str:
        return f"<fxonnx diff: {self.summary}>"

    @property
    def summary(self) -> str:
        """How much changed."""
        count, opset = len(self.changes), ""
        if self.before.opset != self.after.opset:
            opset = f", opset {self.before.opset} → {self.after.opset}"
        before = self.kept + sum(len(each.before) for each in self.changes)
        after = self.kept + sum(len(each.after) for each in self.changes)
        return f"{count} change{'s' * (count != 1)}: nodes {before} → {after}, {self.kept} the same{opset}"

    def __str__(self) -> str:
        parts = [self.summary]
        for heading, code, lines in self._described():
            parts += ["", heading, *([f"  {code}"] if code else []), *(f"  {sign} {text}" for sign, text in lines)]
        return "\n".join(parts)

    def _described(self) -> Iterable[tuple[str, str, list[tuple[str, str]]]]:
        """Of each change its heading, the user's line, and its nodes with their signs."""
        old, new = _texts(self.before), _texts(self.after)
        for each in self.changes:
            place = each.location
            by = f"by {', '.join(each.by)}" if each.by else ""
            op = format_origin(Location(op=place.op))
            heading = f"@ {format_place(place)}   · {', '.join(filter(None, (op, by)))}".removesuffix("   · ")
            lines = [*(("-", old[node]) for node in each.before), *(("+", new[node]) for node in each.after)]
            yield heading, place.code, lines

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        parts = [markup.pre(self.summary)]
        for heading, code, lines in self._described():
            nodes = "".join(f'<div class="line">{sign} {highlight(text)}</div>' for sign, text in lines)
            parts.append(markup.fold(highlight(heading), (markup.pre(code, "place") if code else "") + nodes))
        return markup.bundle(str(self), "".join(parts))


def _texts(graph: Graph) -> dict[Node, str]:
    """The line of each node."""
    found: dict[Node, str] = {}
    for line in graph_lines(graph, places=False):
        if line.node is not None:
            found.setdefault(line.node, line.text.strip())
    return found


def diff(stages: Sequence[tuple[str, Graph]]) -> Diff:
    """What changed from the first of these graphs to the last; each is what the pass of this name, if it has one, made
    of the one before. Takes time linear in their nodes."""
    before, after = stages[0][1], stages[-1][1]
    old, new = list(before.all_nodes()), list(after.all_nodes())
    same = _same(old, new)
    kept = set(same.values())
    gone, made = [node for node in old if node not in same], [node for node in new if node not in kept]
    replaced_by = _replaced_by(stages, gone)
    changes = [_change(olds, news, replaced_by) for olds, news in _together(gone, made, replaced_by)]
    return Diff(before, after, tuple(changes), len(same))


def _change(olds: Sequence[Node], news: Sequence[Node], replaced_by: Mapping[Value, str]) -> Change:
    earlier = {rule for node in olds for rule in node.location.rules}
    rules = dict.fromkeys(rule for node in news for rule in node.location.rules if rule not in earlier)
    passes = dict.fromkeys(replaced_by.get(node.output, "") for node in olds)
    return Change(tuple(olds), tuple(news), tuple(rules or filter(None, passes)))


def _same(old: Iterable[Node], new: Sequence[Node]) -> dict[Node, Node]:
    """Old nodes -> the new ones that they still are."""
    writers = {node.output: node for node in new}
    found = {node: writers[node.output] for node in old if node.output in writers}
    found = {node: other for node, other in found.items() if _kind(node) == _kind(other)}
    taken = set(found.values())
    alike: defaultdict[Hashable, deque[Node]] = defaultdict(deque)
    for node in new:
        if node not in taken:
            alike[_place(node), _kind(node)].append(node)
    for node in old:
        if node not in found and (others := alike.get((_place(node), _kind(node)))):
            found[node] = others.popleft()
    return found


def _kind(node: Node) -> Hashable:
    """What a node computes, its subgraphs apart: their nodes are matched themselves."""
    plain = [(name, format_attribute(each)) for name, each in node.attributes.items() if not isinstance(each, Graph)]
    return node.op, tuple(sorted(plain)), len(node.inputs), tuple(value.type for value in node.outputs)


def _place(node: Node) -> Hashable:
    place = node.location
    return place.module, place.source, place.op, place.node


def _together(
    old: Sequence[Node], new: Sequence[Node], replaced_by: Mapping[Value, str]
) -> Iterable[tuple[list[Node], list[Node]]]:
    """Nodes that were made for the same fx nodes, in the order of the first of each. Old ones that left nothing behind
    go with what read them and was replaced in the same pass: a rule took all of them."""
    leaders = _Leaders()
    for node in (*old, *new):
        first, *more = _origins(node)
        for each in more:
            leaders.join(first, each)
    became_others = {leaders[_origins(node)[0]] for node in new}
    readers: dict[Value, Node] = {}
    for node in reversed(old):
        origin, reader = _origins(node)[0], next((readers[each] for each in node.outputs if each in readers), None)
        if reader is not None and leaders[origin] not in became_others:
            pass_name = replaced_by.get(node.output)
            if pass_name is not None and pass_name == replaced_by.get(reader.output):
                leaders.join(_origins(reader)[0], origin)
        readers.update(dict.fromkeys(node.reads, node))
    groups: dict[Hashable, tuple[list[Node], list[Node]]] = {}
    for side, nodes in enumerate((old, new)):
        for node in nodes:
            groups.setdefault(leaders[_origins(node)[0]], ([], []))[side].append(node)
    return groups.values()


def _origins(node: Node) -> list[Hashable]:
    """The fx nodes that a node was made for; where they are not known, the ops at its place."""
    place = node.location
    if place.node:
        return list(place.node.split("+"))
    return [(place.module, place.source, op) for op in place.op.split("+")]


class _Leaders:
    """Sets that are joined, each known by one of its members. Source: Tarjan 1975, with path halving."""

    def __init__(self) -> None:
        self.parents: dict[Hashable, Hashable] = {}

    def __getitem__(self, member: Hashable) -> Hashable:
        parents = self.parents
        while (parent := parents.setdefault(member, member)) != member:
            parents[member] = member = parents[parent]
        return member

    def join(self, one: Hashable, other: Hashable) -> None:
        """Make one set of the sets of two."""
        self.parents[self[other]] = self[one]


def _replaced_by(stages: Sequence[tuple[str, Graph]], gone: Iterable[Node]) -> dict[Value, str]:
    """The values of nodes that are gone -> the pass after which none of their kind writes them any more."""
    kinds = {node.output: _kind(node) for node in gone}
    found: dict[Value, str] = {}
    for (_, earlier), (name, graph) in pairwise(stages):
        if graph is not earlier:
            left = {node.output for node in graph.all_nodes() if kinds.get(node.output) == _kind(node)}
            found |= {value: name for value in kinds if value not in left and value not in found}
    return found
