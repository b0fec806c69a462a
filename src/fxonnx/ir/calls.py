"""What the recording opset asks of a call: inputs and attributes as the operator's schema wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.dims import Expr
from fxonnx.ir.graph import Attribute, Value
from fxonnx.ir.schema import OpFacts
from fxonnx.ir.tensor import Tensor
from fxonnx.ir.types import TensorType


class InvalidCall(Exception):
    """A call that the operator's schema does not admit: our mistake in a lowering or rule, or a user's in their own."""


class UnknownSize(InvalidCall):
    """A size is needed that no value of the graph has."""


class SymbolicAttribute(InvalidCall):
    """An attribute, which is written into the graph, is wanted of a number that is known only when the model runs."""


def sibling_dtype(facts: OpFacts | None, index: int, values: Sequence[Value | None]) -> DType | None:
    """What a constant at `index` should be: as a tensor under the same type variable, or the only dtype admitted."""
    parameter = facts.input(index) if facts else None
    if facts is None or parameter is None:
        return None
    for other, value in enumerate(values):
        sibling = facts.input(other)
        if value is not None and sibling is not None and sibling.type == parameter.type:
            return value.dtype
    admitted = facts.types[parameter.type]
    return admitted[0] if len(admitted) == 1 else None


def check_arity(op: str, facts: OpFacts, inputs: Sequence[Any]) -> None:
    """Raise InvalidCall where an input is missing or too many."""
    if len(inputs) > len(facts.inputs) and not (facts.inputs and facts.inputs[-1].variadic):
        raise InvalidCall(f"{op} takes {len(facts.inputs)} inputs, not {len(inputs)}")
    for index, parameter in enumerate(facts.inputs):
        if not parameter.optional and not parameter.variadic and (index >= len(inputs) or inputs[index] is None):
            raise InvalidCall(f"{op} needs its input {parameter.name!r}")


def check_dtypes(op: str, facts: OpFacts, values: Sequence[Value | None]) -> None:
    """Raise InvalidCall where two inputs under one type variable differ in dtype."""
    bound: dict[str, DType] = {}
    for parameter, value in facts.filled(values):
        if parameter.homogeneous and bound.setdefault(parameter.type, value.dtype) is not value.dtype:
            raise InvalidCall(f"{op} mixes {bound[parameter.type]} and {value.dtype} under {parameter.type}")


def attribute_values(op: str, facts: OpFacts | None, attributes: dict[str, Any]) -> dict[str, Attribute]:
    """The attributes that are given, each of its kind. Raises InvalidCall for an unknown or a missing one."""
    given: dict[str, Attribute] = {}
    for name, item in attributes.items():
        if item is None:
            continue
        fact = facts.attributes.get(name) if facts else None
        if facts is not None and fact is None:
            raise InvalidCall(f"{op} has no attribute {name!r}")
        if any(map(_is_symbolic, item if isinstance(item, (list, tuple)) else [item])):
            raise SymbolicAttribute(f"ONNX's {op} has its attribute {name!r} fixed, and here it is {_said(item)}")
        given[name] = attribute_value(item, fact.kind if fact else None)
    for name, fact in (facts.attributes if facts else {}).items():
        if fact.required and name not in given:
            raise InvalidCall(f"{op} needs its attribute {name!r}")
    return given


def _is_symbolic(item: Any) -> bool:
    return isinstance(item, (Expr, Tensor))


def _said(item: Any) -> str:
    return f"[{', '.join(map(_said, item))}]" if isinstance(item, (list, tuple)) else str(item)


def attribute_value(item: Any, kind: str | None) -> Attribute:
    """A Python value as the attribute's kind wants it.

    Bools and dtypes become ints, lists tuples, ints floats for FLOAT, onnx's TensorProto an array.
    """
    match item:
        case DType():
            return item.code
        case bool() | np.integer():
            item = int(item)
        case np.floating():
            item = float(item)
        case list() | tuple():
            element_kind = kind.removesuffix("S") if kind else None
            return tuple(attribute_value(element, element_kind) for element in item)  # type: ignore[return-value]
    if kind == "TENSOR" and not isinstance(item, np.ndarray):
        return tensor_array(item)
    given: Attribute = float(item) if kind == "FLOAT" else item
    return given


def result_type(like: Any) -> TensorType:
    """The type that is like a tensor, or (dtype, shape). Raises InvalidCall, and DTypeError for no dtype."""
    if isinstance(like, Tensor):
        return like.type
    if isinstance(like, tuple) and len(like) == 2 and isinstance(like[1], (list, tuple)):
        dtype, shape = like
        if all(isinstance(size, (int, Expr)) for size in shape):
            return TensorType(dtypes.dtype(dtype), tuple(shape))
    raise InvalidCall(f'a result is like a tensor, or like ("float32", [batch, 3]), not like {like!r}')


def output_count(
    op: str, facts: OpFacts | None, attributes: dict[str, Attribute], values: Sequence[Value | None]
) -> int:
    """How many outputs a call has that does not say it: all that the operator must have, or Split's sizes."""
    if op == "Split":
        sizes = values[1] if len(values) > 1 else None
        return int(attributes.get("num_outputs", 1 if sizes is None else sizes.shape[0]))  # type: ignore[arg-type]
    if facts is None:
        return 1
    return facts.minimum_outputs or len(facts.outputs)


def tensor_array(content: Any) -> np.ndarray:
    """An onnx TensorProto, as onnxscript writes in `op.Constant(value=…)`, as an array."""
    from onnx import numpy_helper

    return numpy_helper.to_array(content)
