"""Signature changes between opsets, derived from `onnx.defs`: inputs that used to be attributes, attributes that did
not exist, defaults that changed.

Of the 62 signature changes between opsets 9 and 28, those that rename nothing but move an attribute to an input (19) or
add an attribute with a neutral default are answered here without naming an operator; tests/passes/legalize asks
`onnx.defs` for all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fxonnx.dtypes import INT64
from fxonnx.ir import schema
from fxonnx.ir.build import Builder
from fxonnx.ir.graph import Attribute, Graph, Node, Value, constant_ints, content
from fxonnx.ir.schema import AttributeFacts, OpFacts
from fxonnx.passes.pipeline import graph_pass, inside
from fxonnx.target import Target

# Inputs whose attribute had another name.
FORMER_NAMES = {("Pad", "constant_value"): "value", ("TopK", "K"): "k"}
# Attribute values that had another name, by operator, attribute and the first opset with the new one.
FORMER_VALUES = {("GridSample", "mode"): (20, {"linear": "bilinear", "cubic": "bicubic"})}
# Axes counted from the back are in the text of operators since then. Source: ONNX changelog, opset 11.
COUNTED_FROM_THE_BACK = 11
# Before, the branches of If had the same sizes.
_SIZES_OF_BRANCHES = 11
# What an operator did before it had an attribute, where that is not what the attribute's default says today.
FORMER_MEANINGS = {
    ("RoiAlign", "coordinate_transformation_mode"): "output_half_pixel",
    ("Resize", "coordinate_transformation_mode"): "asymmetric",
    ("Resize", "nearest_mode"): "floor",
}


@graph_pass
def inputs_to_attributes(graph: Graph, target: Target) -> Graph:
    """Give every node the signature that its operator has in the target's opset: inputs become the attributes they once
    were, defaults that changed are written out. What cannot be said is left for `guard` to report."""
    return _older_graph(graph, target.opset)


def _older_graph(graph: Graph, opset: int) -> Graph:
    return replace(graph, nodes=tuple(_older_node(node, opset) for node in graph.nodes), opset=opset)


def _older_node(node: Node, opset: int) -> Node:
    node = inside(node, lambda graph: _older_graph(graph, opset))
    newest, older = schema.facts(node.op), schema.facts(node.op, opset)
    if newest is None or older is None or newest.since == older.since:
        return node
    attributes = dict(node.attributes)
    inputs = _older_inputs(node, newest, older, attributes)
    _drop_neutral(node.op, attributes, newest, older)
    _keep_defaults(attributes, newest, older)
    _rename_values(node.op, attributes, opset)
    if opset < COUNTED_FROM_THE_BACK:
        _count_from_the_front(attributes, node)
    older_node = Node(older.name, inputs, node.outputs, attributes, node.location)
    if node.op == "If" and older.since < _SIZES_OF_BRANCHES:
        return _with_unsaid_sizes(older_node)
    is_idle = node.op == "Loop" and len(inputs) < older.minimum_inputs
    return _with_idle_value(older_node) if is_idle else older_node


def _with_unsaid_sizes(choice: Node) -> Node:
    """An If whose branches give the same sizes as far as a runtime can tell, which has to refuse others: where they do
    not, each is reshaped to its own shape, plus a 0 that is computed of the condition."""
    pairs = list(zip(*(graph.outputs for graph in choice.subgraphs), strict=True))
    places = {at for at, (one, other) in enumerate(pairs) if one.shape != other.shape}
    if not places:
        return choice
    (condition,) = choice.inputs
    branches = {
        name: _with_unsaid(branch, places, condition) if isinstance(branch, Graph) else branch
        for name, branch in choice.attributes.items()
    }
    return Node(choice.op, choice.inputs, choice.outputs, branches, choice.location)


def _with_unsaid(branch: Graph, places: Collection[int], condition: Value | None) -> Graph:
    op = Builder(opset=branch.opset)
    outputs = list(branch.outputs)
    assert condition is not None
    none = op.Cast(op.use(condition), to=INT64) * 0
    for at in places:
        value = op.use(outputs[at])
        outputs[at] = op.Reshape(value, op.Shape(value) + none).value
    return replace(branch, nodes=(*branch.nodes, *op.nodes), outputs=tuple(outputs))


def _with_idle_value(loop: Node) -> Node:
    """A loop that has to carry something and does not: a truth goes round, which nobody reads."""
    (body,) = loop.subgraphs
    start = next(value for value in reversed(loop.inputs) if value is not None)
    before, after, end = (Value(start.type, "idle") for _ in range(3))
    nodes = (*body.nodes, Node("Identity", (before,), (after,), location=loop.location))
    going, *stacked = body.outputs
    body = replace(body, inputs=(*body.inputs, before), nodes=nodes, outputs=(going, after, *stacked), output_names=())
    attributes = {**loop.attributes, "body": body}
    return Node(loop.op, (*loop.inputs, start), (end, *loop.outputs), attributes, loop.location)


def _older_inputs(
    node: Node, newest: OpFacts, older: OpFacts, attributes: dict[str, Attribute]
) -> tuple[Value | None, ...]:
    """The inputs that the older signature has, in its order; constants that it wants as attributes go there."""
    if [p.name for p in newest.inputs] == [p.name for p in older.inputs] or len(newest.inputs) == len(older.inputs):
        return node.inputs
    given = {parameter.name: value for parameter, value in zip(newest.inputs, node.inputs, strict=False)}
    for name, value in given.items():
        if value is None or any(parameter.name == name for parameter in older.inputs):
            continue
        former = FORMER_NAMES.get((node.op, name), name)
        content = _attribute_content(value, older.attributes.get(former))
        if content is None:
            return node.inputs
        attributes[former] = content
    inputs = [given.get(parameter.name) for parameter in older.inputs]
    while inputs and inputs[-1] is None:
        inputs.pop()
    return tuple(inputs)


def _attribute_content(value: Value, fact: AttributeFacts | None) -> Attribute | None:
    """A constant as an attribute of the wanted kind; None where it is not constant or there is no such attribute."""
    if fact is None:
        return None
    ints = constant_ints(value)
    if fact.kind == "INTS":
        return ints
    if fact.kind == "INT":
        return None if ints is None else ints[0]
    array = content(value)
    return None if array is None else float(array.reshape(-1)[0])


def _drop_neutral(op: str, attributes: dict[str, Attribute], newest: OpFacts, older: OpFacts) -> None:
    """Attributes that the older operator lacks say nothing where they say what it does anyway; others stay, for
    `guard` to report, and so does a default that it would not have done."""
    for name in set(newest.attributes) - set(older.attributes):
        default = newest.attributes[name].default
        former = FORMER_MEANINGS.get((op, name), default)
        if former != default:
            attributes.setdefault(name, default)  # type: ignore[arg-type]
        if name in attributes and attributes[name] == former:
            del attributes[name]


def _keep_defaults(attributes: dict[str, Attribute], newest: OpFacts, older: OpFacts) -> None:
    """Where a default changed, write what the newest operator means by saying nothing."""
    for name, fact in newest.attributes.items():
        before = older.attributes.get(name)
        if (
            name not in attributes
            and before is not None
            and fact.default is not None
            and fact.default != before.default
        ):
            attributes[name] = fact.default  # type: ignore[assignment]


def _rename_values(op: str, attributes: dict[str, Attribute], opset: int) -> None:
    for (named, attribute), (since, former) in FORMER_VALUES.items():
        if op == named and opset < since and attribute in attributes:
            value = str(attributes[attribute])
            attributes[attribute] = former.get(value, value)


def _count_from_the_front(attributes: dict[str, Attribute], node: Node) -> None:
    """Axes as the older text has them, in a tensor of the input's rank or, where axes are added, of the output's."""
    first = node.inputs[0] if node.inputs else None
    rank = len((node.output if first is None or node.op == "Unsqueeze" else first).shape)
    for name, item in attributes.items():
        if name == "axis" and isinstance(item, int) and item < 0:
            attributes[name] = item + rank
        if name == "axes" and isinstance(item, tuple):
            attributes[name] = tuple(axis + rank if axis < 0 else axis for axis in item)  # type: ignore[operator, assignment]


def signature_fits(node: Node, facts: OpFacts) -> str | None:
    """Why the node is not a call of the operator that `facts` describes; None where it is."""
    unknown = sorted(set(node.attributes) - set(facts.attributes))
    if unknown:
        return f"attribute {unknown[0]!r} does not exist there"
    if len(node.inputs) > len(facts.inputs) and not (facts.inputs and facts.inputs[-1].variadic):
        return f"it takes {len(facts.inputs)} inputs there, not {len(node.inputs)}"
    return None
