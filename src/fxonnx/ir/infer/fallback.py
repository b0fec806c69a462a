"""Inference by ONNX's own C++ functions, one operator at a time."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.shape_inference
from onnx import AttributeProto, TensorProto, TypeProto, helper, numpy_helper

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.dims import Dim, Expr, Shape, parse_dim
from fxonnx.ir.graph import Graph, Value, constant_ints, content
from fxonnx.ir.infer.call import Call, CannotInfer, Contradiction
from fxonnx.ir.schema import NEWEST, OpFacts, Parameter
from fxonnx.ir.types import TensorType

_SMALL = 1024  # elements; larger contents do not decide shapes


def infer_by_onnx(call: Call) -> tuple[TensorType, ...]:
    """Types by `onnx.shape_inference.infer_node_outputs`; dims that it leaves open become new symbols.

    A dtype that the schema does not admit, which legalization widens later, is asked for as one that it does.
    Raises Contradiction where ONNX rejects the call, CannotInfer where it has no inference or does not find the rank.
    """
    if call.facts is None:
        raise CannotInfer(f"{call.op} is not an ONNX operator; give its output types")
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(call.inputs)]
    outputs = [f"o{index}" for index in range(call.outputs)]
    node = helper.make_node(call.facts.name, names, outputs)
    kinds = call.facts.attributes
    node.attribute.extend(_attribute(key, value, kinds[key].kind) for key, value in call.attributes.items())
    given = dict(zip(filter(None, names), call.facts.filled(call.inputs), strict=True))
    asked = {each.type: _admitted(call.facts, each, value.dtype) for each, value in given.values()}
    contents = {name: _small_tensor(value) for name, (each, value) in given.items() if asked[each.type] is value.dtype}
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(call.facts.name, NEWEST, ""),
            node,
            {name: _type_proto(asked[each.type], value.shape) for name, (each, value) in given.items()},
            {name: tensor for name, tensor in contents.items() if tensor is not None},
            opset_imports=[helper.make_opsetid("", NEWEST)],
        )
    except onnx.shape_inference.InferenceError as error:
        raise Contradiction(str(error).strip()) from error
    bound = {each.type: value.dtype for each, value in given.values() if "(" not in each.type}  # no fixed types
    parameters = [call.facts.output(index) for index in range(call.outputs)]
    wanted = [bound.get(each.type) if each else None for each in parameters]
    return tuple(_read(call, inferred.get(name), dtype) for name, dtype in zip(outputs, wanted, strict=True))


def _admitted(facts: OpFacts, parameter: Parameter, dtype: DType) -> DType:
    """The dtype, or another one that the schema has in its place."""
    admitted = facts.types[parameter.type] or (dtype,)
    return dtype if dtype in admitted else admitted[0]


def _attribute(name: str, value: object, kind: str) -> AttributeProto:
    if isinstance(value, Graph):
        raise CannotInfer("operators with subgraphs need their output types given")
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    return helper.make_attribute(name, value, attr_type=getattr(AttributeProto, kind))


def _type_proto(dtype: DType, shape: Shape) -> TypeProto:
    return helper.make_tensor_type_proto(dtype.code, [dim if isinstance(dim, int) else str(dim) for dim in shape])


def _small_tensor(value: Value) -> TensorProto | None:
    ints = constant_ints(value) if value.dtype.kind == "int" and value.data is None else None
    if ints is not None:
        return helper.make_tensor("", value.dtype.code, [dim for dim in value.shape if isinstance(dim, int)], ints)
    array = content(value) if isinstance(value.type.size, int) and value.type.size <= _SMALL else None
    return None if array is None else numpy_helper.from_array(array)


def _read(call: Call, proto: TypeProto | None, dtype: DType | None) -> TensorType:
    if proto is None or not proto.tensor_type.HasField("shape"):
        raise CannotInfer(f"onnx does not infer the shape of {call.op}")
    dims = tuple(_read_dim(call, dim) for dim in proto.tensor_type.shape.dim)
    return TensorType(dtype or dtypes.dtype(proto.tensor_type.elem_type), dims)


def _read_dim(call: Call, dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    if not dim.HasField("dim_param"):
        return call.new_dim()
    parsed: int | Expr = parse_dim(dim.dim_param)
    return parsed
