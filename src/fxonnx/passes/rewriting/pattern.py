"""Patterns: what a rule's `before` records.

`before` is called with a `PatternOpset` and wildcards. It writes calls and Python operators as a lowering does, and
what comes back is a tree: calls (`PatternNode`), wildcards, numbers, `op.any_of(…)` where several spellings will do,
`op.call(…)` for any call of some operators, and `op.keep(…)` around what must hold but is not replaced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fxonnx.ir.tensor import Operators


@dataclass(frozen=True, slots=True, eq=False)
class Wildcard:
    """Any value; the same value wherever it stands again. An optional one also matches an absent input."""

    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AttributeWildcard:
    """Any attribute value, or as an input any constant number; bound for `where` and `after`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """All attributes that the call does not name; bound as keyword arguments of `where` and `after`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class PatternNode:
    """A call. `inputs` are patterns, numbers or None; `attributes` are wanted values or wildcards."""

    op: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any]
    has_number: bool = False

    @staticmethod
    def of(op: str, inputs: tuple[Any, ...], attributes: Mapping[str, Any]) -> PatternNode:
        """The call, knowing whether an input is a number, as most are not."""
        is_number = (isinstance(item, (int, float, AttributeWildcard)) for item in inputs)
        return PatternNode(op, inputs, attributes, any(is_number))


@dataclass(frozen=True, slots=True, eq=False)
class AnyOf:
    """One of several patterns, tried in turn."""

    alternatives: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """A pattern that must hold, but whose nodes are not part of what is replaced: they may have other readers."""

    pattern: Any


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """A pattern whose value `where` and `after` know by a name."""

    name: str
    pattern: Any


@dataclass(frozen=True, slots=True, eq=False)
class OneUse:
    """A pattern whose value has one reader, the pattern's: what is made of it instead does not come on top."""

    pattern: Any


@dataclass(frozen=True, slots=True, eq=False)
class AnyCall:
    """A call of one of several operators, whatever its inputs and attributes; bound as the node that it is.

    Nobody else reads its constants: what is made of them does not come on top.
    """

    name: str
    ops: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern(Operators):
    """A value in a pattern: an output of a call, a wildcard, a choice. Knows Python's operators, as a tensor does."""

    node: PatternNode | Wildcard | AnyOf | Keep | Bind | OneUse | AnyCall
    index: int = 0

    def record(self, op: str, *operands: Any) -> Pattern:
        """The call of an operator."""
        return Pattern(PatternNode.of(op, operands, {}))


class PatternOpset:
    """The opset that `before` is called with: records calls as patterns."""

    def any_of(self, *alternatives: Any) -> Pattern:
        """A value that is one of several patterns; wildcards of the others are None."""
        return Pattern(AnyOf(alternatives))

    def keep(self, pattern: Any) -> Pattern:
        """A value that must be what the pattern says, and stays as it is: others may read it."""
        return Pattern(Keep(pattern))

    def bind(self, name: str, pattern: Any) -> Pattern:
        """A value that the pattern matches, bound to `name` like a wildcard."""
        return Pattern(Bind(name, pattern))

    def one_use(self, pattern: Any) -> Pattern:
        """A value that nobody else reads."""
        return Pattern(OneUse(pattern))

    def call(self, name: str, *ops: str) -> Pattern:
        """What a call of one of the operators makes; `where` and `after` know its node by the name."""
        return Pattern(AnyCall(name, frozenset(ops)))

    def __getattr__(self, op: str) -> Callable[..., Any]:
        def record(*inputs: Any, _outputs: int = 1, **attributes: Any) -> Any:
            node = PatternNode.of(op, inputs, attributes)
            patterns = tuple(Pattern(node, index) for index in range(_outputs))
            return patterns[0] if _outputs == 1 else patterns

        return record


@dataclass(frozen=True, slots=True)
class Root:
    """The last call of a pattern.

    `needs` are sets of operators (and "constant"); one of each must be among the writers of its inputs: a quick no.
    """

    node: PatternNode
    needs: tuple[frozenset[str], ...]

    def may_match(self, writers: frozenset[str]) -> bool:
        """Whether a node whose inputs are written by these operators can be the root."""
        return not any(need.isdisjoint(writers) for need in self.needs)


@dataclass(frozen=True, slots=True)
class Template:
    """A whole pattern: its roots (several for a choice), how many of their outputs it stands for, and `**rest`."""

    roots: tuple[Root, ...]
    outputs: int
    rest: str | None


def template_of(before: Callable[..., Any]) -> Template:
    """Call `before` with wildcards.

    Positional parameters match values (with a default of None, also absent ones), keyword-only ones attributes,
    `**rest` all attributes not named. Raises TypeError for what is no pattern.
    """
    parameters = list(inspect.signature(before).parameters.values())[1:]
    values = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    attributes = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    result = before(
        PatternOpset(),
        *(Pattern(Wildcard(p.name, p.default is None)) for p in values),
        **{name: AttributeWildcard(name) for name in attributes},
        **({rest: Rest(rest)} if rest else {}),
    )
    results = result if isinstance(result, tuple) else (result,)
    first = results[0].node
    if any(each.node is not first for each in results):
        raise TypeError("a pattern ends in one call: its results are that call's first outputs")
    nodes = [each.node for each in first.alternatives] if isinstance(first, AnyOf) else [first]
    return Template(tuple(map(_root, nodes)), len(results), rest)


def _root(node: Any) -> Root:
    if not isinstance(node, PatternNode):
        raise TypeError("a pattern ends in a call: else it would match everything")
    needs = (_need(item) for item in node.inputs)
    return Root(node, tuple(need for need in needs if need is not None))


def _need(item: Any) -> frozenset[str] | None:
    """The operators of which one must write an input; None where anything may."""
    match item:
        case None | Pattern(node=Wildcard()):
            return None
        case Pattern(node=PatternNode(op=op)):
            return frozenset({op})
        case Pattern(node=AnyCall(ops=ops)):
            return ops
        case Pattern(node=Keep(pattern=pattern) | Bind(pattern=pattern) | OneUse(pattern=pattern)):
            return _need(pattern)
        case Pattern(node=AnyOf(alternatives=alternatives)):
            needs = [_need(each) for each in alternatives]
            return None if None in needs else frozenset().union(*(need for need in needs if need))
    return frozenset({"constant"})
