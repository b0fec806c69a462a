"""Dtypes that the target's schema or runtime does not take: cast to an exact wider one and back."""

from __future__ import annotations

from collections.abc import Mapping

from fxonnx.dtypes import DType
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node
from fxonnx.ir.types import TensorType
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


def _cast(op: Builder, x: Tensor, dtype: DType | None) -> Tensor:
    return x if dtype is None or x.dtype is dtype else op.Cast(x, to=dtype)
