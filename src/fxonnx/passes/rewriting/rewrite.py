"""Rewrite rules.

A rule is two functions of `op` that look like the model: `before` is recorded into a pattern, `after` is recorded in
its place, under the merged places of what it replaces. `where`, if there is one, sees the matched tensors and
attributes and says no.

    @rule
    class double_transpose:
        \"\"\"x ── Transpose ── Transpose ─▶   becomes   x ── Transpose ─▶\"\"\"
        def before(op, x, *, first, second): return op.Transpose(op.Transpose(x, perm=first), perm=second)
        def after(op, x, *, first, second):  return op.Transpose(x, perm=[first[axis] for axis in second])

Parameters of `before` are wildcards: positional ones match any value (with a default of None, also an absent input),
keyword-only ones any attribute (or constant number), `**rest` all attributes that the call does not name. `where` and
`after` name those they want, and perhaps `result`, the tensor to be replaced; `where` may ask the `target` that is
compiled for, and its machine. Attributes that a pattern does not name have their defaults; constants match by number.

Rules are indexed by the operator at their root; each node is visited once, and so is what rules make of it. Inner
values must have no other reader (they would be computed twice). A pass over n nodes costs n times the few rules of each
operator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fxonnx import errors
from fxonnx.errors import InvalidOption
from fxonnx.errors.turning import Turning
from fxonnx.ir.build import Builder, InvalidCall, Tensor
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.ir.types import compatible
from fxonnx.location import Location
from fxonnx.passes.dce import pruned
from fxonnx.passes.pipeline import Pass, nested, note_fired
from fxonnx.passes.rewriting.match import Match, Uses, matches
from fxonnx.passes.rewriting.pattern import Root, Template, template_of
from fxonnx.passes.rewriting.replace import Rebuilder, take_over
from fxonnx.target import Target

GENERATIONS = 32  # rules that have rewritten so many times what rules have made go in a circle


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
    def template(self) -> Template:
        """What `before` records. Raises WrongRule."""
        with _Recording(self, self.before):
            return template_of(self.before)

    @cached_property
    def _wanted(self) -> dict[Callable[..., Any], tuple[tuple[str, ...], bool]]:
        """(names of parameters, whether it takes further keywords) of `after` and `where`."""
        return {function: _parameters(function) for function in (self.after, self.where) if function is not None}

    def call(self, function: Callable[..., Any], op: Builder, match: Match, target: Target | None = None) -> Any:
        """`after` or `where` with what it asks for: wildcards (None in a choice not taken), `op`, the old `result`; and
        `where` the `target`. Raises WrongRule for whatever it raises."""
        names, takes_rest = self._wanted[function]
        rest = match.bound.get(self.template.rest or "", {})
        root = next(iter(match.nodes.values()))
        found = {**rest, **match.bound, "op": op, "result": op.use(root.output), "target": target}
        given = {name: _argument(op, found.get(name)) for name in names}
        further = {name: item for name, item in rest.items() if name not in given}
        with _Recording(self, function):
            return function(**given, **further if takes_rest else {})


class _Recording(Turning):
    """`with _Recording(rule, function): …` raises WrongRule, with the line, for what a function of a rule raises."""

    def __init__(self, rule: Rule, function: Callable[..., Any]) -> None:
        self._rule, self._function = rule, function

    def turned(self, error: Exception) -> errors.WrongRule:
        """The error of the rule."""
        said = str(error) if isinstance(error, InvalidCall) else f"{type(error).__name__}: {error}"
        place = Location.of_function(self._function, error.__traceback__)
        return _wrong(self._rule, "cannot be recorded", said, place)


def _wrong(rule: Rule, what: str, cause: str, *location: Location) -> errors.WrongRule:
    is_ours = rule.after.__module__.startswith("fxonnx.")
    cure = f'optimize={{"{rule.name}": False}}, and please report it' if is_ours else "correct the rule"
    return errors.WrongRule(f"rule {rule.name} {what}", cause=cause, cure=cure, location=location)


def rule(cls: type) -> Rule:
    """Make a class with `before`, `after` and perhaps `where` and `when` a rule of its name; the docstring draws it.

    Raises InvalidOption for what has not both.
    """
    members = vars(cls) if isinstance(cls, type) else {}
    if not callable(members.get("before")) or not callable(members.get("after")):
        raise InvalidOption(
            f"{getattr(cls, '__name__', cls)} is no rule",
            cause="a rule is a class with two functions, before and after, of op and the same names",
            cure="@fxonnx.rule over class square: with def before(op, x): return op.Pow(x, 2.0) and "
            "def after(op, x): return op.Mul(x, x)",
        )
    picture = inspect.cleandoc(cls.__doc__ or "")
    optional = {name: members.get(name) for name in ("where", "when")}
    return Rule(cls.__name__, members["before"], members["after"], **optional, picture=picture)


def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    parameters = inspect.signature(function).parameters.values()
    named = tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
    return named, len(named) < len(parameters)


def _argument(op: Builder, item: Any) -> Any:
    if not isinstance(item, Value):
        return item
    op.note_sizes(item)  # it may come from around this graph
    return op.use(item)


def rewrite(*rules: Rule, name: str = "rewrite") -> Pass:
    """A pass that applies rules to each node and to what they make of it, the first rule that matches winning."""
    table: dict[str, list[tuple[Root, Rule]]] = {}
    for each in rules:
        for root in each.template.roots:
            table.setdefault(root.node.op, []).append((root, each))

    @nested
    def run(graph: Graph, target: Target) -> Graph:
        wanted = {each for each in rules if each.when is None or each.when(target)}
        active = {op: [pair for pair in listed if pair[1] in wanted] for op, listed in table.items()}
        return _Rewriter(active, graph, target).run() if any(active.get(node.op) for node in graph.nodes) else graph

    return Pass(name, run)


class _Rewriter:
    """One walk over one graph."""

    def __init__(self, rules: Mapping[str, list[tuple[Root, Rule]]], graph: Graph, target: Target) -> None:
        self.rules, self.graph, self.target = rules, graph, target
        self.builder = Rebuilder.of(graph)
        self.replaced = Substitution()
        self.uses = Uses(graph.readers())

    def run(self) -> Graph:
        for node in self.graph.nodes:
            self.visit(node)
        if not self.replaced:
            return self.graph
        graph, outputs = self.graph, tuple(self.replaced[value] for value in self.graph.outputs)
        nodes = pruned(self.builder.nodes, outputs)
        return replace(graph, nodes=nodes, outputs=outputs)

    def visit(self, original: Node, history: tuple[str, ...] = ()) -> None:
        """Keep the node, or what a rule makes of it; that is visited in turn. `history` are the rules that made it."""
        node = self.replaced.node(original)
        self.uses.add(node)
        found = self.find(node)
        if found is None:
            self.builder.keep(node)
            return
        rule, match = found
        if len(history) == GENERATIONS:
            raise _endless(history, node)
        for each in self.substitute(rule, node, match):
            self.visit(each, (*history, rule.name))

    def find(self, node: Node) -> tuple[Rule, Match] | None:
        """The first rule that fits the node, and how; None where none does."""
        rules = self.rules.get(node.op)
        if not rules:
            return None
        writers = self.uses.writers(node)
        for root, each in rules:
            if root.may_match(writers):
                for match in matches(root, each.template.outputs, node, self.uses):
                    if each.where is None or each.call(each.where, self.builder, match, self.target):
                        return each, match
        return None

    def substitute(self, rule: Rule, root: Node, match: Match) -> list[Node]:
        """Record the rule's result and let the readers of the root read it."""
        mark = len(self.builder.nodes)
        results = apply_rule(rule, root, match, self.builder)
        fresh = self.builder.nodes[mark:]
        del self.builder.nodes[mark:]
        note_fired(rule.name, dict.fromkeys(match.nodes.values()), fresh)
        for node in fresh:
            self.uses.add(node, reads=True)
        for old, new in zip(root.outputs, results, strict=False):
            self.uses.move(old, new.value)
            self.replaced[old] = new.value
        self.uses.remove(root)
        return fresh


def _endless(history: tuple[str, ...], node: Node) -> errors.InternalError:
    """The error of rules that match what they make; those of the last generations are to blame."""
    names = " and ".join(dict.fromkeys(history[GENERATIONS // 2 :]))
    return errors.InternalError(
        f"rewriting {node.op} does not end",
        cause=f"{names} match what they make", location=node.location,
    )  # fmt: skip


def apply_rule(rule: Rule, root: Node, match: Match, builder: Builder) -> tuple[Tensor, ...]:
    """Record what the rule makes of a match: a result for each output that its pattern stands for.

    Raises WrongRule where there are too few, or one has another dtype, rank or size than what it replaces.
    """
    mark = len(builder.nodes)
    nodes = dict.fromkeys(match.nodes.values())
    builder.location = Location.merge(*(node.location for node in reversed(nodes)), rule=rule.name)
    result = rule.call(rule.after, builder, match)
    results: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
    olds = root.outputs[: rule.template.outputs]
    if wrong := _contradiction(olds, results):
        places = builder.location, Location.of_function(rule.after)
        raise _wrong(rule, f"makes {wrong}", "after has to give what before gave", *places)
    take_over(builder, olds, results, builder.nodes[mark:], f"rule {rule.name}")
    return results


def _contradiction(olds: Sequence[Value], results: Sequence[Any]) -> str:
    """What is made that cannot stand for old values, in words; empty where all can."""
    if len(results) != len(olds):
        return f"{len(results)} of {len(olds)} outputs"
    for old, new in zip(olds, results, strict=True):
        if not isinstance(new, Tensor):
            return f"a {type(new).__name__} of a tensor"
        if not compatible(new.type, old.type):
            return f"{new.type} of {old.type}"
    return ""
