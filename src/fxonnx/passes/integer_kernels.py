"""Dequantized operands where ONNX Runtime has kernels for their integers, and other forms where it has none.

It computes with integers where a Conv or MatMul stands between DequantizeLinear and QuantizeLinear, and with a weight
of few bits in a MatMul. Any other weight it would dequantize again at each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fxonnx.dtypes import FLOAT32, INT8, UINT8
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.replace import replace_nodes
from fxonnx.target import MICROSOFT, Target

_BYTES = (INT8, UINT8)
_PER_CALL = frozenset({"Gather", "DequantizeLinear", "If", "Loop", "Scan"})  # readers that take a part, or may not run


@graph_pass
@nested
def integer_kernels(graph: Graph, target: Target) -> Graph:
    """Products whose result stays in floating point as MatMulInteger; weights of what has no integer kernel cast and
    scaled, which the runtime does once, when it loads them. For ONNX Runtime."""
    if not target.allows(MICROSOFT) or not any(node.op == "DequantizeLinear" for node in graph.nodes):
        return graph
    return replace_nodes(graph, _Forms(graph).replace, rule="integer_kernels")


class _Forms:
    """Who writes and who reads each value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers: Mapping[Value, Node] = graph.producers()
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in node.reads:
                self.readers.setdefault(value, []).append(node)

    def replace(self, op: Builder, node: Node) -> Tensor | None:
        """The node's other form, where it has one."""
        if node.op == "MatMul":
            return self.product(op, node)
        if node.op == "DequantizeLinear" and self.is_weight(node) and not self.has_kernels(node):
            return _cast_and_scaled(op, node)
        return None

    def product(self, op: Builder, node: Node) -> Tensor | None:
        """x · weight of integers, scaled: where both are bytes with one step, or one per column, and no Q follows."""
        left, right = (_dequantized(self.producers.get(each)) for each in node.inputs if each is not None)
        if left is None or right is None or not (left.is_whole and right.is_columns) or self.is_quantized(node):
            return None
        zero = None if left.zero is None else op.use(left.zero)
        offset = None if right.zero is None or right.is_centered else op.use(right.zero)
        sums = op.MatMulInteger(op.use(left.q), op.use(right.q), zero, offset)
        scaled: Tensor = op.Cast(sums, to=FLOAT32) * (op.use(left.scale) * op.use(right.scale))
        return scaled

    def is_quantized(self, node: Node) -> bool:
        """Whether only a QuantizeLinear reads the result, or a bias added to it."""
        readers = self.readers.get(node.output, [])
        if [each.op for each in readers] == ["Add"] and any(v and v.is_constant for v in readers[0].inputs):
            readers = self.readers.get(readers[0].output, [])
        return [each.op for each in readers] == ["QuantizeLinear"]

    def is_weight(self, node: Node) -> bool:
        """Whether a DequantizeLinear is of constants."""
        return all(value is None or value.is_constant for value in node.inputs) and node.output.dtype is FLOAT32

    def has_kernels(self, node: Node) -> bool:
        """Whether every reader of a dequantized weight computes with the integers, or is not to have all of them."""
        readers = self.readers.get(node.output, [])
        return node.output in self.graph.outputs or all(self.takes_integers(each, node.output) for each in readers)

    def takes_integers(self, reader: Node, weight: Value) -> bool:
        """Whether a reader's kernel takes the integers of a weight."""
        if reader.op == "Conv":
            first = self.producers.get(reader.inputs[0]) if reader.inputs[0] else None
            return first is not None and first.op == "DequantizeLinear" and self.is_quantized(reader)
        return (reader.op == "MatMul" and reader.inputs[1] is weight) or reader.op in _PER_CALL


@dataclass(frozen=True, slots=True)
class _Dequantized:
    """(q − zero) · scale: integers, and parameters for all of them, for each slice along an axis, or for blocks."""

    q: Value
    scale: Value
    zero: Value | None
    axis: int
    block_size: int

    @property
    def is_whole(self) -> bool:
        """Whether bytes have one scale for all."""
        return self.q.dtype in _BYTES and self.scale.dtype is FLOAT32 and not self.scale.shape

    @property
    def is_columns(self) -> bool:
        """Whether a constant matrix of bytes has one scale for all, or one per column."""
        if not self.q.is_constant or self.q.dtype not in _BYTES or self.scale.dtype is not FLOAT32:
            return False
        return not self.scale.shape or (not self.block_size and len(self.q.shape) == 2 and self.axis == 1)

    @property
    def is_centered(self) -> bool:
        """Whether all zero points are 0."""
        return self.zero is None or (self.zero.data is not None and not self.zero.data.array().any())


def _dequantized(node: Node | None) -> _Dequantized | None:
    """What a DequantizeLinear does; None for other nodes."""
    if node is None or node.op != "DequantizeLinear":
        return None
    q, scale, zero = (*node.inputs, None)[:3]
    assert q is not None and scale is not None
    axis = node.attributes.get("axis", 1) % max(len(q.shape), 1)
    return _Dequantized(q, scale, zero, axis, node.attributes.get("block_size", 0))


def _cast_and_scaled(op: Builder, node: Node) -> Tensor | None:
    """(q − zero point) · scale, in floating point; None where the scales are of blocks."""
    found = _dequantized(node)
    if found is None or found.block_size:
        return None
    values = op.Cast(op.use(found.q), to=FLOAT32)
    if found.zero is not None and not found.is_centered:
        values = values - op.Cast(_along(op, found, found.zero), to=FLOAT32)
    scaled: Tensor = values * _along(op, found, found.scale)
    return scaled


def _along(op: Builder, found: _Dequantized, parameter: Value) -> Tensor:
    """A parameter so that it broadcasts against the integers."""
    if not parameter.shape:
        return op.use(parameter)
    shape = [parameter.shape[0] if axis == found.axis else 1 for axis in range(len(found.q.shape))]
    reshaped: Tensor = op.Reshape(op.use(parameter), shape)
    return reshaped
