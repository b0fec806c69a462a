"""Nodes exchanged for others: what rules and legalization share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import TypeAlias

from fxonnx import errors
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.ir.types import TensorType, compatible
from fxonnx.passes.pipeline import inside

Replace: TypeAlias = "Callable[[Builder, Node], Tensor | Sequence[Tensor | None] | None]"


class Rebuilder(Builder):
    """A builder for a new version of a graph: what is kept of the old one tells where sizes are."""

    def __init__(self, opset: int, parent: Rebuilder | None = None) -> None:
        super().__init__(opset, parent)
        self.noted: set[Dim] = set(parent.noted) if parent else set()

    @classmethod
    def of(cls, graph: Graph) -> Rebuilder:
        """A builder that knows the graph's inputs, and which names of sizes are taken."""
        builder = cls(graph.opset)
        builder.numbers = _unused_numbers(graph)
        builder.note(graph.inputs)
        return builder

    def nested(self) -> Rebuilder:
        """A builder for a subgraph, which may read what this one has recorded."""
        return Rebuilder(self.version, self)

    def keep(self, node: Node) -> None:
        """Record a node of the old graph; what it reads may come from around that, and tells sizes too."""
        self.nodes.append(node)
        self.note((*(each for each in node.inputs if each is not None), *node.outputs))

    def note(self, values: Iterable[Value]) -> None:
        """Remember where to read the sizes in the shapes of values, or that they hold. Most have been seen before."""
        for value in values:
            if value.known is not None:
                self.note_number(value)
            for dim in value.type.shape:
                if type(dim) is not int and dim not in self.noted:
                    self.noted.add(dim)
                    self.note_sizes(value)


def _unused_numbers(graph: Graph) -> Iterator[int]:
    """Numbers for sizes nobody knows, other than those that the graph has: `_0` must not mean two things.

    Few passes ever ask for one, so the graph is searched only when the first is wanted.
    """
    values = (value for node in graph.all_nodes() for value in (*node.reads, *node.outputs))
    taken = {name for value in values for name in value.type.symbols}
    yield from (number for number in count() if f"_{number}" not in taken)


def take_over(
    builder: Builder, olds: Sequence[Value], news: Sequence[Tensor | None], fresh: Iterable[Node], who: str
) -> None:
    """Let new values stand for old ones: those made here take over what was known of them.

    None stands for a value that nobody reads. Raises InternalError where a dtype, a rank or a size contradicts the old.
    """
    made = {output for node in fresh for output in node.outputs}
    for index, old in enumerate(olds):
        new = news[index] if index < len(news) else None
        if new is None:
            continue
        if not compatible(new.type, old.type):
            raise errors.InternalError(f"{who} makes {new.type} of {old.type}", location=builder.location)
        if new.value in made:
            dims = (a if isinstance(a, int) else b for a, b in zip(new.shape, old.shape, strict=True))
            builder.refine(new, TensorType(old.dtype, tuple(dims)), old.known)


def replace_nodes(graph: Graph, replace: Replace, *, rule: str = "") -> Graph:
    """The graph with nodes exchanged for what `replace` records for them; the same object where it does so for none.

    `replace(op, node)` returns the new outputs (None for one that nobody reads) or None to keep the node, whatever it
    has recorded until then. What it records for new outputs is itself offered for replacement, so that an expansion
    may use operators that need expanding in turn. Subgraphs are walked too.
    """
    return _Walk(replace, rule).graph(graph, Rebuilder.of(graph))


class _Walk:
    """One walk: the substitution is shared by the graph and its subgraphs, which read the values around them."""

    def __init__(self, replace: Replace, rule: str) -> None:
        self.replace, self.rule = replace, rule
        self.replaced = Substitution()

    def graph(self, graph: Graph, builder: Rebuilder) -> Graph:
        builder.note(graph.inputs)
        for node in graph.nodes:
            self.node(builder, node)
        outputs = tuple(self.replaced[value] for value in graph.outputs)
        if outputs == graph.outputs and tuple(builder.nodes) == graph.nodes:
            return graph
        return dataclasses.replace(graph, nodes=tuple(builder.nodes), outputs=outputs)

    def node(self, builder: Rebuilder, original: Node) -> None:
        node = inside(self.replaced.node(original), lambda inner: self.graph(inner, builder.nested()))
        mark = len(builder.nodes)
        builder.location = node.location.by(self.rule) if self.rule else node.location
        results = self.replace(builder, node)
        if results is None:
            builder.drop(mark)  # what it had begun with
            builder.keep(node)
            return
        fresh = builder.nodes[mark:]
        del builder.nodes[mark:]
        self.connect(builder, node, [results] if isinstance(results, Tensor) else list(results), fresh)
        for each in fresh:
            self.node(builder, each)

    def connect(self, builder: Builder, node: Node, results: list[Tensor | None], fresh: list[Node]) -> None:
        """Readers of the node's outputs read the results from here on."""
        take_over(builder, node.outputs, results, fresh, f"{self.rule} of {node.op}")
        for old, new in zip(node.outputs, results, strict=False):
            if new is not None:
                self.replaced[old] = new.value
