"""Passes and how they are chained.

A pass is a named function `(Graph, Target) -> Graph`; it returns the same object when it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from time import perf_counter
from typing import NamedTuple, TypeAlias

from fxonnx import errors, markup
from fxonnx.ir.graph import Graph, Node
from fxonnx.progress import step
from fxonnx.target import Target

PassFunction: TypeAlias = Callable[[Graph, Target], Graph]

ROUNDS = 32  # a repeat that has not settled by then has passes that undo each other
WITH_SUBGRAPHS = frozenset(("If", "Loop", "Scan", "SequenceMap"))


class Firing(NamedTuple):
    """A rule, the nodes that it took, and those that it made of them; readers may keep some of the former alive."""

    rule: str
    before: tuple[Node, ...]
    after: tuple[Node, ...]


_FIRED: ContextVar[list[Firing] | None] = ContextVar("fired", default=None)


def note_fired(rule: str, before: Iterable[Node], after: Iterable[Node]) -> None:
    """Note what a rule did, for the stage that is being made."""
    if (fired := _FIRED.get()) is not None:
        fired.append(Firing(rule, tuple(before), tuple(after)))


@dataclass(frozen=True, slots=True)
class Pass:
    """A named step from graph to graph."""

    name: str
    run: PassFunction

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph after this pass; the same object where nothing changed."""
        return self.run(graph, target)


@dataclass(frozen=True, slots=True, repr=False)
class Stage:
    """A graph as it stood after a step of the compiler, and how long the step took."""

    name: str
    graph: Graph
    seconds: float
    phase: str = ""  # "lowered", "optimized" or "legalized": the part of the compiler that the step belongs to
    fired: Sequence[Firing] = ()  # what rules did, in turn

    @property
    def nodes(self) -> int:
        """How many nodes the graph has, those of subgraphs included."""
        return self.graph.count()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from fxonnx.ir.text.html import graph_html

        return markup.bundle(repr(self), graph_html(self.graph, self.name))

    def __repr__(self) -> str:
        return f"<fxonnx stage {self.name} ({self.phase}): {self.nodes} nodes in {self.seconds * 1000:.1f} ms>"


def graph_pass(function: PassFunction) -> Pass:
    """Make a function a pass called like it."""
    return Pass(function.__name__, function)


def nested(function: PassFunction) -> PassFunction:
    """Make a function of one graph go through its subgraphs as well, innermost first."""

    @wraps(function)
    def run(graph: Graph, target: Target) -> Graph:
        if any(node.op in WITH_SUBGRAPHS for node in graph.nodes):
            nodes = tuple(inside(node, lambda inner: run(inner, target)) for node in graph.nodes)
            if any(new is not old for new, old in zip(nodes, graph.nodes, strict=True)):
                graph = replace(graph, nodes=nodes)
        return function(graph, target)

    return run


def inside(node: Node, change: Callable[[Graph], Graph]) -> Node:
    """The node with its subgraphs changed; the same object where none was."""
    if not node.subgraphs:
        return node
    attributes = {key: change(item) if isinstance(item, Graph) else item for key, item in node.attributes.items()}
    if all(attributes[key] is item for key, item in node.attributes.items()):
        return node
    return Node(node.op, node.inputs, node.outputs, attributes, node.location)


def repeat(*passes: Pass, name: str, rounds: int | None = None) -> Pass:
    """The passes in turn, again and again until none changes the graph, or so many `rounds` are over, if any are named.

    Raises InternalError, which names those to blame, where they would go on for ever.
    """

    def run(graph: Graph, target: Target) -> Graph:
        unchanged = 0  # passes in a row
        for each in passes * (rounds or ROUNDS):
            before, graph = graph, each(graph, target)
            unchanged = unchanged + 1 if graph is before else 0
            if unchanged == len(passes):
                return graph
        if rounds is None:
            raise _endless(name, passes, graph, target)
        return graph

    return Pass(name, run)


def _endless(name: str, passes: tuple[Pass, ...], graph: Graph, target: Target) -> errors.InternalError:
    """The error of a repeat that does not settle: one more round tells who still changes what."""
    before, names = set(graph.nodes), []
    for each in passes:
        old, graph = graph, each(graph, target)
        names += [each.name] if graph is not old else []
    rules = dict.fromkeys(rule for node in graph.nodes if node not in before for rule in node.location.rules)
    cause = f"the nodes that are made again and again come from the rules {', '.join(rules)}" if rules else ""
    return errors.InternalError(f"{name} does not end: {' and '.join(names)} undo each other", cause=cause)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes in a row, each leaving a stage behind; `phase` is what the graph is after them."""

    phase: str
    passes: tuple[Pass, ...]

    def stages(self, graph: Graph, target: Target) -> Iterator[Stage]:
        """Run every pass, yielding what each leaves."""
        for each in self.passes:
            start, fired = perf_counter(), list[Firing]()
            token = _FIRED.set(fired)
            with step(each.name) as left:
                graph = each(graph, target)
                left(graph.count)
            _FIRED.reset(token)
            yield Stage(each.name, graph, perf_counter() - start, self.phase, fired)

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph after all passes."""
        for each in self.passes:
            graph = each(graph, target)
        return graph


def pipeline(phase: str, *passes: Pass) -> Pipeline:
    """Passes in a row, after which the graph is `phase`."""
    return Pipeline(phase, passes)
