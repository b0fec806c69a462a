"""Numbers below the smallest normal one, 1.2e-38 of float32, which processors multiply up to a hundred times slower.

Where a softmax keeps little of a score, exp makes such numbers, also on its way to 0, and the product with the values
is made of them. While a model runs in which they make no difference, they are taken for 0 (decision 39).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import onnx
import onnx.numpy_helper
import torch

from fxonnx.runtime.weights import graphs

Run: TypeAlias = Callable[[Any, Any], None]  # a session's, of a binding with options

_FLOATS = frozenset({
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
})  # fmt: skip

# Results of these that are small change by as little as their operands do.
_STEADY = frozenset({
    "Abs", "Add", "AffineGrid", "Atan", "Attention", "AveragePool", "BatchNormalization", "BiasGelu", "Celu",
    "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "CumSum", "DepthToSpace",
    "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "Einsum", "Elu", "Erf", "Exp", "Expand",
    "EyeLike", "FastGelu", "Flatten", "FusedConv", "FusedGemm", "FusedMatMul", "GRU", "Gather", "GatherElements",
    "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GridSample", "GroupNormalization",
    "GroupQueryAttention", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "IsInf", "IsNaN",
    "LSTM", "LayerNormalization", "LeakyRelu", "LogSoftmax", "MatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "MatMulNBits", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mul",
    "MultiHeadAttention", "Neg", "PRelu", "Pad", "QLinearAdd", "QLinearConv", "QLinearMatMul", "QLinearMul",
    "QuantizeLinear", "QuickGelu", "RMSNormalization", "RNN", "Range", "ReduceL1", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "RotaryEmbedding",
    "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "SimplifiedLayerNormalization", "Sin",
    "Size", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Slice", "Softmax", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum", "Swish", "Tanh", "TensorScatter", "ThresholdedRelu",
    "Tile", "Transpose", "Trilu", "Unsqueeze", "Where",
})  # fmt: skip

_ATTENTIONS = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention"})
_PRODUCTS = frozenset({"MatMul", "FusedMatMul", "Gemm", "Einsum"})
_UNDERFLOWING = frozenset({"Softmax", "Sigmoid", "Exp", "Softplus"})  # whose logarithm somebody may take
_MOVEMENTS = frozenset({
    "Cast", "Concat", "Expand", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape", "Slice", "Split",
    "Squeeze", "ThresholdedRelu", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
_NORMALIZATIONS = frozenset({
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization",
    "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
})  # fmt: skip
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_BODIES = frozenset({"If", "Loop", "Scan"})
_NOTICEABLE = 1e-20  # what numbers of 1e-38 are nothing beside
_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})


def make_no_difference(model: onnx.ModelProto) -> bool:
    """Whether a model multiplies what a softmax makes, and the same comes out, but for numbers as small, where
    subnormal numbers are 0: nothing compares them, divides by them, or takes their root or logarithm, and no result is
    a probability, which the caller might do that to."""
    if model.functions:
        return False
    graph = _Graph(model.graph)
    return graph.has_attention() and graph.is_steady() and not graph.gives_probabilities()


def flushed(run: Run) -> Run:
    """`run` in a thread for which subnormal numbers are 0 meanwhile."""

    def run_flushed(binding: Any, options: Any) -> None:
        before = are_flushed()
        torch.set_flush_denormal(True)
        try:
            run(binding, options)
        finally:
            torch.set_flush_denormal(before)

    return run_flushed


@contextmanager
def mode_kept() -> Iterator[None]:
    """Subnormal numbers are 0 in this thread afterwards if they are now: the first session of a process may set that
    for the thread that makes it, and for good."""
    before = are_flushed()
    try:
        yield
    finally:
        if are_flushed() is not before:
            torch.set_flush_denormal(before)


_SMALLEST = 2.0**-1022  # normal


def are_flushed() -> bool:
    """Whether subnormal numbers are 0 in this thread."""
    return _SMALLEST * 0.5 == 0.0


class _Graph:
    """The nodes of a model, those of bodies too, and who makes and reads its values."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = [node for each in graphs(graph) for node in each.node]
        self.outputs = {value.name for value in graph.output}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.constants = {each.name: each for each in graph.initializer}
        self.whole = _of_whole_numbers(graph, self.nodes)

    def has_attention(self) -> bool:
        return any(node.op_type in _ATTENTIONS for node in self.nodes) or any(
            self._stems_from(name, frozenset({"Softmax"})) for node in self.nodes if node.op_type in _PRODUCTS
            for name in node.input
        )  # fmt: skip

    def is_steady(self) -> bool:
        return all(map(self._is_steady, self.nodes))

    def gives_probabilities(self) -> bool:
        return any(self._stems_from(name, _UNDERFLOWING) for name in self.outputs)

    def _is_steady(self, node: onnx.NodeProto) -> bool:
        if node.domain not in _DOMAINS:
            return False
        if all(name in self.whole for name in node.input if name):
            return True
        match node.op_type:
            case "Attention":
                return not any(node.output[3:])  # the last may be probabilities
            case "Cast":
                return _number(node, "to", 0) != onnx.TensorProto.BOOL
            case "Div":
                return node.input[1] in self.whole
            case "Pow":
                return self._is_at_least(node.input[1], 1.0)
            case kind if kind in _NORMALIZATIONS:
                return _number(node, "epsilon", 1e-5) >= _NOTICEABLE
            case kind if kind in _COMPARISONS:
                return any(self._is_at_least(name, _NOTICEABLE) for name in node.input)
            case kind:
                return kind in _STEADY or kind in _BODIES

    def _is_at_least(self, name: str, least: float) -> bool:
        """Whether a value is a small constant, and all its elements are as large, of either sign."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return False
        elements = onnx.numpy_helper.to_array(tensor)
        return bool((abs(elements) >= least).all())

    def _stems_from(self, name: str, kinds: frozenset[str]) -> bool:
        """Whether a value is made by a node of these kinds, but for movements."""
        waiting, seen = [name], set[str]()
        while waiting:
            name = waiting.pop()
            node = self.makers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.op_type in kinds:
                return True
            if node.op_type in _MOVEMENTS:
                waiting.extend(node.input)
        return False


def _of_whole_numbers(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> frozenset[str]:
    """The values that are integers or truths, constants, or computed of such, without an exponential."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in _values(graph)}
    found = {name for name, kind in kinds.items() if kind not in _FLOATS}
    computed = {name for node in nodes for name in node.output} | {
        value.name for each in graphs(graph) for value in each.input
    }
    found |= {name for node in nodes for name in node.input} - computed  # weights need not be in the model
    for node in nodes:
        is_exponential = node.op_type in _UNDERFLOWING or node.op_type == "Pow" or node.op_type in _BODIES
        if not is_exponential and all(name in found for name in node.input if name):
            found.update(node.output)
    return frozenset(found)


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    """The values whose types are known."""
    for each in graphs(graph):
        yield from (*each.input, *each.output, *each.value_info)


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    """A number among a node's attributes."""
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


__all__ = ["are_flushed", "flushed", "make_no_difference", "mode_kept"]
