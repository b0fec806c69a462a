"""Random numbers that have nothing to do with each other, wherever in a model they are drawn.

ONNX Runtime seeds a generator for each node, by the time of day and the place of the node in its graph, and takes the
simplest of generators (`std::default_random_engine`, x' = 16807·x): of two nodes in bodies of two loops all numbers
are the same, and of two that stand beside each other the first ones nearly (measured with 1.32).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from fxonnx.ir import schema
from fxonnx.ir.graph import Graph, Node
from fxonnx.passes.pipeline import graph_pass, inside
from fxonnx.target import Target

_BITS = 24  # of an integer that a float32 holds, which most seeds are


@graph_pass
def seeds(graph: Graph, target: Target) -> Graph:
    """A seed for each of several nodes that draw; one alone is seeded by the runtime, anew when it is loaded."""
    if sum(map(_draws, graph.all_nodes())) < 2:
        return graph
    return _seeded(graph, count())


def _seeded(graph: Graph, numbers: Iterator[int]) -> Graph:
    nodes = (inside(node, lambda inner: _seeded(inner, numbers)) for node in graph.nodes)
    return replace(graph, nodes=tuple(_with_seed(node, next(numbers)) if _draws(node) else node for node in nodes))


def _draws(node: Node) -> bool:
    """Whether a node draws random numbers, and nobody has said from which seed."""
    facts = schema.facts(node.op)
    return facts is not None and "seed" in facts.attributes and "seed" not in node.attributes


def _with_seed(node: Node, number: int) -> Node:
    facts = schema.facts(node.op)
    assert facts is not None
    seed = zlib.crc32(number.to_bytes(4, "little")) >> (32 - _BITS)
    given = seed if facts.attributes["seed"].kind == "INT" else float(seed)  # Dropout's is an integer
    return Node(node.op, node.inputs, node.outputs, {**node.attributes, "seed": given}, node.location)
