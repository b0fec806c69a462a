"""Node by node replacement: the walk that expansions and form changes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Substitution

Replace: TypeAlias = "Callable[[Builder, Node], Tensor | Sequence[Tensor | None] | None]"


def replace_nodes(graph: Graph, replace: Replace, *, rule: str = "") -> Graph:
    """The graph with each node for which `replace` records something new exchanged for it; the same object when none is.

    `replace(op, node)` returns the new outputs (None for one that nobody reads) or None to keep the node. What it records is itself offered for
    replacement, so that an expansion may use operators that need expanding in turn. Subgraphs are walked too.
    """
    return _Walk(replace, rule).graph(graph, Builder(graph.opset))


class _Walk:
    """One walk: the substitution is shared by the graph and its subgraphs, which read the values around them."""

    def __init__(self, replace: Replace, rule: str) -> None:
        self.replace, self.rule = replace, rule
        self.replaced = Substitution()

    def graph(self, graph: Graph, builder: Builder) -> Graph:
        for value in graph.inputs:
            builder.note_sizes(value)
        for node in graph.nodes:
            self.node(builder, node)
        outputs = tuple(self.replaced[value] for value in graph.outputs)
        if outputs == graph.outputs and tuple(builder.nodes) == graph.nodes:
            return graph
        return Graph(graph.inputs, tuple(builder.nodes), outputs, graph.opset, graph.output_names, graph.name)

    def node(self, builder: Builder, original: Node) -> None:
        node = self.subgraphs(builder, self.replaced.node(original))
        mark = len(builder.nodes)
        builder.location = node.location.by(self.rule) if self.rule else node.location
        results = self.replace(builder, node)
        if results is None:
            builder.nodes.append(node)
            for value in node.outputs:
                builder.note_sizes(value)
            return
        fresh = builder.nodes[mark:]
        del builder.nodes[mark:]
        self.connect(builder, node, [results] if isinstance(results, Tensor) else list(results), fresh)
        for each in fresh:
            self.node(builder, each)

    def connect(self, builder: Builder, node: Node, results: list[Tensor | None], fresh: list[Node]) -> None:
        """Readers of the node's outputs read the results from here on; results made here take over what was known of the outputs."""
        made = {output for each in fresh for output in each.outputs}
        for old, new in zip(node.outputs, results, strict=False):
            if new is None:
                continue
            if new.value in made:
                builder.refine(new, old.type, old.known)
            self.replaced[old] = new.value

    def subgraphs(self, builder: Builder, node: Node) -> Node:
        if not node.subgraphs:
            return node
        attributes = {
            name: self.graph(item, builder.nested()) if isinstance(item, Graph) else item for name, item in node.attributes.items()
        }
        changed = any(attributes[name] is not node.attributes[name] for name in attributes)
        return Node(node.op, node.inputs, node.outputs, attributes, node.location) if changed else node
