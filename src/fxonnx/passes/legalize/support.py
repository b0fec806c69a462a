"""What the target says about one node: whether its opset admits the node's dtypes, and whether its runtime runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

from fxonnx.dtypes import DType, contains
from fxonnx.ir import schema
from fxonnx.ir.graph import Node
from fxonnx.ir.schema import OpFacts
from fxonnx.target import Target

Bindings = tuple[tuple[str, DType], ...]


def bindings(node: Node, facts: OpFacts) -> Bindings:
    """The dtype of each type variable that the node's inputs and outputs bind."""
    bound: dict[str, DType] = {}
    for parameter, value in facts.filled(node.inputs, node.outputs):
        bound.setdefault(parameter.type, value.dtype)
    return tuple(bound.items())


def input_variables(node: Node, facts: OpFacts) -> frozenset[str]:
    """The type variables that inputs have: those a cast before the node can change."""
    return frozenset(p.type for index in range(len(node.inputs)) if (p := facts.input(index)) is not None)


@cache
def admitted(op: str, opset: int, bound: Bindings) -> bool:
    """Whether the operator's schema in `opset` admits these dtypes."""
    facts = schema.facts(op, opset)
    return facts is not None and all(dtype in facts.types[variable] for variable, dtype in bound)


@cache
def runs(op: str, target: Target, bound: Bindings) -> bool:
    """Whether the target's runtime has a kernel for these dtypes, or inserts the casts itself. True where nothing is
    known of it."""
    facts = schema.facts(op, target.opset)
    return facts is not None and target.loads(facts.domain, facts.name, facts.since, _variables(facts, bound))


@cache
def computes(op: str, target: Target, bound: Bindings) -> bool:
    """Whether the target's runtime has a kernel for these dtypes themselves. True where nothing is known of it."""
    facts = schema.facts(op, target.opset)
    return facts is not None and target.has_kernel(facts.domain, facts.name, facts.since, _variables(facts, bound))


@cache
def runs_somehow(op: str, target: Target) -> bool:
    """Whether the runtime has a kernel of this version of the operator, whatever the dtypes."""
    facts = schema.facts(op, target.opset)
    return facts is not None and target.has_kernel(facts.domain, facts.name, facts.since, {})


def runs_or_inlines(op: str, target: Target, bound: Bindings) -> bool:
    """Whether the runtime runs the operator with these dtypes, or has none at all and runs ONNX's definition of it."""
    return runs(op, target, bound) or inlines(op, target)


@cache
def inlines(op: str, target: Target) -> bool:
    """Whether the runtime has no kernel of the operator, whatever the dtypes, and runs ONNX's definition of it."""
    return target.inlines and not runs_somehow(op, target) and is_function(op, target.opset)


@cache
def is_function(op: str, opset: int) -> bool:
    """Whether ONNX defines the operator by other operators, so that a runtime without a kernel can still run it."""
    import onnx

    definition: Any = onnx.defs.get_schema(schema.split_name(op)[1], opset, "")
    return bool(definition.has_function or definition.has_context_dependent_function)


@cache
def widened(op: str, target: Target, bound: Bindings, changeable: frozenset[str]) -> Mapping[str, DType] | None:
    """The narrowest dtypes that contain `bound` exactly, that the schema admits, to which it casts and for which there
    is a kernel; None where there are none. Integers become floats where no integers do: those do not wrap around. Of
    two integers as wide as each other it is the signed one: runtimes have kernels for it, whether the target tells of
    them or not."""
    own = dict(bound)

    def how_far(candidate: Bindings) -> tuple[int, int, int]:
        changed = sum(dtype.is_float and own[variable].is_integer for variable, dtype in candidate)
        unsigned = sum(dtype is not own[variable] and not dtype.is_signed for variable, dtype in candidate)
        return changed, sum(dtype.bits for _, dtype in candidate), unsigned

    for candidate in sorted(_candidates(op, target, bound, changeable), key=how_far):
        is_computed = admitted(op, target.opset, candidate) and computes(op, target, candidate)
        if is_computed and _casts(target, bound, candidate):
            return dict(candidate)
    return None


def _casts(target: Target, bound: Bindings, wide: Bindings) -> bool:
    """Whether the target's opset casts between the dtypes that differ, both ways."""
    changed = [(own, other) for (_, own), (_, other) in zip(bound, wide, strict=True) if own is not other]
    pairs = {pair for own, other in changed for pair in ((own, other), (other, own))}
    return all(admitted("Cast", target.opset, (("T1", one), ("T2", other))) for one, other in pairs)


def _candidates(op: str, target: Target, bound: Bindings, changeable: frozenset[str]) -> Iterator[Bindings]:
    facts = schema.facts(op, target.opset)
    assert facts is not None
    choices = [
        [dtype, *(wide for wide in facts.types[variable] if _is_wider(wide, dtype))]
        if variable in changeable
        else [dtype]
        for variable, dtype in bound
    ]
    for chosen in product(*choices):
        yield tuple((variable, dtype) for (variable, _), dtype in zip(bound, chosen, strict=True))


def _is_wider(wide: DType, narrow: DType) -> bool:
    """Contains it and computes alike: integers stay integers, floats floats; bools may become integers."""
    if wide is narrow or not contains(wide, narrow):
        return False
    return wide.is_float == narrow.is_float or not narrow.is_float


def _variables(facts: OpFacts, bound: Bindings) -> dict[str, DType]:
    """Without the fixed types, which kernels do not name."""
    return {variable: dtype for variable, dtype in bound if not variable.startswith(("tensor(", "seq(", "optional("))}
