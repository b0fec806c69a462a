"""Channels in whole vectors, for kernels of integers that compute what is left over one by one.

ONNX Runtime's depthwise convolution of bytes takes two to three times as long for 72 channels as for 80, and its others
copy their input slowly where its channels are no multiple of four, as the three of an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from math import prod

import numpy as np

from fxonnx.dtypes import UINT8
from fxonnx.ir.data import ArrayData, padded
from fxonnx.ir.graph import Graph, Node, Value, constant_ints, content, has_content
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize.support import computes
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import MICROSOFT, Target

_VECTOR = 16  # bytes that the kernel of depthwise convolutions takes at once
_WORD = 4  # bytes that are multiplied at once along the inputs of an output
_FEW = 16  # channels of an input that is worth a copy
_WASTE = 4 / 3  # how many times as many channels there may be afterwards

_ALONE = frozenset({
    "Relu", "Clip", "HardSigmoid", "Sigmoid", "HardSwish", "LeakyRelu", "Elu", "Tanh", "Identity", "MaxPool",
    "AveragePool", "GlobalAveragePool", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip
_TOGETHER = frozenset({"Add", "Sub", "Mul", "Max", "Min"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax"})


@graph_pass
@nested
def channels_in_vectors(graph: Graph, target: Target) -> Graph:
    """… ── Conv [72,24,1,1] ── Conv [72,1,3,3] ── Conv [24,72,1,1] ─▶
    becomes   … ── Conv [80,24,1,1] ── Conv [80,1,3,3] ── Conv [24,80,1,1] ─▶

    on steps: the further channels have weights of 0 in front and behind, so that no value changes. Channels that cannot
    be made more where they come from, of an image, are made four by a Pad. For ONNX Runtime.
    """
    if not target.allows(MICROSOFT) or not any(node.op == "QuantizeLinear" for node in graph.nodes):
        return graph
    channels = _Channels(graph)
    wider = channels.wider()
    pads = channels.few(wider) if computes("Pad", target, (("T", UINT8),)) else {}
    return _Widened(channels, wider, pads).whole(graph) if wider or pads else graph


@dataclass(frozen=True, slots=True)
class _Constants:
    """Whose integers a dequantized constant has: the DequantizeLinear, and the one zero point of all of them."""

    node: Node
    zero: int


class _Channels:
    """Which values of a graph have the same channels, and which of these may become more."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.parents: dict[Value, Value] = {}
        self.fixed: set[Value] = {*graph.inputs, *graph.outputs}
        self.depthwise: set[Value] = set()
        for node in graph.nodes:
            self.visit(node)

    def of(self, value: Value) -> Value:
        """The value that stands for all with the same channels."""
        while (parent := self.parents.get(value, value)) is not value:
            value = parent
        return value

    def visit(self, node: Node) -> None:
        """Join what has the same channels, and fix those of what is not known to go with more."""
        if node.op == "Conv":
            self.convolution(node)
        elif (values := _alike(node)) is None:
            self.fixed.update((*node.reads, *node.outputs))
        else:
            reduce(self.join, values)

    def convolution(self, node: Node) -> None:
        x, y = node.reads[0], node.output
        if self.weights(node) is None or len(x.shape) < 3:
            self.fixed.update((x, y))
        elif is_depthwise(node):
            self.join(x, y)
            self.depthwise.add(y)
        elif node.attributes.get("group", 1) != 1:
            self.fixed.update((x, y))

    def join(self, one: Value, other: Value) -> Value:
        self.parents[self.of(other)] = self.of(one)
        return one

    def weights(self, node: Node) -> tuple[_Constants, _Constants | Value | None] | None:
        """The weight and the bias of a convolution, where both are known."""
        weight = _constants(self.producers.get(node.reads[1]))
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        known = bias if bias is None or has_content(bias) else _constants(self.producers.get(bias))
        return None if weight is None or (known is None) is not (bias is None) else (weight, known)

    def wider(self) -> Mapping[Value, int]:
        """How many channels the values that stand for others get; those that keep theirs are not in it."""
        fixed = {self.of(value) for value in self.fixed}
        vectors = {self.of(value): _VECTOR for value in self.depthwise}
        found = {}
        for value, vector in vectors.items():
            count = value.shape[1]
            if value not in fixed and isinstance(count, int) and count < (more := _rounded(count, vector)):
                found.update({value: more} if more <= count * _WASTE else {})
        return found

    def few(self, wider: Mapping[Value, int]) -> Mapping[Node, int]:
        """How many channels convolutions between integers get to read that read few and an odd number."""
        found = {}
        unquantized = {value for node in self.graph.nodes if node.op != "QuantizeLinear" for value in node.reads}
        unquantized.update(self.graph.outputs)
        for node in self.graph.nodes:
            if node.op != "Conv" or node.attributes.get("group", 1) != 1 or self.weights(node) is None:
                continue
            x, kernel = node.reads[0], node.reads[1].shape[2:]
            count, source = x.shape[1], self.producers.get(x)
            if self.of(x) in wider or not isinstance(count, int) or count >= _FEW or prod(kernel) == 1:
                continue
            if node.output in unquantized:
                continue
            more = _rounded(count, _WORD)
            if count < more <= count * _WASTE and source is not None and _is_padded(source):
                found[node] = more
        return found


def is_depthwise(node: Node) -> bool:
    """Whether each channel of a convolution's result is made of one channel of its input."""
    weight = node.reads[1].shape
    return node.attributes.get("group", 1) == weight[0] == node.reads[0].shape[1] and weight[1] == 1


def _alike(node: Node) -> list[Value] | None:
    """The values of a node that have the same channels, none of which changes what is computed in the others; None
    where there are others."""
    if len(node.outputs) == 1 and (node.op in _ALONE or (node.op in _REDUCTIONS and _is_of_space(node))):
        values = [node.reads[0], node.output]
        rest = () if node.op in _REDUCTIONS else node.reads[1:]
    elif node.op in _TOGETHER or (node.op == "Div" and not node.reads[1].shape):
        values = [node.output, *(value for value in node.reads if value.shape)]
        rest = tuple(value for value in node.reads if not value.shape)
    else:
        return None
    if node.op == "DequantizeLinear" and values[0].is_constant:
        return [node.output]
    channels = {value.shape[1:2] for value in values}
    ranks = {len(value.shape) for value in values}
    fits = len(channels) == len(ranks) == 1 and min(ranks) > 2 and not any(value.shape for value in rest)
    return values if fits and not any(value.is_constant for value in values) else None


def _is_of_space(node: Node) -> bool:
    """Whether a reduction is over none of the first two axes, and keeps all."""
    axes, rank = constant_ints(node.inputs[1] if len(node.inputs) > 1 else None), len(node.reads[0].shape)
    return bool(axes) and node.attributes.get("keepdims", 1) == 1 and all(axis % rank > 1 for axis in axes or ())


def _constants(node: Node | None) -> _Constants | None:
    """The integers of a constant with one zero point, and steps for all of it or for each slice of its first axis."""
    if node is None or node.op != "DequantizeLinear" or node.attributes.get("block_size"):
        return None
    q, scale, zero = (*node.inputs, None)[:3]
    if not has_content(q) or not has_content(scale) or (zero is not None and not has_content(zero)):
        return None
    if scale.shape and node.attributes.get("axis", 1) % len(q.shape) != 0:
        return None
    known = content(zero)
    zeros = set() if known is None else set(known.reshape(-1).tolist())
    return _Constants(node, int(max(zeros, default=0))) if len(zeros) < 2 else None


def _is_padded(node: Node) -> bool:
    """Whether a DequantizeLinear is of bytes on known steps, which a Pad can add to."""
    if node.op != "DequantizeLinear" or len(node.reads) < 3 or node.reads[0].dtype is not UINT8:
        return False
    return not node.reads[0].is_constant and not node.reads[1].shape and has_content(node.reads[2])


def _rounded(count: int, vector: int) -> int:
    return -(-count // vector) * vector


class _Widened:
    """The graph as it is written anew, with more channels."""

    def __init__(self, channels: _Channels, wider: Mapping[Value, int], pads: Mapping[Node, int]) -> None:
        self.channels, self.wider, self.pads = channels, wider, pads
        self.nodes: list[Node] = []
        self.made: dict[Value, Value] = {}
        self.longer: dict[Value, Value] = {}

    def whole(self, graph: Graph) -> Graph:
        """All nodes."""
        for node in graph.nodes:
            inputs = tuple(value and self.value(value) for value in node.inputs)
            outputs = tuple(map(self.value, node.outputs))
            if node in self.pads:
                inputs = (self.pad(node), *inputs[1:])
            if (inputs, outputs) == (node.inputs, node.outputs):
                self.nodes.append(node)
            elif node.op == "Conv" and inputs[0] is not None:
                self.convolution(node, inputs[0], outputs[0])
            else:
                location = node.location.by(channels_in_vectors.name)
                self.nodes.append(Node(node.op, inputs, outputs, node.attributes, location))
        return replace(graph, nodes=tuple(self.nodes))

    def value(self, value: Value) -> Value:
        """A value with its channels."""
        count = self.wider.get(self.channels.of(value))
        if count is None:
            return value
        if value not in self.made:
            self.made[value] = Value(_with_channels(value, count), value.name)
        return self.made[value]

    def pad(self, node: Node) -> Value:
        """What a convolution reads, dequantized once more with further channels of 0."""
        x = node.reads[0]
        if x not in self.longer:
            source = self.channels.producers[x]
            q, scale, zero = source.reads
            count, rank = self.pads[node], len(q.shape)
            ends = np.zeros(2 * rank, np.int64)
            ends[rank + 1] = count - constant_channels(q)
            longer, floats = Value(_with_channels(q, count)), Value(_with_channels(x, count))
            location = node.location.by(channels_in_vectors.name)
            self.nodes.append(Node("Pad", (q, _constant(ends), zero), (longer,), {}, location))
            self.nodes.append(Node("DequantizeLinear", (longer, scale, zero), (floats,), source.attributes, location))
            self.longer[x] = floats
        return self.longer[x]

    def convolution(self, node: Node, x: Value, y: Value) -> None:
        """A convolution of more channels, or to more."""
        found = self.channels.weights(node)
        assert found is not None
        group = constant_channels(x) if is_depthwise(node) else 1
        kernel = tuple(dim for dim in node.reads[1].shape[2:] if isinstance(dim, int))
        shape = (constant_channels(y), constant_channels(x) // group, *kernel)
        weight, bias = self.constants(found[0], shape), found[1]
        if isinstance(bias, _Constants):
            bias = self.constants(bias, shape[:1])
        elif bias is not None:
            bias = _padded(bias, shape[:1], 0)
        inputs = (x, weight) if bias is None else (x, weight, bias)
        attributes = {**node.attributes, "group": group}
        self.nodes.append(Node("Conv", inputs, (y,), attributes, node.location.by(channels_in_vectors.name)))

    def constants(self, known: _Constants, shape: tuple[int, ...]) -> Value:
        """A dequantized constant with further zeros; its last steps are those of the new slices too."""
        q, *steps = known.node.inputs
        integers = _padded(q, shape, known.zero)
        longer = (each if each is None or not each.shape else _padded(each, shape[:1], None) for each in steps)
        floats = Value(TensorType(known.node.output.dtype, shape))
        location = known.node.location.by(channels_in_vectors.name)
        attributes = known.node.attributes
        self.nodes.append(Node("DequantizeLinear", (integers, *longer), (floats,), attributes, location))
        return floats


def constant_channels(value: Value) -> int:
    """The number of channels of a value that has a known one."""
    count = value.shape[1]
    assert isinstance(count, int)
    return count


def _with_channels(value: Value, count: int) -> TensorType:
    return TensorType(value.dtype, (value.shape[0], count, *value.shape[2:]))


def _padded(value: Value | None, shape: tuple[int, ...], fill: int | None) -> Value:
    """A constant of a larger shape."""
    assert value is not None and value.data is not None
    if value.shape == shape:
        return value
    data = padded(value.data, shape, fill)
    return Value(TensorType(value.dtype, shape), value.name and value.name + data.suffix, data)


def _constant(array: np.ndarray) -> Value:
    data = ArrayData(array)
    return Value(TensorType(data.dtype, data.shape), None, data)
