"""Dequantized operands where ONNX Runtime has kernels for their integers, and other forms where it has none.

It computes with integers where a Conv or MatMul stands between DequantizeLinear and QuantizeLinear, and with a weight
of few bits in a MatMul. Any other weight it would dequantize again at each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from fxonnx.dtypes import FLOAT32, INT8, INT16, UINT8, UINT16
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value, content
from fxonnx.ir.types import TensorType
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import MICROSOFT, Target

_BYTES = (INT8, UINT8)
_WIDE = (INT16, UINT16)
_SMALL = 8  # channels of a group; with fewer, its product of integers takes twice as long as floats, and longer
_ELEMENTWISE = frozenset({"Add", "Mul", "Concat"})  # with kernels for bytes on steps
_PER_CALL = frozenset({"Gather", "DequantizeLinear", "If", "Loop", "Scan"})  # readers that take a part, or may not run


MANY_ROWS = 16  # from here on a product in floating point is faster than one that unpacks the weight


@graph_pass
@nested
def integer_kernels(graph: Graph, target: Target) -> Graph:
    """Products whose result stays in floating point as MatMulInteger; convolutions and gates with steps where the
    runtime's kernels for integers want them. For ONNX Runtime."""
    if not target.allows(MICROSOFT) or not any(node.op == "DequantizeLinear" for node in graph.nodes):
        return graph
    return replace_nodes(graph, _Forms(graph, target).replace, rule="integer_kernels")


@graph_pass
@nested
def weights_in_floats(graph: Graph, target: Target) -> Graph:
    """q ── DequantizeLinear ── Conv ─▶        becomes        q ── Cast ── × scale ── Conv ─▶

    for weights of what has no kernel for their integers, or a slower one than for floats, and for values on steps of 16
    bits: ONNX Runtime casts and scales a weight once, when it loads it. The last of these passes, for rules read casts
    and scales as a DequantizeLinear."""
    if not target.allows(MICROSOFT) or not any(node.op == "DequantizeLinear" for node in graph.nodes):
        return graph
    return replace_nodes(graph, _Forms(graph, target).in_floats, rule="weights_in_floats")


class _Forms:
    """Who writes and who reads each value of a graph."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.scales = target.has_kernel(MICROSOFT, "MatMulIntegerToFloat", 1, {})
        self.producers: Mapping[Value, Node] = graph.producers()
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in node.reads:
                self.readers.setdefault(value, []).append(node)

    def replace(self, op: Builder, node: Node) -> Tensor | None:
        """The node's other form, where it has one."""
        if node.op == "MatMul":
            return self.product(op, node)
        if node.op == "Conv" and self.on_integers(node) and (ends := self.needed(node)) is not None:
            return _on_steps(op, op.Conv(*map(op.use, node.reads), **node.attributes), *ends)
        if node.op == "Add":
            return self.with_bias(op, node)
        if node.op == "HardSigmoid":
            return self.gate(op, node)
        return None

    def in_floats(self, op: Builder, node: Node) -> Tensor | None:
        """What a DequantizeLinear gives, cast and scaled, where nobody takes the integers."""
        if node.op != "DequantizeLinear" or not (
            _is_wide(node) or (self.is_weight(node) and not self.has_kernels(node))
        ):
            return None
        return _cast_and_scaled(op, node)

    def product(self, op: Builder, node: Node, bias: Value | None = None) -> Tensor | None:
        """x · weight of integers, scaled: where both are bytes with one step, or one per column, and no Q follows."""
        left, right = (_dequantized(self.producers.get(each)) for each in node.reads)
        if left is None or right is None or not (left.is_whole and right.is_columns) or self.is_quantized(node):
            return None
        if left.scale.is_constant and self.scales:
            waits = bias is None and any(self.takes_bias(node, each) for each in self.added(node))
            return None if waits else _integer_to_float(op, left, right, node.output.type, bias)
        if bias is not None:
            return None
        offset = None if right.is_centered else right.zero
        sums = op.MatMulInteger(left.q, right.q, left.zero, offset)
        scaled: Tensor = op.Cast(sums, to=FLOAT32) * (op.use(left.scale) * op.use(right.scale))
        return scaled

    def with_bias(self, op: Builder, node: Node) -> Tensor | None:
        """The sum of a product of integers and a vector, which the product's kernel adds."""
        for value, bias in (node.reads, reversed(node.reads)):
            product = self.producers.get(value)
            if product is not None and product.op == "MatMul" and self.takes_bias(product, bias):
                return self.product(op, product, bias)
        return None

    def added(self, product: Node) -> tuple[Value, ...]:
        """What its only reader adds to a product."""
        readers = self.readers.get(product.output, [])
        return readers[0].reads if len(readers) == 1 and readers[0].op == "Add" else ()

    def takes_bias(self, product: Node, bias: Value) -> bool:
        """Whether a constant vector is added to a product, and nobody else reads that."""
        is_vector = bias.is_constant and bias.shape == product.output.shape[-1:] and bias.dtype is FLOAT32
        return is_vector and len(self.readers[product.output]) == 1 and product.output not in self.graph.outputs

    def gate(self, op: Builder, node: Node) -> Tensor | None:
        """clip(a · x + b, 0, 1) as a sum, which has a kernel for integers: x + b / a on the steps from 0 to 1 / a, read
        as steps from 0 to 1. Where x is on steps, and all that is computed of it is."""
        x = _dequantized(self.producers.get(node.reads[0]))
        slope, offset = (node.attributes.get(name, default) for name, default in (("alpha", 0.2), ("beta", 0.5)))
        readers = self.readers.get(node.output, [])
        if x is None or not x.is_whole or slope <= 0 or offset <= 0 or not readers:
            return None
        if node.output in self.graph.outputs or not all(map(self.is_quantized, readers)):
            return None
        zero = op.constant(0, UINT8)
        added = op.DequantizeLinear(op.constant(UINT8.highest, UINT8), _step(op, offset / slope), zero)
        clipped = op.QuantizeLinear(op.use(node.reads[0]) + added, _step(op, 1 / slope), zero)
        found: Tensor = op.DequantizeLinear(clipped, _step(op, 1.0), zero)
        return found

    def on_integers(self, node: Node) -> bool:
        """Whether both operands are dequantized: activations on known steps, and a weight that is known."""
        if _has_small_groups(node):
            return False
        x, weight = (_dequantized(self.producers.get(each)) for each in node.reads[:2])
        return x is not None and x.is_whole and weight is not None and weight.q.is_constant

    def needed(self, node: Node) -> tuple[float, float] | None:
        """Between which ends a result makes a difference, where a value on known steps is added to it and the sum is
        quantized: beyond them the sum is cut off. None where it is read otherwise.

        256 steps between them are at most twice as large as the larger of those two's: rounding to one moves the sum by
        one of theirs at most.
        """
        readers = self.readers.get(node.output, [])
        if [each.op for each in readers] != ["Add"] or node.output in self.graph.outputs:
            return None
        (reader,) = readers
        if not self.is_quantized(reader) or reader.inputs[0] is reader.inputs[1]:
            return None
        other = next(value for value in reader.reads if value is not node.output)
        added, total = _ends(self.producers.get(other)), _ends(self.readers[reader.output][0])
        return None if added is None or total is None else (total[0] - added[1], total[1] - added[0])

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
        """Whether a reader's kernel takes the integers of a weight, and is no slower for it. That of a MatMul rounds to
        eight bits what it is multiplied with, and unpacks the weight for each row."""
        first = _dequantized(self.producers.get(reader.inputs[0])) if reader.inputs[0] else None
        if reader.op == "Conv":
            behind = self.is_quantized(reader) or self.needed(reader) is not None
            return first is not None and behind and not _has_small_groups(reader)
        if reader.op == "MatMul" and reader.inputs[1] is weight:
            return not has_many_rows(reader.output) if first is None else first.q.dtype not in _WIDE
        if reader.op in _ELEMENTWISE and self.is_quantized(reader):
            operands = [_dequantized(self.producers.get(value)) for value in reader.reads]
            return all(each is not None and each.is_whole for each in operands)
        return reader.op in _PER_CALL


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
        zero = content(self.zero)
        return self.zero is None or (zero is not None and not zero.any())


def has_many_rows(product: Value) -> bool:
    """Whether a product is known to have many rows."""
    return prod(dim for dim in product.shape[:-1] if isinstance(dim, int)) >= MANY_ROWS


def _has_small_groups(convolution: Node) -> bool:
    """Whether a convolution is a product of small matrices for each of its groups: the runtime has a kernel of its own
    for integers only where a group is one channel to one."""
    groups, (rows, inputs, *_) = convolution.attributes.get("group", 1), convolution.reads[1].shape
    if groups == 1 or not isinstance(rows, int) or not isinstance(inputs, int):
        return False
    outputs = rows // groups
    return not inputs == outputs == 1 and min(inputs, outputs) < _SMALL


def _is_wide(node: Node) -> bool:
    """Whether a DequantizeLinear is of 16 bits. No kernel takes them, and beside a dequantized operand the runtime
    makes eight bits of the other one, whatever it is (WeightBiasQuantization, then MatMulNBits)."""
    return node.reads[0].dtype in _WIDE and node.output.dtype is FLOAT32


def _dequantized(node: Node | None) -> _Dequantized | None:
    """What a DequantizeLinear does; None for other nodes."""
    if node is None or node.op != "DequantizeLinear":
        return None
    q, scale, zero = (*node.inputs, None)[:3]
    assert q is not None and scale is not None
    axis = node.attributes.get("axis", 1) % max(len(q.shape), 1)
    return _Dequantized(q, scale, zero, axis, node.attributes.get("block_size", 0))


def _integer_to_float(
    op: Builder, left: _Dequantized, right: _Dequantized, type: TensorType, bias: Value | None
) -> Tensor:
    """A product of integers on known steps, scaled, and a vector added: one kernel of com.microsoft."""
    offset = None if right.is_centered else right.zero
    inputs = [left.q, right.q, left.scale, right.scale, left.zero, offset, bias]
    return op.call(f"{MICROSOFT}::MatMulIntegerToFloat", inputs, {}, 1, [type])[0]


def _cast_and_scaled(op: Builder, node: Node) -> Tensor | None:
    """(q − zero point) · scale, in floating point; None for blocks along another axis than the first."""
    found = _dequantized(node)
    if found is None or (found.block_size and found.axis):
        return None
    q, shape = op.use(found.q), found.q.shape
    if found.block_size:
        blocks, rest = found.scale.shape[0], shape[1:]
        if shape[0] != blocks * found.block_size:
            return None
        q = op.Reshape(q, [blocks, found.block_size, *rest])
    values = op.Cast(q, to=FLOAT32)
    if found.zero is not None and not found.is_centered:
        values = values - op.Cast(_along(op, found, found.zero), to=FLOAT32)
    scaled: Tensor = values * _along(op, found, found.scale)
    return op.Reshape(scaled, shape) if found.block_size else scaled


def _ends(node: Node | None) -> tuple[float, float] | None:
    """The least and the greatest number that known steps hold, of a QuantizeLinear or a DequantizeLinear."""
    if node is None or node.op not in ("QuantizeLinear", "DequantizeLinear") or len(node.reads) < 3:
        return None
    dtype, scale, zero = node.reads[2].dtype, *map(content, node.reads[1:3])
    if scale is None or scale.shape or zero is None or dtype not in _BYTES:
        return None
    step, middle = float(scale), int(zero)
    return (dtype.lowest - middle) * step, (dtype.highest - middle) * step


def _on_steps(op: Builder, x: Tensor, low: float, high: float) -> Tensor:
    """A value on 256 steps between two ends, with 0 among them."""
    scale = (high - low) / UINT8.highest
    parameters = op.constant(scale, FLOAT32), op.constant(round(-low / scale), UINT8)
    found: Tensor = op.DequantizeLinear(op.QuantizeLinear(x, *parameters), *parameters)
    return found


def _step(op: Builder, end: float) -> Tensor:
    """The scale of 256 steps from 0."""
    return op.constant(end / UINT8.highest, FLOAT32)


def _along(op: Builder, found: _Dequantized, parameter: Value) -> Tensor:
    """A parameter so that it broadcasts against the integers."""
    if not parameter.shape:
        return op.use(parameter)
    if found.block_size:
        between: Tensor = op.Unsqueeze(op.use(parameter), [1])
        return between
    shape = [parameter.shape[0] if axis == found.axis else 1 for axis in range(len(found.q.shape))]
    reshaped: Tensor = op.Reshape(op.use(parameter), shape)
    return reshaped
