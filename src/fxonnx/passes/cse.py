"""Common subexpression elimination."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.graph import Attribute, Graph, Node, Substitution, Value
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import Target


@graph_pass
@nested
def cse(graph: Graph, target: Target) -> Graph:
    """Of nodes that compute the same from the same inputs, keep the first. Equal constants are one value.

    Nodes with subgraphs, random ones and those of other domains are left alone.
    """
    replaced, seen, nodes = Substitution(_shared_constants(graph)), dict[Hashable, Node](), list[Node]()
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
    return replace(graph, nodes=tuple(nodes), outputs=outputs)


def _shared_constants(graph: Graph) -> dict[Value, Value]:
    """Constants with the content of an earlier one -> that one."""
    first: dict[Hashable, Value] = {}
    same: dict[Value, Value] = {}
    for value in graph.constants():
        assert value.data is not None
        kept = first.setdefault((value.data.identity, value.type), value)
        if kept is not value:
            same[value] = kept
    return same


def _key(node: Node) -> Hashable:
    facts = schema.facts(node.op)
    if node.subgraphs or facts is None or not facts.deterministic:
        return id(node)
    attributes = tuple((name, _hashable(item)) for name, item in sorted(node.attributes.items()))
    return (node.op, node.inputs, len(node.outputs), attributes)


def _hashable(item: Attribute) -> Hashable:
    return (item.dtype.str, item.shape, item.tobytes()) if isinstance(item, np.ndarray) else item
