"""Where in a graph a pattern stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.calls import attribute_value
from fxonnx.ir.graph import Node, Value, content
from fxonnx.ir.schema import AttributeFacts
from fxonnx.passes.rewriting.pattern import (
    AnyCall,
    AnyOf,
    AttributeWildcard,
    Bind,
    Keep,
    OneUse,
    Pattern,
    PatternNode,
    Rest,
    Root,
    Wildcard,
)

COMMUTATIVE = frozenset(
    ["Add", "Mul", "And", "Or", "Xor", "Max", "Min", "Sum", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal"]
)
CONSTANT = frozenset({"constant"})


@dataclass(slots=True)
class Match:
    """What the wildcards stand for, and the node of each call in the pattern, root first; those that are kept apart."""

    bound: dict[str, Any] = field(default_factory=dict)
    nodes: dict[PatternNode | AnyCall, Node] = field(default_factory=dict)
    kept: dict[PatternNode | AnyCall, Node] = field(default_factory=dict)

    def binding(self, name: str, item: Any) -> Match:
        """This match with one more binding."""
        return Match({**self.bound, name: item}, self.nodes, self.kept)


@dataclass(slots=True)
class Uses:
    """Who writes each value and how often it is read: kept up to date while a graph is rewritten.

    A value that is read once too often here only hides a match until the next walk; the graph never depends on it.
    """

    readers: Counter[Value]
    producers: dict[Value, Node] = field(default_factory=dict)

    def add(self, node: Node, *, reads: bool = False) -> None:
        """A node is there. Its reads are counted unless they were before."""
        for value in node.outputs:
            self.producers[value] = node
        if reads:
            self.readers.update(node.reads)

    def move(self, old: Value, new: Value) -> None:
        """Readers of `old` read `new` from here on."""
        self.readers[new] += self.readers.pop(old, 0)

    def remove(self, node: Node) -> None:
        """A node is gone, and with it those that wrote only for it."""
        gone = [node]
        while gone:
            for value in gone.pop().reads:
                self.readers[value] -= 1
                producer = self.producers.get(value)
                if producer is not None and not any(self.readers[output] for output in producer.outputs):
                    gone.append(producer)

    def writers(self, node: Node) -> frozenset[str]:
        """The operators that write the node's inputs, "constant" for contents: what `Template.needs` asks for."""
        found = [self.producers[value].op for value in node.inputs if value in self.producers]
        names = frozenset(found)
        return names | CONSTANT if any(value is not None and value.is_constant for value in node.inputs) else names


def matches(root: Root, outputs: int, node: Node, uses: Uses) -> Iterator[Match]:
    """Every way in which `node` is the pattern's root, and nobody else reads what the match would do away with.

    `outputs` is how many of the node's outputs the pattern stands for.
    """
    if any(uses.readers[output] for output in node.outputs[outputs:]):
        return
    for match in _node(root.node, node, Match(), uses):
        if _is_private(match, uses):
            yield match


def _node(pattern: PatternNode, node: Node, match: Match, uses: Uses) -> Iterator[Match]:
    if pattern.op != node.op:
        return
    bound = _attributes(pattern, node, match.bound)
    if bound is None:
        return
    start = Match(bound, {**match.nodes, pattern: node}, match.kept)
    length = max(len(pattern.inputs), len(node.inputs))
    wanted = (*pattern.inputs, *(None,) * (length - len(pattern.inputs)))
    given = (*node.inputs, *(None,) * (length - len(node.inputs)))
    for order in permutations(given) if pattern.op in COMMUTATIVE and 1 < length <= 3 else (given,):
        if not pattern.has_number or _numbers_keep_rank(wanted, order):
            yield from _inputs(wanted, order, start, uses)


def _inputs(wanted: Sequence[Any], given: Sequence[Value | None], match: Match, uses: Uses) -> Iterator[Match]:
    if not wanted:
        yield match
        return
    for partial in _input(wanted[0], given[0], match, uses):
        yield from _inputs(wanted[1:], given[1:], partial, uses)


def _input(wanted: Any, value: Value | None, match: Match, uses: Uses) -> Iterator[Match]:
    match wanted:
        case None:
            if value is None:
                yield match
        case Pattern(node=Wildcard(name=name, optional=optional)):
            if value is not None or optional:
                yield from _bind(name, value, match)
        case Pattern(node=AnyOf(alternatives=alternatives)):
            for each in alternatives:
                yield from _input(each, value, match, uses)
        case Pattern(node=Keep() | Bind() | OneUse() as around):
            if not isinstance(around, OneUse) or value is None or uses.readers[value] == 1:
                for found in _input(around.pattern, value, match, uses):
                    yield from _around(around, value, match, found)
        case _ if value is not None:
            yield from _given(wanted, value, match, uses)


def _around(around: Keep | Bind | OneUse, value: Value | None, match: Match, found: Match) -> Iterator[Match]:
    match around:
        case Keep():
            yield Match(found.bound, match.nodes, {**match.kept, **found.nodes})
        case Bind(name=name):
            yield from _bind(name, value, found)
        case OneUse():
            yield found


def _given(wanted: Any, value: Value, match: Match, uses: Uses) -> Iterator[Match]:
    """A call, or a constant that is bound or compared."""
    match wanted:
        case Pattern(node=PatternNode() as node, index=index):
            yield from _inner(node, index, value, match, uses)
        case Pattern(node=AnyCall() as call):
            yield from _any_call(call, value, match, uses)
        case AttributeWildcard(name=name):
            number = constant_number(value)
            if number is not None:
                yield from _bind(name, number, match)
        case _:
            if holds(value, wanted):
                yield match


def _inner(pattern: PatternNode, index: int, value: Value, match: Match, uses: Uses) -> Iterator[Match]:
    producer = uses.producers.get(value)
    if producer is None or producer.outputs[index : index + 1] != (value,):
        return
    found = match.nodes.get(pattern) or match.kept.get(pattern)
    if found is None:
        yield from _node(pattern, producer, match, uses)
    elif found is producer:
        yield match


def _any_call(pattern: AnyCall, value: Value, match: Match, uses: Uses) -> Iterator[Match]:
    producer = uses.producers.get(value)
    if producer is None or producer.op not in pattern.ops or producer.output is not value:
        return
    if all(uses.readers[each] == 1 for each in producer.inputs if each is not None and each.is_constant):
        for found in _bind(pattern.name, producer, match):
            yield Match(found.bound, {**found.nodes, pattern: producer}, found.kept)


def _bind(name: str, item: Any, match: Match) -> Iterator[Match]:
    if name not in match.bound:
        yield match.binding(name, item)
    elif _same(match.bound[name], item):
        yield match


# ── attributes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _attributes(pattern: PatternNode, node: Node, bound: dict[str, Any]) -> dict[str, Any] | None:
    """The bindings with those of the node's attributes; None where one is not as wanted.

    An attribute that the pattern does not name has its default, as in any call; unless `**rest` takes it.
    """
    if not pattern.attributes and not node.attributes:
        return bound
    facts = schema.facts(node.op)
    known: Mapping[str, AttributeFacts] = facts.attributes if facts else {}
    bound = dict(bound)
    rest = {name: item for name, item in node.attributes.items() if name not in pattern.attributes}
    for name, wanted in pattern.attributes.items():
        fact = known.get(name)
        found = node.attributes.get(name, fact.default if fact else None)
        match wanted:
            case Rest(name=key):
                bound[key], rest = rest, {}
            case AttributeWildcard(name=key):
                if key in bound and not _same(bound[key], found):
                    return None
                bound[key] = found
            case _ if not _same(found, attribute_value(wanted, fact.kind if fact else None)):
                return None
    return bound if all(name in known and _same(item, known[name].default) for name, item in rest.items()) else None


def _same(left: Any, right: Any) -> bool:
    """Equal attributes, or the same value. Floats are compared as the float32 that ONNX keeps of them."""
    if left is right:
        return True
    if isinstance(left, float) and isinstance(right, float):
        return bool(np.float32(left) == np.float32(right))
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return isinstance(left, np.ndarray) and isinstance(right, np.ndarray) and _same_array(left, right)
    return type(left) is type(right) and left == right


def _same_array(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


# ── constants ────────────────────────────────────────────────────────────────────────────────────────────────────────


def constant_number(value: Value | None) -> float | int | bool | None:
    """The number that a constant holds in its only element; None for other values."""
    array = content(value) if value is not None and value.type.size == 1 else None
    if array is None or value is None or value.dtype.kind not in ("bool", "int", "uint", "float"):
        return None
    element = array.reshape(-1)[0]
    return float(element) if value.dtype.is_float else element.item()


def holds(value: Value, wanted: Any) -> bool:
    """Whether a constant is the number, of any rank, or the list; the number rounded to the constant's dtype."""
    array = content(value) if value.type.size == np.size(wanted) and value.dtype.kind != "string" else None
    if array is None or (isinstance(wanted, (list, tuple)) and array.ndim != 1):
        return False
    with np.errstate(over="ignore"):
        expected = np.asarray(wanted).astype(array.dtype) if value.dtype.is_float else np.asarray(wanted)
    return bool(np.array_equal(expected.reshape(-1), array.reshape(-1)))


def _numbers_keep_rank(wanted: Sequence[Any], given: Sequence[Value | None]) -> bool:
    """Whether no number broadcasts: one of f32[1,1] beside x: f32[4] would make f32[1,4], which x is not."""
    for item, value in zip(wanted, given, strict=True):
        if value is not None and value.shape and isinstance(item, (int, float, AttributeWildcard)):
            others = (len(other.shape) for other in given if other is not None and other is not value)
            if len(value.shape) > max(others, default=0):
                return False
    return True


# ── privacy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_private(match: Match, uses: Uses) -> bool:
    """Whether every value inside the match is read only inside it; else the rewrite would compute it twice."""
    root, *inner = dict.fromkeys(match.nodes.values())
    inside = Counter(value for node in (root, *inner) for value in node.reads)
    return all(uses.readers[output] == inside[output] for node in inner for output in node.outputs)
