"""Inference by ONNX's own C++ functions, one operator at a time."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.shape_inference
from onnx import AttributeProto, TensorProto, TypeProto, helper, numpy_helper

from fxonnx import dtypes
from fxonnx.ir.dims import Dim, Expr, parse_dim
from fxonnx.ir.graph import Graph, Value, constant_ints
from fxonnx.ir.infer.call import Call, CannotInfer, Contradiction
from fxonnx.ir.schema import NEWEST
from fxonnx.ir.types import TensorType

_SMALL = 1024  # elements; larger contents do not decide shapes


def infer_by_onnx(call: Call) -> tuple[TensorType, ...]:
    """Types by `onnx.shape_inference.infer_node_outputs`; dims that it leaves open become new symbols.

    Raises Contradiction where ONNX rejects the call, CannotInfer where it has no inference or does not find the rank.
    """
    if call.facts is None:
        raise CannotInfer(f"{call.op} is not an ONNX operator; give its output types")
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(call.inputs)]
    outputs = [f"o{index}" for index in range(call.outputs)]
    node = helper.make_node(call.facts.name, names, outputs)
    kinds = call.facts.attributes
    node.attribute.extend(_attribute(key, value, kinds[key].kind) for key, value in call.attributes.items())
    given = {name: value for name, value in zip(names, call.inputs, strict=True) if value is not None}
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(call.facts.name, NEWEST, ""),
            node,
            {name: _type_proto(value) for name, value in given.items()},
            {name: tensor for name, value in given.items() if (tensor := _small_tensor(value)) is not None},
            opset_imports=[helper.make_opsetid("", NEWEST)],
        )
    except onnx.shape_inference.InferenceError as error:
        raise Contradiction(str(error).strip()) from error
    return tuple(_read(call, inferred.get(name)) for name in outputs)


def _attribute(name: str, value: object, kind: str) -> AttributeProto:
    if isinstance(value, Graph):
        raise CannotInfer("operators with subgraphs need their output types given")
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    return helper.make_attribute(name, value, attr_type=getattr(AttributeProto, kind))


def _type_proto(value: Value) -> TypeProto:
    shape = [dim if isinstance(dim, int) else str(dim) for dim in value.shape]
    return helper.make_tensor_type_proto(value.dtype.code, shape)


def _small_tensor(value: Value) -> TensorProto | None:
    ints = constant_ints(value) if value.dtype.kind == "int" and value.data is None else None
    if ints is not None:
        return helper.make_tensor("", value.dtype.code, [dim for dim in value.shape if isinstance(dim, int)], ints)
    if value.data is None or not isinstance(value.type.size, int) or value.type.size > _SMALL:
        return None
    return numpy_helper.from_array(value.data.array())


def _read(call: Call, proto: TypeProto | None) -> TensorType:
    if proto is None or not proto.tensor_type.HasField("shape"):
        raise CannotInfer(f"onnx does not infer the shape of {call.op}")
    dims = tuple(_read_dim(call, dim) for dim in proto.tensor_type.shape.dim)
    return TensorType(dtypes.dtype(proto.tensor_type.elem_type), dims)


def _read_dim(call: Call, dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    if not dim.HasField("dim_param"):
        return call.new_dim()
    parsed: int | Expr = parse_dim(dim.dim_param)
    return parsed
