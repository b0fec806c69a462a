"""Constant folding with a byte budget: it never grows the model."""

from __future__ import annotations

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.data import ArrayData, CastData, Data, TransposedData, byte_size
from fxonnx.ir.evaluate import evaluate_node
from fxonnx.ir.graph import Graph, Node, Substitution, Value, constant_ints
from fxonnx.ir.types import TensorType
from fxonnx.passes.pipeline import graph_pass
from fxonnx.target import Target

FREE = 4096  # bytes; a result up to this size may be folded whatever it came from
QUANTIZERS = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))  # runtimes fuse them; their int weights are the small form


@graph_pass
def fold(graph: Graph, target: Target) -> Graph:
    """Compute what needs no input: shape arithmetic that came out constant, small tables, transposed or cast weights (as lazy views).

    A result is folded when it is small, or not larger than the constants that die with it; a file never grows by it.
    """
    replaced, readers, kept = Substitution(), graph.readers(), []
    for node in graph.nodes:
        node = replaced.node(node)
        contents = _folded(node, readers)
        if contents is None:
            kept.append(node)
            continue
        for output, data in zip(node.outputs, contents, strict=True):
            constant = Value(TensorType(data.dtype, data.shape), None, data)
            readers[constant] = readers.get(output, 0)
            replaced[output] = constant
    if not replaced:
        return graph
    outputs = tuple(replaced[value] for value in graph.outputs)
    return Graph(graph.inputs, tuple(kept), outputs, graph.opset, graph.output_names, graph.name)


def _folded(node: Node, readers: dict[Value, int]) -> list[Data] | None:
    """The contents of the node's outputs, or None where they are not constant or would grow the model."""
    if len(node.outputs) == 1 and (elements := _known_ints(node.output)) is not None:
        return [ArrayData(elements)]
    inputs = [value for value in node.inputs if value is not None]
    facts = schema.facts(node.op)
    if node.subgraphs or facts is None or not facts.deterministic or node.op in QUANTIZERS:
        return None
    if not inputs or not all(value.is_constant for value in inputs):
        return None
    view = _view(node, inputs[0], readers)
    if view is not None:
        return [view]
    if _size(node.outputs) > max(FREE, sum(_size((value,)) for value in inputs if readers.get(value, 0) <= 1)):
        return None
    arrays = evaluate_node(node, [None if value is None or value.data is None else value.data.array() for value in node.inputs])
    return [ArrayData(np.asarray(array)) for array in arrays]


def _known_ints(value: Value) -> np.ndarray | None:
    ints = constant_ints(value) if value.known is not None else None
    return None if ints is None else np.array(ints, value.dtype.numpy).reshape(tuple(d for d in value.shape if isinstance(d, int)))


def _view(node: Node, weight: Value, readers: dict[Value, int]) -> Data | None:
    """A transposed or cast weight as a view of it, when nothing else keeps the original in the file."""
    if weight.data is None or readers.get(weight, 0) > 1 or byte_size(weight.data) <= FREE:
        return None
    if node.op == "Transpose":
        permutation = node.attributes.get("perm") or tuple(reversed(range(len(weight.shape))))
        return TransposedData(weight.data, permutation)  # type: ignore[arg-type]
    if node.op == "Cast" and node.output.dtype.bits <= weight.dtype.bits and node.output.dtype.bits >= 8:
        return CastData(weight.data, node.output.dtype)
    return None


def _size(values: tuple[Value, ...]) -> int:
    """Bytes of static values; those with symbolic dims are larger than any budget."""
    total = 0
    for value in values:
        if not isinstance(value.type.size, int):
            return 1 << 62
        total += value.dtype.nbytes(value.type.size)
    return total
