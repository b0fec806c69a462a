"""Dtypes that the target's schema or runtime does not take: cast to an exact wider one and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from fxonnx.dtypes import DType, contains
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.location import Location
from fxonnx.passes.legalize.inputs_to_attributes import signature_fits
from fxonnx.passes.legalize.support import admitted, bindings, computes, inlines, input_variables, widened
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target


@graph_pass
def widen(graph: Graph, target: Target) -> Graph:
    """Compute in the narrowest dtype that contains the node's own, that the schema admits and for which the runtime has
    a kernel.

    Exact for values; integers wrap as they would have (a cast to a narrower integer takes the low bits). Nodes that no
    dtype helps are left for `guard`.

    The casts are the graph's own also where the runtime would insert them (float16): it takes those that it inserted
    away between two nodes, and with them the rounding that a comparison or a cast of the model waits for.
    Source: ONNX Runtime, InsertCastTransformer and RemoveDuplicateCastTransformer.
    """

    def replace(op: Builder, node: Node) -> list[Tensor] | None:
        facts = schema.facts(node.op, target.opset)
        if facts is None or node.op == "Cast" or signature_fits(node, facts) is not None:
            return None  # what no Cast takes no other one makes wider
        if node.op == "If":
            return _between_branches(op, node, facts)
        bound = bindings(node, facts)
        if admitted(node.op, target.opset, bound) and (computes(node.op, target, bound) or inlines(node.op, target)):
            return None
        wide = widened(node.op, target, bound, input_variables(node, facts))
        return None if wide is None or wide == dict(bound) else between_casts(op, node, wide)

    return replace_nodes(graph, replace, rule="widen")


def between_casts(op: Builder, node: Node, wide: Mapping[str, DType]) -> list[Tensor]:
    """The node with the dtypes of its type variables changed to `wide`: its inputs cast, and its results cast back."""
    facts = schema.facts(node.op, op.version)
    assert facts is not None
    inputs = [
        None if value is None else _cast(op, op.use(value), wide.get(facts.input(index).type))  # type: ignore[union-attr]
        for index, value in enumerate(node.inputs)
    ]
    types = [TensorType(wide.get(facts.output(index).type, v.dtype), v.shape) for index, v in enumerate(node.outputs)]  # type: ignore[union-attr]
    results = op.call(node.op, inputs, dict(node.attributes), len(types), types)
    return [_cast(op, result, value.dtype) for result, value in zip(results, node.outputs, strict=True)]


def _between_branches(op: Builder, node: Node, facts: schema.OpFacts) -> list[Tensor] | None:
    """An If whose branches return wider dtypes where its schema does not take theirs, cast back behind it: bfloat16
    before opset 16. None where it takes them, or no wider one is exact."""
    taken = facts.types[facts.output(0).type]  # type: ignore[union-attr]
    wide = [_narrowest(value.dtype, taken) for value in node.outputs]
    if None in wide or all(dtype is value.dtype for dtype, value in zip(wide, node.outputs, strict=True)):
        return None
    types = [TensorType(dtype, value.shape) for dtype, value in zip(wide, node.outputs, strict=True) if dtype]
    branches = {name: _returning(branch, types, node.location) for name, branch in node.attributes.items()}
    results = op.call("If", [op.use(node.reads[0])], branches, len(types), types)
    return [_cast(op, result, value.dtype) for result, value in zip(results, node.outputs, strict=True)]


def _narrowest(dtype: DType, taken: Collection[DType]) -> DType | None:
    """The dtype itself, or the narrowest that is taken, contains it exactly and computes alike."""
    wider = [each for each in taken if contains(each, dtype) and each.is_float == dtype.is_float]
    return dtype if dtype in taken else min(wider, key=lambda each: each.bits, default=None)


def _returning(branch: Graph, types: Sequence[TensorType], location: Location) -> Graph:
    """A branch with its results cast."""
    casts = [
        Node("Cast", (value,), (Value(TensorType(type.dtype, value.shape)),), {"to": type.dtype.code}, location)
        for value, type in zip(branch.outputs, types, strict=True)
        if value.dtype is not type.dtype
    ]
    cast = {node.reads[0]: node.output for node in casts}
    outputs = tuple(cast.get(value, value) for value in branch.outputs)
    return dataclasses.replace(branch, nodes=(*branch.nodes, *casts), outputs=outputs)


def _cast(op: Builder, x: Tensor, dtype: DType | None) -> Tensor:
    return x if dtype is None or x.dtype is dtype else op.Cast(x, to=dtype)
