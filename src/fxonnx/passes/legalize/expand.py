"""Operators and forms newer than the target, written in older ones.

Each expansion is the inverse of the fusion that makes the operator: the same picture read backwards. It applies where
the target's opset has no such operator, or the target's runtime no kernel for it, and speaks the newest spelling: what
it records may be expanded again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fxonnx.dtypes import BFLOAT16, FLOAT16, FLOAT32, DType
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.calls import UnknownSize
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.inline import inline
from fxonnx.passes.legalize.registry import EXPANSIONS, FORMS, IN_OPMATH, ROUNDING_INSIDE, NoExpansion, load
from fxonnx.passes.legalize.support import admitted, bindings, input_variables, is_function, runs, widened
from fxonnx.passes.legalize.widen import between_casts
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target

# Before, a Reshape could not ask for a size of 0: a 0 was the size that had been there.
EMPTY_SHAPES = 14

Recorded: TypeAlias = Any
Expansion: TypeAlias = Callable[..., Recorded]


@graph_pass
def expand(graph: Graph, target: Target) -> Graph:
    """Write what the target lacks in operators that it has."""
    load()

    def replace(op: Builder, node: Node) -> Recorded:
        try:
            return older(op, node)
        except (NoExpansion, UnknownSize):  # what data says is no size of a value
            return None

    def older(op: Builder, node: Node) -> Recorded:
        if target.opset < EMPTY_SHAPES and _is_empty(node):
            return [op.constant(_nothing(value), value.dtype) for value in node.outputs]
        for form in FORMS.get(node.op, ()):
            if target.opset < form.since and form.applies(node):
                return call(form.body, op, node)
        if node.op in ROUNDING_INSIDE and (narrow := _narrow_variables(node)):
            return between_casts(op, node, narrow)
        if is_known(node, target):
            return None
        if node.op in IN_OPMATH and (narrow := _narrow_variables(node)):
            return between_casts(op, node, narrow)
        if node.op in EXPANSIONS:
            return call(EXPANSIONS[node.op], op, node)
        return by_function_body(op, node)

    return replace_nodes(graph, replace, rule="expand")


def _is_empty(node: Node) -> bool:
    """Whether nothing is in what a node computes, at every call."""
    return all(0 in value.shape and all(isinstance(dim, int) for dim in value.shape) for value in node.outputs)


def _nothing(value: Value) -> np.ndarray:
    """An array of a value's static shape, without elements."""
    return np.empty(tuple(dim for dim in value.shape if isinstance(dim, int)), value.dtype.numpy)


def _narrow_variables(node: Node) -> dict[str, DType]:
    """The type variables of a node that are floats narrower than float32, and that they are to be computed in it."""
    facts = schema.facts(node.op)
    assert facts is not None
    return {variable: FLOAT32 for variable, dtype in bindings(node, facts) if dtype in (FLOAT16, BFLOAT16)}


def is_known(node: Node, target: Target) -> bool:
    """Whether the target's opset has the operator, and its runtime a kernel for these dtypes or exact wider ones."""
    if schema.facts(node.op) is None:  # not ONNX's own: the user's or the runtime's business
        return True
    facts = schema.facts(node.op, target.opset)
    if facts is None:
        return False
    bound = bindings(node, facts)
    if admitted(node.op, target.opset, bound) and runs(node.op, target, bound):
        return True
    if node.op not in EXPANSIONS and (target.inlines or not is_function(node.op, target.opset)):
        return True
    return widened(node.op, target, bound, input_variables(node, facts)) is not None


def call(body: Expansion, op: Builder, node: Node) -> Recorded:
    """Run an expansion's body on a node: inputs in order, attributes (with the newest defaults) by name."""
    facts = schema.facts(node.op)
    assert facts is not None
    defaults = {name: fact.default for name, fact in facts.attributes.items()}
    inputs = [None if value is None else op.use(value) for value in node.inputs]
    inputs += [None] * (len(facts.inputs) - len(inputs))
    return body(op, *inputs, **defaults | dict(node.attributes))


def by_function_body(op: Builder, node: Node) -> tuple[Tensor, ...] | None:
    """ONNX's own definition of a function operator, inlined; None for an operator that is no function.

    Source: ONNX operator schemas, "Function" sections.
    """
    import onnx

    definition: Any = onnx.defs.get_schema(node.op, schema.NEWEST, "")
    if not definition.has_function:
        return None
    facts = schema.facts(node.op)
    assert facts is not None
    defaults = {name: fact.default for name, fact in facts.attributes.items() if fact.default is not None}
    inputs = {
        parameter.name: op.use(value)
        for parameter, value in zip(definition.inputs, node.inputs, strict=False)
        if value is not None
    }
    return inline(op, definition.function_body, {**inputs, **defaults, **node.attributes})
