"""A model of float32 in 16 bits: what is computed, where the target has kernels for it, and else what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fxonnx.dtypes import FLOAT32, DType
from fxonnx.ir import schema
from fxonnx.ir.data import AbsentData, ArrayData, Data, View, byte_size, cast
from fxonnx.ir.graph import Graph, Node, Substitution, Value, has_content, is_adapter
from fxonnx.ir.types import TensorType
from fxonnx.passes.fold import FREE
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.precision.request import Precision
from fxonnx.passes.precision.wide import cast_node, has_kernels
from fxonnx.target import Target

# What names its dtype, or has steps that 16 bits do not tell apart.
_STAY = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "CumSum", "Range", "RandomNormalLike", "EyeLike"})


def halved(precision: Precision) -> Pass:
    """The pass that computes in 16 bits, or stores weights so, as `precision` says; inputs and outputs stay as they
    are."""

    def run(graph: Graph, target: Target) -> Graph:
        computes = has_kernels(target, precision.dtype)
        return (_Halved(precision).whole if computes else _Stored(precision).whole)(graph)

    return Pass("precision", run)


class _Halved:
    """One walk: what stands in 16 bits for values of float32.

    A node goes into 16 bits where it reads an input, a large weight or what is computed of these: positions and other
    numbers that hang on none stay in float32. So do subgraphs.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.half: dict[Value, Value] = {}
        self.there: set[Value] = set()  # values of float32 that are computed
        self.leading: set[Value] = set()  # values that hang on an input or a large weight

    def whole(self, graph: Graph) -> Graph:
        """The graph with casts behind its inputs and before its outputs."""
        self.leading.update(graph.inputs)
        self.there.update(graph.inputs)
        nodes: list[Node] = []
        for node in graph.nodes:
            if self.follows(node):
                given, made = _of_variables(node, node.inputs), _of_variables(node, node.outputs)
                inputs = tuple([self.narrow(value, nodes) if varies else value for value, varies in given])
                outputs = tuple([self.output(value) if value and varies else value for value, varies in made])
                nodes.append(Node(node.op, inputs, outputs, node.attributes, node.location))  # type: ignore[arg-type]
            else:
                self.widen(node.reads, nodes)
                nodes.append(node)
            self.there.update(value for value in node.outputs if value not in self.half)
            if any(map(self.leads, node.reads)):
                self.leading.update(node.outputs)
        self.widen(graph.outputs, nodes)
        return replace(graph, nodes=tuple(nodes))

    def follows(self, node: Node) -> bool:
        """Whether a node is computed in 16 bits."""
        if node.op in _STAY or node.subgraphs or self.precision.keeps(node.location.module):
            return False
        facts = schema.facts(node.op)
        admits = facts is not None and all(
            self.precision.dtype in facts.types[parameter.type]
            for parameter, value in facts.filled(node.inputs, node.outputs)
            if value.dtype is FLOAT32 and not parameter.type.startswith("tensor(")
        )
        return admits and any(varies and self.leads(value) for value, varies in _of_variables(node, node.inputs))

    def leads(self, value: Value | None) -> bool:
        """Whether what reads a value goes into 16 bits."""
        if value is None or value.dtype is not FLOAT32:
            return False
        return value in self.leading or (value.data is not None and byte_size(value.data) > FREE)

    def narrow(self, value: Value | None, nodes: list[Node]) -> Value | None:
        """The value in 16 bits, cast where it is not there."""
        if value is None or value.dtype is not FLOAT32:
            return value
        if value not in self.half:
            data = None if value.data is None or is_adapter(value) else _rounded(value.data, self.precision.dtype)
            self.half[value] = Value(TensorType(self.precision.dtype, value.shape), value.name if data else None, data)
            if data is None:
                nodes.append(cast_node(value, self.half[value]))
        return self.half[value]

    def output(self, value: Value) -> Value:
        """What a node in 16 bits gives for a value."""
        if value.dtype is not FLOAT32:
            return value
        self.half[value] = Value(TensorType(self.precision.dtype, value.shape), None, None, value.known)
        return self.half[value]

    def widen(self, values: tuple[Value, ...], nodes: list[Node]) -> None:
        """Let values be there in float32, cast back where they are in 16 bits alone."""
        for value in values:
            if value in self.half and value not in self.there and not value.is_constant:
                nodes.append(cast_node(self.half[value], value))
                self.there.add(value)


class _Stored:
    """Large weights of layers and tables, rounded to 16 bits: `stored_in_16_bits` writes them so."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.rounded = Substitution()

    def whole(self, graph: Graph) -> Graph:
        """The graph with other weights."""
        for node in graph.all_nodes():
            if not self.precision.keeps(node.location.module):
                for value in node.reads:
                    self.round(value)
        return self.rounded.graph(graph) if self.rounded else graph

    def round(self, value: Value) -> None:
        """Let another weight stand for a large one of float32."""
        data, kept = value.data, self.precision.keeps(value.name) or value in self.rounded.replaced
        if data is None or kept or value.dtype is not FLOAT32 or len(value.shape) < 2 or not has_content(value):
            return
        if byte_size(data) > FREE:
            rounded = cast(_rounded(data, self.precision.dtype), FLOAT32)
            self.rounded[value] = Value(value.type, value.name, rounded)


def _rounded(source: Data, dtype: DType) -> Data:
    """A content in 16 bits; numbers beyond their range become the largest there is: a mask of -3e38 stays finite."""

    def rows(start: int, stop: int) -> np.ndarray:
        return _within(source.part(start, stop), dtype)

    if isinstance(source, AbsentData):
        return AbsentData(dtype, source.shape, source.name)
    if byte_size(source) <= FREE:
        return ArrayData(_within(source.array(), dtype))
    return View(source, ("rounded", dtype), dtype, tuple(source.shape), rows, f".{dtype.short}")


def _within(values: np.ndarray, dtype: DType) -> np.ndarray:
    finite = np.clip(values, dtype.lowest, dtype.highest)
    found: np.ndarray = np.where(np.isfinite(values), finite, values).astype(dtype.numpy)
    return found


def _of_variables(node: Node, values: Sequence[Value | None]) -> Iterator[tuple[Value | None, bool]]:
    """Inputs or outputs of a node, and whether they may have several dtypes."""
    facts = schema.facts(node.op)
    assert facts is not None
    parameter = facts.input if values is node.inputs else facts.output
    for index, value in enumerate(values):
        found = parameter(index)
        yield value, found is not None and not found.type.startswith("tensor(")
