"""Weights stored in 16 bits that are computed with in float32."""

from __future__ import annotations

from dataclasses import replace

from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32
from fxonnx.ir.data import byte_size, unwidened
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.ir.types import TensorType
from fxonnx.passes.fold import FREE
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.precision.wide import cast_node
from fxonnx.target import Target


@graph_pass
def stored_in_16_bits(graph: Graph, target: Target) -> Graph:
    """weight: f32 ─▶   becomes   weight: f16 ── Cast f32 ─▶   where the numbers were cast from 16 bits

    which a runtime computes once, when it loads the model. Rows of a table are cast after they are taken from it.
    """
    casts: list[Node] = []
    wide = Substitution()
    for value in graph.constants():
        narrow = _narrow(value)
        if narrow is not None:
            wide[value] = Value(value.type)
            casts.append(cast_node(narrow, wide[value]))
    if not casts:
        return graph
    tables = {node.outputs[0]: node.inputs[0] for node in casts}
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _of_rows(wide.node(node), tables)
    outputs = tuple(wide[value] for value in graph.outputs)
    return replace(graph, nodes=(*casts, *nodes), outputs=outputs)


def _narrow(value: Value) -> Value | None:
    """A constant as it is stored; None where that has no 16 bits, or is small."""
    data = value.data and unwidened(value.data)
    if data is None or value.dtype is not FLOAT32 or data.dtype not in (FLOAT16, BFLOAT16) or byte_size(data) <= FREE:
        return None
    return Value(TensorType(data.dtype, value.shape), value.name, data)


def _of_rows(node: Node, tables: dict[Value, Value | None]) -> list[Node]:
    """The node; where it takes rows of a table that is cast, those rows are cast instead."""
    table = tables.get(node.inputs[0]) if node.op == "Gather" and node.inputs[0] else None
    if table is None:
        return [node]
    rows = Value(TensorType(table.dtype, node.output.shape))
    gather = Node(node.op, (table, *node.inputs[1:]), (rows,), node.attributes, node.location)
    return [gather, cast_node(rows, node.output, node)]
