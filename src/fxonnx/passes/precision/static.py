"""Layers between integers on known steps: what is calibrated on a few batches.

    x ── Conv ── Relu ─▶   becomes   x ── Q ── DQ ── Conv (q ── DQ) ── Q ── DQ ─▶

Activations are uint8 and weights int8 with a scale for each output, which is what ONNX Runtime has kernels for. A
convolution is quantized before and behind it; a linear layer before it, and gives floats. What stands between
quantized values and has a kernel for integers is quantized as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np

from fxonnx.dtypes import FLOAT32, INT8, UINT8
from fxonnx.ir.data import ArrayData, Data, transposed
from fxonnx.ir.few_bits import by_columns, by_rows
from fxonnx.ir.graph import Graph, Node, Substitution, Value, constant_ints, has_content
from fxonnx.ir.types import TensorType
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.precision.ranges import Range, extremes, steps, without_outliers
from fxonnx.passes.precision.request import Precision
from fxonnx.passes.precision.smooth import smoothed
from fxonnx.passes.precision.weights import LINEAR, is_layer
from fxonnx.target import Target

Steps: TypeAlias = tuple[np.ndarray, np.ndarray]
"""scale and zero point"""

Observe: TypeAlias = "Callable[[Graph, Target, Sequence[Value]], Iterable[Sequence[np.ndarray]]]"
"""What values of a graph are in each run of the calibration."""

Runs: TypeAlias = "Callable[[Sequence[Value]], Iterable[Sequence[np.ndarray]]]"
"""The same, of one graph."""

_MOVES = frozenset({"MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})  # no value is a new one
_WITH_KERNELS = frozenset({"Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "LeakyRelu", "Sigmoid"})


def static(precision: Precision, observe: Observe) -> Pass:
    """The pass that quantizes on the steps that the calibration finds."""
    calibration = precision.calibration
    assert calibration is not None

    def run(graph: Graph, target: Target) -> Graph:
        if calibration.smooth is not None:
            graph = _smoothed(graph, partial(observe, graph, target), precision, calibration.smooth)
        plan = _Plan(graph, precision)
        values = list(plan.measured)
        ranges = _ranges(partial(observe, graph, target), values, calibration.method) if values else []
        found = {value: steps(*ends) for value, ends in zip(values, ranges, strict=True)}
        return _Quantized(plan, found).whole(graph)

    return Pass("precision", run)


def _ranges(runs: Runs, values: Sequence[Value], method: str) -> list[Range]:
    """The least and the greatest value to tell apart, of each."""
    found = extremes(runs(values), len(values))
    return without_outliers(runs(values), found) if method == "entropy" else found


def _smoothed(graph: Graph, runs: Runs, precision: Precision, strength: float) -> Graph:
    """The graph with the inputs of its linear layers made alike, channel by channel."""
    layers: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        if node.op in LINEAR and is_layer(node, precision):
            layers.setdefault(node.reads[0], []).append(node)
    values, channels = list(layers), list[list[np.ndarray]]()
    for run in runs(values) if values else ():
        channels.append([np.abs(each).reshape(-1, each.shape[-1]).max(0) for each in run])
    largest = {value: np.max([run[index] for run in channels], 0) for index, value in enumerate(values)}
    return smoothed(graph, layers, largest, strength)


class _Plan:
    """What is quantized: layers, values, and on whose steps a value is."""

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self.precision = precision
        self.readers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for value in node.reads:
                self.readers.setdefault(value, []).append(node)
        self.returned = frozenset(graph.outputs)
        self.layers: set[Node] = set()  # those with weights, and what has a kernel for integers
        self.like: dict[Value, Value] = {}  # quantized values, and those whose steps they have
        self.behind: dict[Value, Value] = {}  # a result, and what its activation makes of it
        for node in graph.nodes:
            self.visit(node)

    @property
    def measured(self) -> dict[Value, None]:
        """The values whose ranges are asked for."""
        return dict.fromkeys(self.like.values())

    def visit(self, node: Node) -> None:
        """Decide on a node; those before it are decided."""
        if self.precision.keeps(node.location.module) or node.output.dtype is not FLOAT32:
            return
        if is_layer(node, self.precision):
            self.layers.add(node)
            self.like.setdefault(node.reads[0], node.reads[0])
            if node.op == "Conv":
                self.give(node)
        elif node.op in _MOVES and node.reads[0] in self.like and self.is_used(node):
            self.layers.add(node)
            self.like[node.output] = self.like[node.reads[0]]
        elif node.op == "HardSigmoid" and node.reads[0] in self.like:  # which `integer_kernels` leaves on steps
            self.layers.add(node)
            self.like[node.output] = node.output
        elif self.has_kernel(node) and self.is_used(node):
            self.layers.add(node)
            self.give(node)

    def has_kernel(self, node: Node) -> bool:
        """Whether a node reads values on steps, and has a kernel for their integers."""
        read = node.reads[:1] if is_global_mean(node) else node.reads if node.op in _WITH_KERNELS else ()
        return bool(read) and all(value in self.like for value in read)

    def give(self, node: Node) -> None:
        """Let a node's result be quantized, behind the activation that alone reads it."""
        readers = self.readers.get(node.output, [])
        alone = len(readers) == 1 and node.output not in self.returned
        result = readers[0].output if alone and _is_activation(readers[0]) else node.output
        self.behind[node.output] = result
        self.like[result] = result

    def is_used(self, node: Node) -> bool:
        """Whether anything reads the result in the graph: what is returned at once need not be on steps."""
        return bool(self.readers.get(node.output))


def is_global_mean(node: Node) -> bool:
    """Whether a node is the mean of each channel, all axes kept: what GlobalAveragePool gives."""
    axes, rank = constant_ints(node.inputs[1] if len(node.inputs) > 1 else None), len(node.reads[0].shape)
    if node.op != "ReduceMean" or axes is None or rank < 3 or not node.attributes.get("keepdims", 1):
        return False
    return sorted(axis % rank for axis in axes) == list(range(2, rank))


def _is_activation(node: Node) -> bool:
    """Whether a node cuts values off, at ends that have 0 between them: as steps do, which hold 0."""
    if node.op == "Relu":
        return True
    low, high = (*node.inputs[1:], None, None)[:2]
    return node.op == "Clip" and all(end is None or has_content(end) for end in (low, high)) and (
        _number(low, -1.0) <= 0 <= _number(high, 1.0)
    )  # fmt: skip


def _number(end: Value | None, default: float) -> float:
    return default if end is None or end.data is None else float(end.data.array())


class _Quantized:
    """The graph as it is written anew, with integers between its layers."""

    def __init__(self, plan: _Plan, found: Mapping[Value, Steps]) -> None:
        self.plan, self.steps = plan, found
        self.nodes: list[Node] = []
        self.on_steps: dict[Value, Value] = {}  # the dequantized one of each value
        self.replaced = Substitution()  # those that are there on steps alone
        self.parameters = {value: (_constant(scale), _constant(zero)) for value, (scale, zero) in found.items()}

    def whole(self, graph: Graph) -> Graph:
        """All nodes, but activations that the steps behind them do."""
        done = {result for value, result in self.plan.behind.items() if result is not value}
        for node in graph.nodes:
            if node.output not in done:
                self.write(node)
        outputs = tuple(self.replaced[value] for value in graph.outputs)
        return replace(graph, nodes=tuple(self.nodes), outputs=outputs)

    def write(self, node: Node) -> None:
        """A node, between integers where that is planned."""
        if node not in self.plan.layers:
            self.nodes.append(self.replaced.node(node))
            return
        inputs = tuple(value and self.read(value, node) for value in node.inputs)
        if node.op in LINEAR:
            self.linear(node, inputs)
            return
        if is_global_mean(node):
            self.nodes.append(Node("GlobalAveragePool", inputs[:1], node.outputs, {}, node.location))
        else:
            self.nodes.append(Node(node.op, inputs, node.outputs, node.attributes, node.location))
        if node.op == "HardSigmoid":
            self.on_steps[node.output] = node.output
            return
        result = self.plan.behind.get(node.output, node.output)
        self.replaced[result] = self.on_steps[result] = self.quantize(node.output, self.plan.like[result], node)

    def linear(self, node: Node, inputs: tuple[Value | None, ...]) -> None:
        """A product, and the bias added to it in floating point."""
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        product = node.output if bias is None else Value(node.output.type)
        self.nodes.append(Node("MatMul", inputs[:2], (product,), {}, node.location))
        if bias is not None:
            self.nodes.append(Node("Add", (product, bias), node.outputs, {}, node.location))

    def read(self, value: Value, node: Node) -> Value:
        """What a layer reads for a value."""
        if value in node.inputs[1:2] and is_layer(node, self.plan.precision):
            return self.weight(node)
        if value not in self.plan.like:
            return value
        if value not in self.on_steps:
            self.on_steps[value] = self.quantize(self.replaced[value], self.plan.like[value], node)
        return self.on_steps[value]

    def quantize(self, value: Value, like: Value, node: Node) -> Value:
        """A value on the steps of another."""
        parameters = self.parameters[like]
        integers, floats = Value(TensorType(UINT8, value.shape)), Value(value.type)
        self.nodes.append(Node("QuantizeLinear", (value, *parameters), (integers,), {}, node.location))
        self.nodes.append(Node("DequantizeLinear", (integers, *parameters), (floats,), {}, node.location))
        return floats

    def weight(self, node: Node) -> Value:
        """A layer's weight from its integers, with a scale for each output."""
        weight = node.inputs[1]
        assert weight is not None and weight.data is not None
        data: Data = transposed(weight.data, (1, 0)) if node.attributes.get("transB") else weight.data
        made = by_rows(data, INT8) if node.op == "Conv" else by_columns(data, INT8)
        integers, scales = (_constant(each, weight.name and weight.name + each.suffix) for each in made)
        floats, axis = Value(TensorType(FLOAT32, integers.shape)), int(node.op != "Conv")
        self.nodes.append(Node("DequantizeLinear", (integers, scales), (floats,), {"axis": axis}, node.location))
        return floats


def _constant(content: Data | np.ndarray, name: str | None = None) -> Value:
    data = ArrayData(content) if isinstance(content, np.ndarray) else content
    return Value(TensorType(data.dtype, tuple(data.shape)), name, data)
