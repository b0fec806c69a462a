"""Expand in front of an operator that broadcasts by itself."""

from __future__ import annotations

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.infer import broadcast
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target

_BROADCASTING = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Where", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
})  # fmt: skip


@graph_pass
@nested
def expands_into_readers(graph: Graph, target: Target) -> Graph:
    """x, y ── Expand ── + ─▶        becomes        x, y ── + ─▶        where it broadcasts to the same shape: what was
    expanded is not written out, and read again, in full."""
    sources = {node.output: node.inputs[0] for node in graph.nodes if node.op == "Expand"}
    if not sources:
        return graph

    def replace(op: Builder, node: Node) -> Tensor | tuple[Tensor, ...] | None:
        inputs = _without_expand(node, sources) if node.op in _BROADCASTING else node.inputs
        if inputs == node.inputs:
            return None
        types = [value.type for value in node.outputs]
        return op.call(node.op, [op.use(value) for value in inputs if value], dict(node.attributes), None, types)

    return replace_nodes(graph, replace, rule="expands_into_readers")


_DIVIDES = frozenset({"Div", "Mod"})


def _without_expand(node: Node, sources: dict[Value, Value | None]) -> tuple[Value | None, ...]:
    """The node's inputs, those that need not be expanded as they were before."""
    inputs = node.inputs
    if node.op in _DIVIDES and not node.output.dtype.is_float:
        return inputs  # nothing is divided by an expanded size of 0; a divisor of one element the runtime looks at
    for index, value in enumerate(inputs):
        if value in sources:
            without = (*inputs[:index], sources[value], *inputs[index + 1 :])
            if broadcast(*(each.shape for each in without if each is not None)) == node.output.shape:
                inputs = without
    return inputs
