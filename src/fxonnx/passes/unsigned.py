"""Activations in uint8, for which processors have integer products with int8 weights, and weights in uint8 where those
products overflow; activations whose steps are found while the model runs, quantized by one operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

import numpy as np

from fxonnx.dtypes import INT8, UINT8
from fxonnx.ir.data import ArrayData, unsigned
from fxonnx.ir.graph import Graph, Node, Value, constant_ints, content, has_content
from fxonnx.ir.types import TensorType
from fxonnx.location import Location
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import MICROSOFT, Target

_OFFSET = 128  # from the zero point of an int8 to that of the uint8 with the same value
Steps: TypeAlias = tuple[Value | None, Value | None, Value | None]  # integers, if they are there; scale; zero point
_PASSED = frozenset({"Cast", "Reshape", "Squeeze", "Unsqueeze"})  # what parameters of one element go through


@graph_pass
@nested
def unsigned_activations(graph: Graph, target: Target) -> Graph:
    """x ── QuantizeLinear int8 ── DequantizeLinear ─▶   becomes   x ── QuantizeLinear uint8 ── DequantizeLinear ─▶

    with the zero point 128 higher: the same steps. Where they come from a DynamicQuantizeLinear of x, its integers are
    taken. For ONNX Runtime, whose kernels on x86 want it.
    """
    pairs = _pairs(graph) if target.allows(MICROSOFT) else {}
    producers = graph.producers() if pairs else {}
    changed: dict[Node, Node] = {}
    for first, seconds in pairs.items():
        steps = _dynamic(first, producers) or _static(first)
        if steps is None:
            continue
        integers, scale, zero = steps
        if integers is None:
            integers = Value(TensorType(UINT8, first.output.shape), first.output.name)
            inputs = (first.inputs[0], scale, zero)
            changed[first] = Node(first.op, inputs, (integers,), first.attributes, _named(first))
        for each in seconds:
            changed[each] = Node(each.op, (integers, scale, zero), each.outputs, each.attributes, _named(each))
    if not changed:
        return graph
    nodes = tuple(changed.get(node, node) for node in graph.nodes)
    return replace(graph, nodes=nodes)


_WEIGHTS: Mapping[str, tuple[int, int]] = {  # the inputs that are a weight, and its zero point
    "MatMulInteger": (1, 3),
    "ConvInteger": (1, 3),
    f"{MICROSOFT}::MatMulIntegerToFloat": (1, 5),
    "DequantizeLinear": (0, 2),
}
_INTEGER_PRODUCTS = _WEIGHTS.keys() - {"DequantizeLinear"}
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_QUANTIZES = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})


@graph_pass
@nested
def unsigned_weights(graph: Graph, target: Target) -> Graph:
    """x uint8, w int8 ── MatMulInteger ─▶        becomes        x uint8, w uint8 ── MatMulInteger ─▶

    with the zero point 128 higher: the same numbers. So for a DequantizeLinear between a weight and a product, in whose
    place the runtime has one of integers. On machines where the products of uint8 with int8 overflow, and in standard
    files, which are opened on any."""
    operators = {node.op for node in graph.nodes}
    if not (target.machine.overflows or target.kernels is None) or not operators & {*_QUANTIZES, *_INTEGER_PRODUCTS}:
        return graph
    readers = (node for node in graph.nodes if node.op in _PRODUCTS) if operators & _QUANTIZES else ()
    meeting = {value for node in readers for value in node.reads[:2]}
    raised: dict[Value, Value] = {}
    nodes = tuple(
        _with_raised_weight(node, raised) if node.op != "DequantizeLinear" or node.output in meeting else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes) if raised else graph


def _with_raised_weight(node: Node, raised: dict[Value, Value]) -> Node:
    """A node with a known weight of int8 in uint8, which joins those that are `raised`; others as they are."""
    at, zero_at = _WEIGHTS.get(node.op, (0, 0))
    inputs = [*node.inputs, *[None] * (zero_at + 1 - len(node.inputs))]
    weight, zero = inputs[at], inputs[zero_at]
    if not zero_at or not has_content(weight) or weight.dtype is not INT8 or not weight.shape:
        return node
    zeros = content(zero)
    if (zero is not None and zeros is None) or node.attributes.get("block_size"):
        return node
    if weight not in raised:
        assert weight.data is not None
        raised[weight] = Value(TensorType(UINT8, weight.shape), weight.name, unsigned(weight.data))
    scales = inputs[1].type.shape if node.op == "DequantizeLinear" and inputs[1] is not None else ()
    inputs[at] = raised[weight]
    inputs[zero_at] = _raised(np.zeros(cast(Any, scales), np.int8) if zeros is None else zeros)
    return Node(node.op, tuple(inputs), node.outputs, node.attributes, node.location.by(unsigned_weights.name))


def _pairs(graph: Graph) -> dict[Node, list[Node]]:
    """Each QuantizeLinear that only DequantizeLinear with the same steps reads, and those."""
    found = {node.output: (node, list[Node]()) for node in graph.nodes if node.op == "QuantizeLinear"}
    if not found:
        return {}
    for node in graph.nodes:
        for value in node.reads:
            if value in found and _undoes(node, found[value][0]):
                found[value][1].append(node)
            else:
                found.pop(value, None)
    for value in graph.outputs:
        found.pop(value, None)
    return dict(found.values())


def _undoes(node: Node, first: Node) -> bool:
    """Whether a DequantizeLinear has the steps of a QuantizeLinear with two parameters."""
    if node.op != "DequantizeLinear" or len(first.inputs) < 3 or len(node.inputs) < 3:
        return False
    alike = node.attributes.get("axis", 1) == first.attributes.get("axis", 1)
    return alike and all(map(_same, node.inputs[1:], first.inputs[1:]))


def _same(one: Value | None, other: Value | None) -> bool:
    """Whether two values are one, or constants of the same content."""
    if one is other:
        return True
    left, right = content(one), content(other)
    return left is not None and right is not None and left.dtype == right.dtype and np.array_equal(left, right)


def _static(node: Node) -> Steps | None:
    """The steps of an int8 with a known zero point, in uint8."""
    zero = content(node.inputs[2]) if node.output.dtype is INT8 else None
    return None if zero is None else (None, node.inputs[1], _raised(zero))


def _raised(zeros: np.ndarray) -> Value:
    """Zero points of int8 as those of the uint8 with the same values."""
    raised = ArrayData((zeros.astype(np.int16) + _OFFSET).astype(np.uint8))
    return Value(TensorType(UINT8, raised.shape), None, raised)


def _dynamic(node: Node, producers: Mapping[Value, Node]) -> Steps | None:
    """What a DynamicQuantizeLinear makes of the same tensor, where scale and zero point are its own."""
    scale, _ = _origin(node.inputs[1], producers)
    zero, less = _origin(node.inputs[2], producers)
    source = producers.get(scale) if scale is not None else None
    if source is None or source.op != "DynamicQuantizeLinear" or source.inputs[0] is not node.inputs[0]:
        return None
    wanted = {UINT8: 0, INT8: _OFFSET}.get(node.output.dtype)
    integers, *parameters = source.outputs
    return (integers, scale, zero) if [scale, zero, less] == [*parameters, wanted] else None


def _origin(value: Value | None, producers: Mapping[Value, Node]) -> tuple[Value | None, int]:
    """What a parameter of one element was before casts and reshapes, and how much has been subtracted since."""
    less = 0
    while value is not None and (node := producers.get(value)) is not None:
        if node.op == "Sub" and (known := constant_ints(node.inputs[1])) is not None and len(known) == 1:
            less += known[0]
        elif node.op not in _PASSED:
            break
        value = node.inputs[0]
    return value, less


def _named(node: Node) -> Location:
    """Its place, and that this pass has changed it."""
    return node.location.by(unsigned_activations.name)
