"""Several graphs of one model as one: which of them computes is an If on the sizes of its inputs.

    x ── Shape ── Equal 224 ── If ─┬─ then   the graph for 224     ─┬─▶
                                   └─ else   the one for all sizes ─┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder
from fxonnx.ir.calls import InvalidCall, UnknownSize
from fxonnx.ir.control import record_if
from fxonnx.ir.dims import Comparison
from fxonnx.ir.graph import Graph, Node, Substitution, Value
from fxonnx.ir.tensor import Tensor
from fxonnx.location import Location

_OPERATORS = {
    "==": "Equal", "!=": "Equal", "<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A graph, and lists of comparisons of sizes (left, relation, right): all of one hold where it computes."""

    holds: Sequence[Sequence[Comparison]]
    graph: Graph


class NoWay(Exception):
    """A way cannot stand beside the rest; the text says why."""


def with_ways(general: Graph, ways: Sequence[Way]) -> Graph:
    """The first of the ways that holds, else the general graph. All have the same inputs and as many outputs; a size of
    one of these on which they do not agree is a new one.

    Raises NoWay where outputs have other dtypes or ranks, or no input tells a size that is compared.
    """
    op = Builder(general.opset)
    inputs = [op.input(value.type, value.name or "") for value in general.inputs]
    try:
        outputs = _either(op, inputs, general, list(ways))
    except (InvalidCall, UnknownSize) as reason:
        raise NoWay(str(reason)) from reason
    return op.finish(outputs, general.output_names, general.name)


def guarded(graph: Graph, holds: Sequence[Sequence[Comparison]]) -> Graph:
    """The graph, which stops where for none of the lists all comparisons hold: an input is then given a shape of
    another number of elements, which every runtime refuses. Raises NoWay where no input tells a size that is compared.

        x ── Shape ── +1 where it does not hold ── Reshape ─▶ the graph
    """
    op = Builder(graph.opset)
    op.location = Location(module="holds_for")
    inputs = [op.input(value.type, value.name or "") for value in graph.inputs]
    try:
        truth = _any(op, holds)
    except UnknownSize as reason:
        raise NoWay(str(reason)) from reason
    checked = next((index for index, each in enumerate(inputs) if each.shape), None)
    if checked is None:
        return graph
    wrong = op.Reshape(op.Cast(op.Not(truth), to=dtypes.INT64), [1])
    shape = op.Shape(inputs[checked]) + wrong
    given = op.refine(op.Reshape(inputs[checked], shape, allowzero=1), inputs[checked].type)
    outer = [given if index == checked else each for index, each in enumerate(inputs)]
    return op.finish(_embedded(op, outer, graph), graph.output_names, graph.name)


def _either(op: Builder, inputs: Sequence[Tensor], general: Graph, ways: Sequence[Way]) -> Sequence[Tensor]:
    if not ways:
        return _embedded(op, inputs, general)
    first, *rest = ways
    return record_if(
        op,
        _any(op, first.holds),
        lambda inner: _embedded(inner, inputs, first.graph),
        lambda inner: _either(inner, inputs, general, rest),
    )


def _any(op: Builder, holds: Iterable[Iterable[Comparison]]) -> Tensor:
    first, *rest = (_all(op, comparisons) for comparisons in holds)
    return reduce(op.Or, rest, first)


def _all(op: Builder, comparisons: Iterable[Comparison]) -> Tensor:
    found: Any = None
    for left, relation, right in comparisons:
        if not op.tells([left, right]):
            raise UnknownSize(f"no input tells {left} {relation} {right}")
        truth = getattr(op, _OPERATORS[relation])(op.size(left), op.size(right))
        truth = op.Not(truth) if relation == "!=" else truth
        found = truth if found is None else op.And(found, truth)
    return op.constant(True) if found is None else found


def _embedded(op: Builder, inputs: Sequence[Tensor], graph: Graph) -> Sequence[Tensor]:
    """The nodes of a graph, which read these inputs: as what they are there, where all sizes may be known."""
    replaced = Substitution()
    read = set(graph.reads())
    for outer, inner in zip(inputs, graph.inputs, strict=True):
        if inner in read:
            value = Value(inner.type)
            op.nodes.append(Node("Identity", (outer.value,), (value,)))
            replaced[inner] = value
    op.nodes.extend(map(replaced.node, graph.nodes))
    return [_written(op, replaced[value], graph) for value in graph.outputs]


def _written(op: Builder, value: Value, graph: Graph) -> Tensor:
    """An output of a branch, which a node of it has to write."""
    return op.Identity(op.use(value)) if value.is_constant else op.use(value)
