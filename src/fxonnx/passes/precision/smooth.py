"""Large channels of what linear layers read, divided there and multiplied in the weights: so that one channel does not
take the steps of all. Source: Xiao et al., SmoothQuant, 2022.

    x ── MatMul W ─▶   becomes   x / s ── MatMul s·W ─▶

A normalization that makes x for these layers alone takes the division into its scale and bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fxonnx.ir.data import ArrayData, Data, View, transposed
from fxonnx.ir.graph import Graph, Node, Value, has_content
from fxonnx.ir.types import TensorType

_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization")


def smoothed(
    graph: Graph, layers: Mapping[Value, Sequence[Node]], largest: Mapping[Value, np.ndarray], strength: float
) -> Graph:
    """The graph with other weights in linear layers, by what they read; `largest` has the largest magnitude of each
    channel of that."""
    producers, readers = graph.producers(), graph.readers()
    changed: dict[Node, tuple[Node, ...]] = {}
    for x, group in layers.items():
        factor = _factors(largest[x], [_matrix(node) for node in group], strength)
        made = producers.get(x)
        takes = made is not None and made.op in _NORMALIZATIONS and all(map(has_content, made.reads[1:]))
        if made is not None and takes and readers[x] == len(group) and len(made.outputs) == 1:
            changed[made] = (_divided(made, factor),)
            changed |= {node: (_with_weight(node, x, factor),) for node in group}
            continue
        divided = Value(x.type)
        division = Node("Mul", (x, _constant(1 / factor)), (divided,), {}, group[0].location)
        changed |= {node: (_with_weight(node, divided, factor),) for node in group}
        changed[group[0]] = (division, *changed[group[0]])
    nodes = tuple(new for node in graph.nodes for new in changed.get(node, (node,)))
    return replace(graph, nodes=nodes)


def _factors(inputs: np.ndarray, weights: Sequence[Data], strength: float) -> np.ndarray:
    """What each channel is divided by; 1 where it or its weights are always 0."""
    rows = np.max([np.abs(each.array()).max(1) for each in weights], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = inputs**strength / rows ** (1 - strength)
    return np.where(np.isfinite(found) & (found > 0), found, 1).astype(np.float32)


def _matrix(node: Node) -> Data:
    """The weight [inputs, outputs] of a linear layer."""
    data = node.reads[1].data
    assert data is not None
    return transposed(data, (1, 0)) if node.attributes.get("transB") else data


def _with_weight(node: Node, x: Value, factor: np.ndarray) -> Node:
    source = _matrix(node)

    def rows(start: int, stop: int) -> np.ndarray:
        part: np.ndarray = source.part(start, stop) * factor[start:stop, None]
        return part

    data = View(source, ("times rows", factor.tobytes()), source.dtype, tuple(source.shape), rows, ".smooth")
    name = node.reads[1].name
    weight = Value(TensorType(data.dtype, data.shape), name and name + data.suffix, data)
    attributes = {key: item for key, item in node.attributes.items() if key != "transB"}
    return Node(node.op, (x, weight, *node.inputs[2:]), node.outputs, attributes, node.location)


def _divided(node: Node, factor: np.ndarray) -> Node:
    """A normalization whose results are divided."""
    parameters = [_constant(value.data.array() / factor) for value in node.reads[1:] if value.data is not None]
    return Node(node.op, (node.inputs[0], *parameters), node.outputs, node.attributes, node.location)


def _constant(content: np.ndarray) -> Value:
    data = ArrayData(content.astype(np.float32))
    return Value(TensorType(data.dtype, data.shape), None, data)
