"""Is a node a call that its operator's schema admits, with the types that follow from its inputs?

Source: the ONNX operator schemas in the graph's own opset, as `fxonnx.ir.schema` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np

from fxonnx.dtypes import DType
from fxonnx.ir import schema
from fxonnx.ir.dims import Expr, symbol
from fxonnx.ir.graph import Graph, Node
from fxonnx.ir.infer import Call, CannotInfer, Contradiction, infer
from fxonnx.ir.schema import OpFacts, Parameter
from fxonnx.ir.types import compatible


def call_faults(node: Node, opset: int, admitted: bool) -> Iterator[str]:
    """What is wrong with the call in operator set `opset`; other domains have no schema here and pass."""
    facts = schema.facts(node.op, opset)
    if facts is None and schema.split_name(node.op)[0]:
        return
    if facts is None:
        yield f"opset {opset} has no operator {node.op}"
        return
    faults = [f"{node.op} is deprecated in opset {opset}"] if facts.deprecated else []
    faults += (*_arity(node, facts), *_attributes(node, facts), *_dtypes(node, facts, admitted))
    yield from faults
    if not faults and opset == schema.NEWEST and not node.subgraphs:
        yield from _inference(node, facts)


# ── the schema's part ────────────────────────────────────────────────────────────────────────────────────────────────


def _arity(node: Node, facts: OpFacts) -> Iterator[str]:
    yield from _count("inputs", len(node.inputs), facts.inputs)
    yield from _count("outputs", len(node.outputs), facts.outputs)
    for index, parameter in enumerate(facts.inputs):
        given = index < len(node.inputs) and node.inputs[index] is not None
        if not (given or parameter.optional or parameter.variadic):
            yield f"the input {parameter.name!r} is missing"
    if len(node.outputs) < max(1, facts.minimum_outputs):
        yield f"{len(node.outputs)} outputs; {node.op} has at least {max(1, facts.minimum_outputs)}"


def _count(what: str, number: int, parameters: Sequence[Parameter]) -> Iterator[str]:
    if number > len(parameters) and not (parameters and parameters[-1].variadic):
        yield f"{number} {what}; there are at most {len(parameters)}"


def _attributes(node: Node, facts: OpFacts) -> Iterator[str]:
    for name, value in node.attributes.items():
        fact = facts.attributes.get(name)
        if fact is None:
            yield f"{node.op} has no attribute {name!r} in this opset"
        elif fact.kind in _KINDS and not _KINDS[fact.kind](value):
            yield f"the attribute {name!r} is of kind {fact.kind}, not {type(value).__name__} ({value!r})"
    for name, fact in facts.attributes.items():
        if fact.required and name not in node.attributes:
            yield f"the attribute {name!r} is missing"


def _of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind) and not isinstance(value, bool)


def _tuple_of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and all(map(_of(kind), value))


_KINDS: dict[str, Callable[[object], bool]] = {
    "INT": _of(int), "FLOAT": _of(float), "STRING": _of(str), "TENSOR": _of(np.ndarray), "GRAPH": _of(Graph),
    "INTS": _tuple_of(int), "FLOATS": _tuple_of(float), "STRINGS": _tuple_of(str),
}  # fmt: skip


def _dtypes(node: Node, facts: OpFacts, admitted: bool) -> Iterator[str]:
    """dtypes that the schema admits, and one dtype under one type variable."""
    bound: dict[str, DType] = {}
    for parameter, value in facts.filled(node.inputs, node.outputs):
        allowed = facts.types.get(parameter.type, ())
        if admitted and allowed and value.dtype not in allowed:
            yield f"{parameter.name!r} is {value.dtype}; {node.op} admits {', '.join(map(str, allowed))}"
        if parameter.homogeneous and bound.setdefault(parameter.type, value.dtype) is not value.dtype:
            yield f"{parameter.name!r} is {value.dtype}, where {parameter.type} is {bound[parameter.type]}"


# ── inference's part ─────────────────────────────────────────────────────────────────────────────────────────────────


def _inference(node: Node, facts: OpFacts) -> Iterator[str]:
    numbers = count()

    def new_dim() -> Expr:
        return symbol(f"_any{next(numbers)}")

    try:
        types = infer(Call(node.op, facts, node.inputs, node.attributes, len(node.outputs), new_dim))
    except Contradiction as error:
        yield str(error)
        return
    except CannotInfer:  # known too little: whoever made the node knew more
        return
    for index, (value, found) in enumerate(zip(node.outputs, types, strict=True)):
        if not compatible(value.type, found):
            yield f"output {index} is recorded as {value.type}, but inference gives {found}"
