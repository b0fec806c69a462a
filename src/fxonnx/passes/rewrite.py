"""Rewrite rules and their matcher.

A rule is two functions of `op` that look like the model: `before` is recorded into a pattern, `after` is recorded in its place, under the merged
places of what it replaces. `where`, if there is one, sees the matched tensors and attributes and says no. Arguments of `before` are wildcards:
positional ones match any value, keyword-only ones match any attribute (or constant number) and are handed to `after`.

    @rule
    class double_transpose:
        \"\"\"x ── Transpose ── Transpose ─▶   becomes   x ── Transpose ─▶\"\"\"
        def before(op, x, *, first, second):
            return op.Transpose(op.Transpose(x, perm=first), perm=second)
        def after(op, x, *, first, second):
            return op.Transpose(x, perm=[first[axis] for axis in second])

Rules are indexed by the operator at their root, nodes are visited once, inner values must have no other reader (they would be computed twice), and
constants in a pattern match by number, whatever their rank and dtype: a pass over n nodes costs n times the few rules of each operator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np

from fxonnx import errors
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, Tensor, attribute_value
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.location import Location
from fxonnx.passes.pipeline import Pass
from fxonnx.target import Target

COMMUTATIVE = frozenset("Add Mul And Or Xor Max Min Sum BitwiseAnd BitwiseOr BitwiseXor Equal".split())


# ── patterns: what `before` records ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class Wildcard:
    """Any value; the same value wherever it stands again."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class AttributeWildcard:
    """Any attribute value, or as an input any constant number; bound for `where` and `after`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class PatternNode:
    """A call in a pattern. `inputs` are patterns, numbers or None; `attributes` are wanted values or wildcards."""

    op: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A value in a pattern: one output of a pattern node. Knows Python's operators, as a tensor does."""

    node: PatternNode | Wildcard
    index: int = 0

    def __add__(self, other: Any) -> Pattern:
        return _call("Add", self, other)

    def __radd__(self, other: Any) -> Pattern:
        return _call("Add", other, self)

    def __sub__(self, other: Any) -> Pattern:
        return _call("Sub", self, other)

    def __rsub__(self, other: Any) -> Pattern:
        return _call("Sub", other, self)

    def __mul__(self, other: Any) -> Pattern:
        return _call("Mul", self, other)

    def __rmul__(self, other: Any) -> Pattern:
        return _call("Mul", other, self)

    def __truediv__(self, other: Any) -> Pattern:
        return _call("Div", self, other)

    def __rtruediv__(self, other: Any) -> Pattern:
        return _call("Div", other, self)

    def __neg__(self) -> Pattern:
        return _call("Neg", self)

    def __matmul__(self, other: Any) -> Pattern:
        return _call("MatMul", self, other)


def _call(op: str, *inputs: Any, **attributes: Any) -> Pattern:
    return Pattern(PatternNode(op, inputs, attributes))


class PatternOpset:
    """The opset that `before` is called with: records calls as patterns."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def __getattr__(self, op: str) -> Callable[..., Any]:
        def record(*inputs: Any, _outputs: int = 1, **attributes: Any) -> Any:
            node = PatternNode(self._prefix + op, inputs, attributes)
            patterns = tuple(Pattern(node, index) for index in range(_outputs))
            return patterns[0] if _outputs == 1 else patterns

        return record


# ── rules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rule:
    """A named rewrite. `when` restricts it to some targets."""

    name: str
    before: Callable[..., Any]
    after: Callable[..., Any]
    where: Callable[..., bool] | None
    when: Callable[[Target], bool] | None
    picture: str

    @cached_property
    def pattern(self) -> PatternNode:
        """What `before` records; its last node is the root."""
        values, attributes = _parameters(self.before)
        result = self.before(
            PatternOpset(),
            *(Pattern(Wildcard(name)) for name in values),
            **{name: AttributeWildcard(name) for name in attributes},
        )
        root = result[0] if isinstance(result, tuple) else result
        assert isinstance(root.node, PatternNode), f"rule {self.name} matches everything"
        return root.node

    @cached_property
    def commutes(self) -> bool:
        """Whether any node of the pattern is commutative, so that arguments must be tried in turn."""
        return any(node.op in COMMUTATIVE for node in _pattern_nodes(self.pattern))


def rule(cls: type) -> Rule:
    """Make a class with `before`, `after` and perhaps `where` and `when` a rule named like it, its docstring its picture."""
    members = vars(cls)
    return Rule(
        cls.__name__, members["before"], members["after"], members.get("where"), members.get("when"), inspect.cleandoc(cls.__doc__ or "")
    )  # fmt: skip


def _parameters(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """(names of value wildcards, names of attribute wildcards)."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY], keyword_only


def _pattern_nodes(node: PatternNode) -> Iterable[PatternNode]:
    yield node
    for item in node.inputs:
        if isinstance(item, Pattern) and isinstance(item.node, PatternNode):
            yield from _pattern_nodes(item.node)


# ── matching ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Match:
    """Bindings of wildcards, and the nodes that the pattern covers, root first."""

    values: dict[str, Value] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    nodes: dict[PatternNode, Node] = field(default_factory=dict)

    def copy(self) -> Match:
        """An independent copy, to go back to when a branch of the search fails."""
        return Match(dict(self.values), dict(self.attributes), dict(self.nodes))


@dataclass(slots=True)
class Matcher:
    """Matches patterns against a graph, given who writes and how often each value is read."""

    producers: Mapping[Value, Node]
    readers: dict[Value, int]

    def match(self, pattern: PatternNode, node: Node) -> Match | None:
        """The first way in which `node` is the pattern's root, or None."""
        return next(self._node(pattern, node, Match()), None)

    def _node(self, pattern: PatternNode, node: Node, match: Match) -> Iterable[Match]:
        if pattern.op != node.op or not self._attributes(pattern, node, match := match.copy()):
            return
        match.nodes[pattern] = node
        wanted = [*pattern.inputs, *(None for _ in range(len(node.inputs) - len(pattern.inputs)))]
        given = [*node.inputs, *(None for _ in range(len(wanted) - len(node.inputs)))]
        orders = permutations(given) if node.op in COMMUTATIVE and len(given) == len(wanted) <= 3 else [given]
        for order in orders:
            yield from self._inputs(wanted, order, match)

    def _inputs(self, wanted: Sequence[Any], given: Sequence[Value | None], match: Match) -> Iterable[Match]:
        if not wanted:
            yield match
            return
        for partial in self._input(wanted[0], given[0], match):
            yield from self._inputs(wanted[1:], given[1:], partial)

    def _input(self, wanted: Any, value: Value | None, match: Match) -> Iterable[Match]:
        match wanted:
            case None:
                return [match] if value is None else []
            case _ if value is None:
                return []
            case Pattern(node=Wildcard(name=name)):
                return self._bind(match.values, name, value, match)
            case Pattern(node=PatternNode() as node, index=index):
                return self._inner(node, index, value, match)
            case AttributeWildcard(name=name):
                number = constant_number(value)
                return [] if number is None else self._bind(match.attributes, name, number, match)
        return [match] if _same_constant(wanted, value) else []

    def _inner(self, pattern: PatternNode, index: int, value: Value, match: Match) -> Iterable[Match]:
        producer = self.producers.get(value)
        if producer is None or producer.outputs[index : index + 1] != (value,):
            return []
        if pattern in match.nodes:
            return [match] if match.nodes[pattern] is producer else []
        return self._node(pattern, producer, match)

    def _bind(self, bindings: dict[str, Any], name: str, item: Any, match: Match) -> Iterable[Match]:
        if name in bindings:
            return [match] if bindings[name] is item or (not isinstance(item, Value) and bindings[name] == item) else []
        extended = match.copy()
        (extended.values if bindings is match.values else extended.attributes)[name] = item
        return [extended]

    def _attributes(self, pattern: PatternNode, node: Node, match: Match) -> bool:
        facts = schema.facts(node.op)
        for name, wanted in pattern.attributes.items():
            fact = facts.attributes.get(name) if facts else None
            found = node.attributes.get(name, fact.default if fact else None)
            if isinstance(wanted, AttributeWildcard):
                if name in match.attributes and match.attributes[name] != found:
                    return False
                match.attributes[wanted.name] = found
            elif found != attribute_value(wanted, fact.kind if fact else None):
                return False
        return True

    def interior_is_private(self, match: Match) -> bool:
        """Whether every value inside the match is read only inside it; else the rewrite would compute it twice."""
        root, *inner = match.nodes.values()
        reads: dict[Value, int] = {}
        for node in match.nodes.values():
            for value in node.reads:
                reads[value] = reads.get(value, 0) + 1
        return all(self.readers.get(output, 0) == reads.get(output, 0) for node in inner for output in node.outputs)


def constant_number(value: Value) -> float | int | bool | None:
    """The number that a constant holds in its only element; None for other values."""
    if value.data is None or value.type.size != 1:
        return None
    return value.data.array().reshape(-1)[0].item()  # type: ignore[no-any-return]


def _same_constant(wanted: Any, value: Value) -> bool:
    """A number matches one element of any rank, rounded to the value's dtype; a list matches a constant with these elements."""
    if value.data is None or value.type.size != np.size(wanted):
        return False
    array = value.data.array().reshape(-1)
    return bool(np.array_equal(np.asarray(wanted).reshape(-1).astype(array.dtype), array))


# ── rewriting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rewrite(*rules: Rule, name: str = "rewrite") -> Pass:
    """A pass that applies rules, each node once, the first rule that matches winning."""
    table: dict[str, list[Rule]] = {}
    for each in rules:
        table.setdefault(each.pattern.op, []).append(each)

    def run(graph: Graph, target: Target) -> Graph:
        active = {op: kept for op, listed in table.items() if (kept := [r for r in listed if r.when is None or r.when(target)])}
        return _Rewriter(active, graph).run() if any(node.op in active for node in graph.nodes) else graph

    return Pass(name, run)


@dataclass(slots=True)
class _Rewriter:
    """One walk over one graph."""

    rules: Mapping[str, list[Rule]]
    graph: Graph

    def run(self) -> Graph:
        graph = self.graph
        matcher = Matcher(producers := {}, graph.readers())
        builder, replaced = Builder(graph.opset), Substitution()
        for value in graph.inputs:
            builder.note_sizes(value)
        for original in graph.nodes:
            node = replaced.node(original)
            producers.update((output, node) for output in node.outputs)
            mark = len(builder.nodes)
            if not self._apply(node, matcher, builder, replaced):
                builder.nodes.append(node)
                continue
            for fresh in builder.nodes[mark:]:
                producers.update((output, fresh) for output in fresh.outputs)
                for value in fresh.reads:
                    matcher.readers[value] = matcher.readers.get(value, 0) + 1
        if not replaced:
            return graph
        outputs = tuple(replaced[value] for value in graph.outputs)
        return Graph(graph.inputs, _pruned(builder.nodes, outputs), outputs, graph.opset, graph.output_names, graph.name)

    def _apply(self, node: Node, matcher: Matcher, builder: Builder, replaced: Substitution) -> bool:
        for each in self.rules.get(node.op, ()):
            match = matcher.match(each.pattern, node)
            if match is None or not matcher.interior_is_private(match):
                continue
            results = apply_rule(each, match, builder)
            if results is None:
                continue
            for old, new in zip(node.outputs, results, strict=False):
                replaced[old] = new.value
                matcher.readers[new.value] = matcher.readers.get(new.value, 0) + matcher.readers.get(old, 0)
            return True
        return False


def apply_rule(rule: Rule, match: Match, builder: Builder) -> tuple[Tensor, ...] | None:
    """Record the rule's result, or return None where `where` says no, or the result would have another type than the root."""
    values = {name: builder.use(value) for name, value in match.values.items()}
    if rule.where is not None and not rule.where(**values, **match.attributes):
        return None
    root = next(iter(match.nodes.values()))
    mark = len(builder.nodes)
    builder.location = Location.merge(*(node.location for node in match.nodes.values()), rule=rule.name)
    result = rule.after(builder, **values, **match.attributes)
    results = result if isinstance(result, tuple) else (result,)
    fresh = {output for node in builder.nodes[mark:] for output in node.outputs}
    for new, old in zip(results, root.outputs, strict=False):
        if new.dtype is not old.dtype or new.rank != len(old.shape):
            raise errors.InternalError(f"rule {rule.name} makes {new.type} of {old.type}", location=builder.location)
        if new.value in fresh:
            builder.refine(new, old.type, old.known)
    return results


def _pruned(nodes: Sequence[Node], outputs: tuple[Value, ...]) -> tuple[Node, ...]:
    """Without the nodes that a rewrite left without readers."""
    live, kept = set(outputs), []
    for node in reversed(nodes):
        if not live.isdisjoint(node.outputs):
            live.update(node.reads)
            kept.append(node)
    return tuple(reversed(kept))
