"""Any operator by the reference implementation in `onnx`, imported when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, TypeProto, ValueInfoProto, helper, numpy_helper

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.evaluate.direct import Array
from fxonnx.ir.graph import Node
from fxonnx.ir.schema import OpFacts

# The reference does not know every operator, nor every form of those it knows; there it raises any of these.
_REFUSALS = (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


_HALF = (dtypes.FLOAT16.numpy, dtypes.BFLOAT16.numpy)


class CannotEvaluate(Exception):
    """Neither a function here nor the reference computes the operator."""


def compute_by_reference(node: Node, arrays: Sequence[Array | None]) -> list[Array]:
    """A model of one node, run by `onnx.reference`. Raises CannotEvaluate where that does not know the operator."""
    from onnx.reference import ReferenceEvaluator

    facts = schema.facts(node.op)
    if facts is None:
        raise CannotEvaluate(f"{node.op} is no ONNX operator; there is no reference to compute it")
    names = [f"i{index}" if array is not None else "" for index, array in enumerate(arrays)]
    outputs = [f"o{index}" for index in range(len(node.outputs))]
    proto = helper.make_node(facts.name, names, outputs)
    for key, value in node.attributes.items():
        proto.attribute.append(_attribute(key, value, facts.attributes[key].kind))
    graph = helper.make_graph([proto], "node", [_info(name) for name in names if name], list(map(_info, outputs)))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", schema.NEWEST)])
    narrow = _half_variables(facts, arrays)
    feeds = {
        name: array.astype(np.float32) if narrow and array.dtype in _HALF else array
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    }
    try:
        results = [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]
    except _REFUSALS as error:
        raise CannotEvaluate(f"the reference does not compute this {node.op}: {error}") from error
    return [
        result.astype(narrow.get(parameter.type, result.dtype)) for parameter, result in facts.filled((), results)
    ]


def _half_variables(facts: OpFacts, arrays: Sequence[Array | None]) -> Mapping[str, np.dtype[Any]]:
    """The type variables of inputs in half precision that results have, too: computed in float32 and rounded once,
    where runtimes round."""
    results = {parameter.type for parameter in facts.outputs}
    return {
        parameter.type: array.dtype
        for parameter, array in facts.filled(arrays)
        if array.dtype in _HALF and parameter.type in results
    }


def _attribute(name: str, value: object, kind: str) -> AttributeProto:
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    return helper.make_attribute(name, value, attr_type=getattr(AttributeProto, kind))


def _info(name: str) -> ValueInfoProto:
    return helper.make_value_info(name, TypeProto())
