"""Dead code elimination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import Target


@graph_pass
@nested
def dce(graph: Graph, target: Target) -> Graph:
    """Keep the nodes that an output can reach. ONNX operators have no effects, so nothing else can matter."""
    kept = pruned(graph.nodes, graph.outputs)
    if len(kept) == len(graph.nodes):
        return graph
    return replace(graph, nodes=kept)


def pruned(nodes: Sequence[Node], outputs: Sequence[Value]) -> tuple[Node, ...]:
    """The nodes that `outputs` can reach, in their order."""
    live, kept = set(outputs), []
    for node in reversed(nodes):
        if not live.isdisjoint(node.outputs):
            live.update(node.reads)
            kept.append(node)
    kept.reverse()
    return tuple(kept)
