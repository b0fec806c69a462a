"""Keys and values of earlier tokens, read by Attention itself."""

from __future__ import annotations

from collections.abc import Mapping

from fxonnx.ir import schema
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.target import Target


@graph_pass
@nested
def past_into_attention(graph: Graph, target: Target) -> Graph:
    """past, k ── Concat ─┬─ Attention ─▶        becomes        k, past ── Attention ─┬─▶
                          └─ present ─▶                                               └─ present ─▶

    for keys and for values whose past is an input of the graph: a cache. The joined ones are written once, by the
    operator that reads them.
    """
    facts = schema.facts("Attention", target.opset)
    if facts is None or not target.has_kernel("", "Attention", facts.since, {}):
        return graph
    joins = {node.output: node for node in graph.nodes if _joins_a_cache(node, graph)}
    if not joins:
        return graph
    first = _first_readers(graph, joins)
    changed = {node: _with_past(node, joins) for node in graph.nodes if _reads_joined(node, joins, first)}
    if not changed:
        return graph
    gone = {joins[value] for node in changed for value in node.inputs[1:3] if value is not None}
    nodes = tuple(changed.get(node, node) for node in graph.nodes if node not in gone)
    return Graph(graph.inputs, nodes, graph.outputs, graph.opset, graph.output_names, graph.name)


def _joins_a_cache(node: Node, graph: Graph) -> bool:
    """Whether keys or values [batch, heads, length, size] are joined to earlier ones, of which there are some."""
    if node.op != "Concat" or len(node.inputs) != 2 or len(node.output.shape) != 4:
        return False
    past = node.inputs[0]
    return node.attributes["axis"] in (2, -2) and past in graph.inputs and past is not None and past.shape[2] != 0


def _first_readers(graph: Graph, joins: Mapping[Value, Node]) -> dict[Value, Node]:
    """Who reads each of the joined values first."""
    first: dict[Value, Node] = {}
    for node in graph.nodes:
        for value in node.reads:
            if value in joins:
                first.setdefault(value, node)
    return first


def _reads_joined(node: Node, joins: Mapping[Value, Node], first: Mapping[Value, Node]) -> bool:
    """Whether an Attention is the first to read joined keys and joined values, whose pasts are equally long."""
    if node.op != "Attention" or len(node.outputs) > 1 or any(node.inputs[4:]) or node.attributes.get("is_causal"):
        return False
    key, value = node.inputs[1:3]
    if key is value or any(first.get(each) is not node for each in (key, value) if each is not None):
        return False
    assert key is not None
    assert value is not None
    before, after = joins[key].inputs[0], joins[value].inputs[0]
    return before is not None and after is not None and before.shape[:3] == after.shape[:3]


def _with_past(node: Node, joins: Mapping[Value, Node]) -> Node:
    """The Attention that joins them itself."""
    query, key, value, *mask = node.inputs[:4]
    assert key is not None
    assert value is not None
    (past_key, new_key), (past_value, new_value) = joins[key].inputs, joins[value].inputs
    inputs = (query, new_key, new_value, mask[0] if mask else None, past_key, past_value)
    location = node.location.by(past_into_attention.name)
    return Node(node.op, inputs, (node.output, key, value), node.attributes, location)
