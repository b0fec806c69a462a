"""Products of what a finite mask leaves: numbers so small that processors multiply them a hundred times slower.

    windows of Swin: scores + (0 or −100), of which softmax makes e⁻¹⁰⁰ = 4e-44, below the smallest normal float32

Our own sessions take such numbers for 0 where that makes no difference (`runtime/subnormals`); this is for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from fxonnx.dtypes import FLOAT32
from fxonnx.ir.graph import Graph, Node, Value, content
from fxonnx.passes.legalize.support import computes
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import MICROSOFT, Target

_TINY = float(np.finfo(np.float32).tiny)
_LOWEST, _HIGHEST = -104.0, -80.0  # exp makes 0 of what is lower; what is higher by 7 is normal
_MOVED = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Slice", "Concat", "Tile", "Cast"})
_MASKING = _MOVED | {"Add", "Where"}
_FAR = 64  # nodes between scores and a number in their mask


@graph_pass
@nested
def no_subnormal_products(graph: Graph, target: Target) -> Graph:
    """scores + mask ── Softmax ── MatMul ─▶   becomes   scores + mask ── Softmax ── ThresholdedRelu ── MatMul ─▶

    where the mask has numbers such as −100: what is below the smallest normal number is 0 in the product. Swin-T takes
    0.80 × (ONNX Runtime 1.32, Intel Xeon, one thread). For ONNX Runtime on the CPU.
    """
    is_asked = target.allows(MICROSOFT) and len(target.providers) == 1
    if not is_asked or not computes("ThresholdedRelu", target, (("T", FLOAT32),)):
        return graph
    producers = graph.producers()
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "MatMul" and _is_masked(node.inputs[0], producers):
            kept = Node("ThresholdedRelu", (node.inputs[0],), (_like(node.inputs[0]),), {"alpha": _TINY}, node.location)
            nodes.append(kept)
            node = Node(node.op, (kept.output, *node.inputs[1:]), node.outputs, node.attributes, node.location)
        nodes.append(node)
    return graph if len(nodes) == len(graph.nodes) else replace(graph, nodes=tuple(nodes))


def _like(value: Value | None) -> Value:
    assert value is not None
    return Value(value.type, value.name)


def _is_masked(value: Value | None, producers: Mapping[Value, Node]) -> bool:
    """Whether a value is, but for its shape, a softmax of scores to which a mask was added."""
    node = None if value is None or value.dtype is not FLOAT32 else producers.get(value)
    if node is None:
        return False
    if node.op in _MOVED:
        return _is_masked(node.inputs[0], producers)
    return node.op == "Softmax" and any(map(_has_subnormal_exp, _masks(node.inputs[0], producers)))


def _masks(scores: Value | None, producers: Mapping[Value, Node]) -> Iterator[Value]:
    """The constants that scores are added to, or that are chosen in their place."""
    waiting, seen = [scores], set[Value | None]()
    while waiting and len(seen) < _FAR:
        value = waiting.pop()
        if value is None or value in seen:
            continue
        seen.add(value)
        node = producers.get(value)
        if node is None:
            yield value
        elif node.op in _MASKING:
            waiting.extend(node.inputs)


def _has_subnormal_exp(value: Value) -> bool:
    """Whether a constant has a number whose exp is subnormal."""
    elements = content(value) if value.dtype.is_float else None
    return elements is not None and bool(((elements >= _LOWEST) & (elements <= _HIGHEST)).any())
