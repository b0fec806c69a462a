"""Transposes of rows, behind the linear layers that they are before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value, has_content
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target

_MOVING = frozenset(("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Split", "Slice"))


@graph_pass
@nested
def transposes_behind_linear(graph: Graph, target: Target) -> Graph:
    """x ── Transpose ── MatMul ── + ─▶        becomes        x ── MatMul ── + ── Transpose ─▶

    where all that reads the result moves it: the Transpose becomes part of that. nn.MultiheadAttention has its batch
    behind the length.
    """
    producers = {output: node for node in graph.nodes for output in node.outputs}
    readers = _readers(graph)
    found = ((node, _layer(node, producers, readers)) for node in graph.nodes)
    ends = {node.output: layer for node, layer in found if layer is not None}
    if not ends:
        return graph

    def replace(op: Builder, node: Node) -> Tensor | None:
        if node.output not in ends:
            return None
        transpose, product, bias = ends[node.output]
        result = op.MatMul(transpose.inputs[0], product.inputs[1])
        result = result if bias is None else op.Add(result, bias)
        moved: Tensor = op.Transpose(result, perm=transpose.attributes["perm"])
        return moved

    return replace_nodes(graph, replace, rule="transposes_behind_linear")


Layer = tuple[Node, Node, Value | None]
"""the Transpose, the MatMul, and what is added"""


def _layer(node: Node, producers: Mapping[Value, Node], readers: Mapping[Value, Sequence[Node | None]]) -> Layer | None:
    """The linear layer that ends with a node, where its rows are transposed first and moved afterwards."""
    product, bias = node, None
    if node.op == "Add":
        product, bias = producers.get(node.inputs[0], node), node.inputs[1]  # type: ignore[arg-type]
        if not has_content(bias) or len(bias.shape) != 1 or len(readers[product.output]) > 1:
            return None
    transpose = producers.get(product.inputs[0]) if product.op == "MatMul" else None  # type: ignore[arg-type]
    if transpose is None or not _is_of_rows(transpose) or not has_content(product.inputs[1]):
        return None
    source = producers.get(transpose.inputs[0])  # type: ignore[arg-type]
    if source is not None and source.op in _MOVING:
        return None  # it is among others already
    if len(product.inputs[1].shape) != 2 or len(readers[transpose.output]) > 1:
        return None
    is_moved = all(each is not None and each.op in _MOVING for each in readers[node.output])
    return (transpose, product, bias) if is_moved else None


def _is_of_rows(node: Node) -> bool:
    """Whether it is a Transpose that leaves the last axis."""
    perm = node.attributes.get("perm") if node.op == "Transpose" else None
    return perm is not None and perm[-1] == len(perm) - 1


def _readers(graph: Graph) -> Mapping[Value, Sequence[Node | None]]:
    """Who reads each value, None for the graph's outputs."""
    found: defaultdict[Value, list[Node | None]] = defaultdict(list)
    for node in graph.nodes:
        for value in node.reads:
            found[value].append(node)
    for value in graph.outputs:
        found[value].append(None)
    return found
