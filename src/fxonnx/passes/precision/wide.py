"""Layers of 16 bits computed in float32, where a runtime has no kernels for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32
from fxonnx.ir import schema
from fxonnx.ir.data import AbsentData, ArrayData, Data, byte_size, cast
from fxonnx.ir.graph import Graph, Node, Value, is_adapter
from fxonnx.ir.types import TensorType
from fxonnx.passes.fold import FREE
from fxonnx.passes.pipeline import graph_pass
from fxonnx.target import Target

_HALVES = (FLOAT16, BFLOAT16)
LAYERS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Attention", "Einsum", "LSTM", "GRU", "RNN")
# What has steps: a number that is not rounded would land on another one.
_STEPS = frozenset({"Floor", "Ceil", "Round", "Sign", "Mod", "BitCast"})
_SIZES = frozenset({"Shape", "Size"})  # which read no element
_DTYPES = ("to", "dtype", "output_dtype", "stash_type")  # attributes that name one


def has_kernels(target: Target, dtype: dtypes.DType) -> bool:
    """Whether the target computes products in a dtype; where nothing is known of it, it does."""
    product = schema.facts("MatMul", target.opset)
    return product is not None and target.has_kernel("", "MatMul", product.since, {"T": dtype})


@graph_pass
def half_in_float32(graph: Graph, target: Target) -> Graph:
    """x: f16 ── MatMul ── … ── y: f16   becomes   x: f16 ── Cast f32 ── MatMul ── … ── Cast f16 ── y: f16

    So there is a cast at each end instead of two around each node. Values are at least as near to the exact ones: what
    is on its way is not rounded, but where the model asks for it (a cast there and back), and from the layers to where
    integers and truths are made of it. Weights are seen in float32 and stay stored as they are.

    A model that neither takes numbers of 16 bits nor has such weights is left alone: under autocast each layer's result
    is rounded because the model asks for it.
    """
    halves = [each for each in _HALVES if not has_kernels(target, each)]
    layers = (value for node in graph.all_nodes() if node.op in LAYERS for value in node.reads)
    if not halves or not any(value.dtype in halves for value in layers):
        return graph
    own = (value for value in (*graph.inputs, *graph.constants()) if value.shape)
    return _Widened(graph).whole(graph) if any(map(_is_half, own)) else graph


class _Widened:
    """One walk: what stands in float32 for each value of 16 bits, in the graph and its subgraphs."""

    def __init__(self, graph: Graph) -> None:
        self.wide: dict[Value, Value] = {}
        self.native: set[Value] = set()  # values of 16 bits that are there
        nodes = list(graph.all_nodes())
        self.deciding = _deciding(nodes)
        widened = {node.reads[0] for node in nodes if node.op == "Cast" and not _is_half(node.output)}
        self.rounded = widened | self.deciding  # what a cast to 16 bits makes of them is not taken back

    def whole(self, graph: Graph) -> Graph:
        """The graph with its own inputs and outputs."""
        nodes: list[Node] = []
        for value in filter(_is_half, (*graph.inputs, *filter(is_adapter, graph.constants()))):
            self.keep(value, nodes, None)
        nodes += self.nodes(graph)
        outputs = tuple([self.back(value, nodes) for value in graph.outputs])
        return replace(graph, nodes=tuple(nodes), outputs=outputs)

    def body(self, graph: Graph) -> Graph:
        """A subgraph, whose inputs and outputs are in float32."""
        inputs, nodes = tuple(map(self.value, graph.inputs)), self.nodes(graph)
        outputs = tuple(map(self.value, graph.outputs))
        return replace(graph, inputs=inputs, nodes=tuple(nodes), outputs=outputs)

    def nodes(self, graph: Graph) -> list[Node]:
        """The nodes of a graph, and the casts between them."""
        nodes: list[Node] = []
        for node in graph.nodes:
            if not self.is_rounded(node):
                nodes.append(self.widened(node))
                continue
            rounds = node.op == "Cast" and _is_half(node.output)
            inputs = [value and (self.value(value) if rounds else self.back(value, nodes)) for value in node.inputs]
            nodes.append(Node(node.op, tuple(inputs), node.outputs, node.attributes, node.location))
            for value in filter(_is_half, node.outputs):
                self.keep(value, nodes, node)
        return nodes

    def is_rounded(self, node: Node) -> bool:
        """Whether a node takes and gives numbers of 16 bits as they are."""
        if node.op == "Cast" and _is_half(node.output):  # rounded on purpose, if what reads it widens it again
            return node.reads[0].dtype is not node.output.dtype and node.output in self.rounded
        if node.subgraphs or not any(map(_is_half, (*filter(None, node.inputs), *node.outputs))):
            return False
        if node.op not in LAYERS and any(_is_half(value) and value in self.deciding for value in node.outputs):
            return True
        return _decides(node) or schema.facts(node.op) is None

    def widened(self, node: Node) -> Node:
        """The node in float32; the same one where it has nothing of 16 bits."""
        inputs = tuple(value and self.value(value) for value in node.inputs)
        outputs = tuple(map(self.value, node.outputs))
        if inputs == node.inputs and outputs == node.outputs and not node.subgraphs:
            return node
        return Node(node.op, inputs, outputs, self.attributes(node.attributes), node.location)

    def attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes with the dtypes in them, and subgraphs."""
        halves = {each.code for each in _HALVES}
        named = {name: FLOAT32.code for name in _DTYPES if given.get(name) in halves}
        arrays = {name: item.astype(np.float32) for name, item in given.items()
                  if isinstance(item, np.ndarray) and dtypes.dtype(item.dtype) in _HALVES}  # fmt: skip
        bodies = {name: self.body(item) for name, item in given.items() if isinstance(item, Graph)}
        return {**given, **named, **arrays, **bodies}

    def value(self, value: Value) -> Value:
        """What stands for a value in float32: itself where it has no 16 bits."""
        if not _is_half(value):
            return value
        if value not in self.wide:
            data = None if value.data is None or is_adapter(value) else _in_float32(value.data)
            name = value.name if data else None
            self.wide[value] = Value(TensorType(FLOAT32, value.shape), name, data, value.known)
        return self.wide[value]

    def keep(self, value: Value, nodes: list[Node], source: Node | None) -> None:
        """Let a value of 16 bits be there, and one in float32 beside it."""
        self.native.add(value)
        nodes.append(cast_node(value, self.value(value), source))

    def back(self, value: Value, nodes: list[Node]) -> Value:
        """The value of 16 bits, made of the one in float32 where it is not there."""
        if value not in self.wide or value in self.native or value.is_constant:
            return value
        rounded = Value(value.type)
        nodes.append(cast_node(self.wide[value], rounded))
        return rounded


def _decides(node: Node) -> bool:
    """Whether a rounding of what it reads can change what it gives by a step: it makes integers and truths of it, or
    has steps."""
    gives_others = any(not value.dtype.is_float for value in node.outputs) and node.op not in _SIZES
    is_nearest = node.op == "GridSample" and node.attributes.get("mode") == "nearest"
    return gives_others or node.op in _STEPS or is_nearest


def _deciding(nodes: Iterable[Node]) -> set[Value]:
    """What something is decided by: all that it is computed of, back to the layers, whose sums have no one rounding."""
    sources: dict[Value, Node] = {}
    waiting: list[Value] = []
    for node in nodes:
        sources |= dict.fromkeys((*node.outputs, *(each for body in node.subgraphs for each in body.inputs)), node)
        waiting += node.reads if _decides(node) else ()
    found: set[Value] = set()
    while waiting:
        value = waiting.pop()
        source = sources.get(value)
        if value in found:
            continue
        found.add(value)
        if source is not None and source.op not in (*LAYERS, *_SIZES):
            waiting += (*source.reads, *(each for body in source.subgraphs for each in body.outputs))
    return found


def _is_half(value: Value) -> bool:
    return value.dtype in _HALVES


def _in_float32(data: Data) -> Data:
    """The content of a constant in float32, by reference where it is large."""
    if isinstance(data, AbsentData):
        return AbsentData(FLOAT32, data.shape, data.name)
    return cast(data, FLOAT32) if byte_size(data) > FREE else ArrayData(data.array().astype(np.float32))


def cast_node(value: Value, to: Value, source: Node | None = None) -> Node:
    """What makes a value of another in its dtype, at the place of a node if there is one."""
    location = {} if source is None else {"location": source.location}
    return Node("Cast", (value,), (to,), {"to": to.dtype.code}, **location)
