"""Keys and values of earlier tokens, read by Attention itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from fxonnx.ir import schema
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.ir.tensor import Tensor
from fxonnx.ir.types import TensorType
from fxonnx.location import Location
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
    return replace(graph, nodes=nodes)


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


def past_in_place(graph: Graph, new: Value, every: Value) -> Graph | None:
    """past, k ── Attention ─┬─▶        becomes        past, k ── TensorScatter ─┬─ Attention ─▶
                             └─ present ─▶                                       └─ present ─▶

    for a cache with room for more tokens than it has: `present` has as many places as `past`, and may be its memory.
    How many tokens are there is told by the inputs `new` and `every`, [batch, tokens]: those that come, and all. None
    where somebody else reads the cache. https://onnx.ai/onnx/operators/onnx__TensorScatter.html
    """
    inputs = set(graph.inputs)
    readers = {node: None for node in graph.nodes if _has_past(node, inputs)}
    cache = {past for node in readers for past in node.inputs[4:6] if past is not None}
    written = {value for node in readers for value in node.outputs[1:]}
    told = {node: None for node in graph.nodes if node.op == "Shape" and node.inputs[0] in cache}
    read = {value for node in graph.nodes if node not in readers and node not in told for value in node.reads}
    if len(cache) < max(2 * len(readers), 1) or not read.isdisjoint(cache | written) or cache & set(graph.outputs):
        return None
    return _InPlace(graph, cache, new, every).graph()


def written_in_place(graph: Graph) -> dict[int, int]:
    """The outputs of such a graph that may lie in the memory of an input, by their indices."""
    inputs, outputs = ({value: index for index, value in enumerate(side)} for side in (graph.inputs, graph.outputs))
    nodes = [node for node in graph.nodes if node.op == "TensorScatter"]
    return {outputs[node.output]: inputs[past] for node in nodes if (past := node.inputs[0]) is not None}


def _has_past(node: Node, inputs: Collection[Value]) -> bool:
    """Whether an Attention of four axes joins keys and values to a cache."""
    if node.op != "Attention" or len(node.inputs) < 6 or len(node.outputs) < 3 or "q_num_heads" in node.attributes:
        return False
    return not node.attributes.get("is_causal") and all(past in inputs for past in node.inputs[4:6])


class _InPlace:
    """One walk over a graph whose cache has room."""

    def __init__(self, before: Graph, cache: Collection[Value], new: Value, every: Value) -> None:
        self.before, self.replaced = before, Substitution()
        self.op = Builder(before.opset)
        self.op.location = Location().by(past_in_place.__name__)
        for value in before.inputs:
            kind = _with_room(value.type) if value in cache else value.type
            self.replaced[value] = self.op.input(kind, value.name or "").value
        self.cache = {self.replaced[value]: None for value in before.inputs if value in cache}
        batch, tokens = (self.op.Shape(self.op.use(self.replaced[new]), start=axis, end=axis + 1) for axis in (0, 1))
        self.total = self.op.Shape(self.op.use(self.replaced[every]), start=1)
        self.past = self.total - tokens
        self.place = self.op.Expand(self.past, batch)
        self.room = self.op.Shape(self.op.use(next(iter(self.cache))), start=2, end=3)
        self.masks: dict[Value, Tensor] = {}

    def graph(self) -> Graph:
        """The graph, node by node."""
        for old in self.before.nodes:
            node = self.replaced.node(old)
            if node.op == "Shape" and node.inputs[0] in self.cache:
                self.replaced[node.output] = self.sizes(node).value
            elif node.op == "Attention" and node.inputs[4:5] and node.inputs[4] in self.cache:
                for value, made in zip(node.outputs, self.attention(node), strict=True):
                    self.replaced[value] = made.value
            else:
                self.op.nodes.append(node)
        outputs = [self.op.use(self.replaced[value]) for value in self.before.outputs]
        return self.op.finish(outputs, self.before.output_names, self.before.name)

    def sizes(self, node: Node) -> Tensor:
        """What was the shape of a cache without room, or some of it."""
        (value,) = node.inputs
        assert value is not None
        whole, axes = self.op.use(value), range(4)[node.attributes.get("start", 0) : node.attributes.get("end")]
        parts = [self.past if axis == 2 else self.op.Shape(whole, start=axis, end=axis + 1) for axis in axes]
        return self.op.call("Concat", parts, {"axis": 0})[0]

    def attention(self, node: Node) -> tuple[Tensor, Tensor, Tensor]:
        """Attention that reads a whole cache, of which the mask hides what is not there yet."""
        query, key, value, mask, past_key, past_value = [
            None if each is None else self.op.use(each) for each in node.inputs[:6]
        ]
        keys = self.op.TensorScatter(past_key, key, self.place, axis=2)
        values = self.op.TensorScatter(past_value, value, self.place, axis=2)
        length = None if mask is not None else self.op.Expand(self.total, self.op.Shape(self.place))
        wide = None if mask is None else self.widened(mask)
        inputs = [query, keys, values, wide, None, None, length]
        (result,) = self.op.call("Attention", inputs, dict(node.attributes), 1, [node.output.type])
        return result, keys, values

    def widened(self, mask: Tensor) -> Tensor:
        """A mask [..., total] for all places of a cache."""
        if mask.value not in self.masks:
            is_bool = mask.dtype.kind == "bool"
            hidden = self.op.constant(np.zeros((), bool) if is_bool else np.full((), -np.inf), mask.dtype)
            none = self.op.constant(np.zeros(2 * mask.rank - 1, np.int64))
            pads = self.op.Concat(none, self.room - self.total, axis=0)
            self.masks[mask.value] = self.op.Pad(mask, pads, hidden)
        return self.masks[mask.value]


def _with_room(type: TensorType) -> TensorType:
    batch, heads, _, size = type.shape
    return TensorType(type.dtype, (batch, heads, symbol("room"), size))
