"""Common subexpression elimination."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.graph import Attribute, Graph, Node, Substitution, Value
from fxonnx.passes.pipeline import graph_pass
from fxonnx.target import Target


@graph_pass
def cse(graph: Graph, target: Target) -> Graph:
    """Of nodes that compute the same from the same inputs, keep the first. Equal constants are one value.

    Nodes with subgraphs and random ones are left alone.
    """
    replaced, seen, constants = Substitution(), {}, _share_constants(graph)
    nodes = []
    for value, same in constants.items():
        replaced[value] = same
    for node in graph.nodes:
        node = replaced.node(node)
        first = seen.setdefault(_key(node), node)
        if first is node:
            nodes.append(node)
            continue
        for old, new in zip(node.outputs, first.outputs, strict=True):
            replaced[old] = new
    if not replaced:
        return graph
    outputs = tuple(replaced[value] for value in graph.outputs)
    return Graph(graph.inputs, tuple(nodes), outputs, graph.opset, graph.output_names, graph.name)


def _share_constants(graph: Graph) -> dict[Value, Value]:
    """Constants with the content of an earlier one -> that one."""
    first: dict[Hashable, Value] = {}
    same: dict[Value, Value] = {}
    for value in graph.constants():
        if value.data is not None and (kept := first.setdefault((value.data.identity, value.type), value)) is not value:
            same[value] = kept
    return same


def _key(node: Node) -> Hashable:
    facts = schema.facts(node.op)
    if node.subgraphs or facts is None or not facts.deterministic:
        return id(node)
    return (node.op, node.inputs, len(node.outputs), tuple((name, _hashable(item)) for name, item in sorted(node.attributes.items())))


def _hashable(item: Attribute) -> Hashable:
    return (item.dtype.str, item.shape, item.tobytes()) if isinstance(item, np.ndarray) else item  # type: ignore[return-value]
