"""Dead code elimination."""

from __future__ import annotations

from fxonnx.ir.graph import Graph, Value
from fxonnx.passes.pipeline import graph_pass
from fxonnx.target import Target


@graph_pass
def dce(graph: Graph, target: Target) -> Graph:
    """Keep the nodes that an output can reach. ONNX operators have no effects, so nothing else can matter."""
    live: set[Value] = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if not live.isdisjoint(node.outputs):
            live.update(node.reads)
            kept.append(node)
    if len(kept) == len(graph.nodes):
        return graph
    return Graph(graph.inputs, tuple(reversed(kept)), graph.outputs, graph.opset, graph.output_names, graph.name)
