"""Small models for these tests, written with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from onnx import helper

from fxonnx.dtypes import dtype


def code(row: object) -> int:
    """The ONNX number of a dtype."""
    return dtype(row).code


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    """A node named like its first output."""
    return helper.make_node(op, inputs, outputs, name=attributes.pop("name", f"node/{outputs[0]}"), **attributes)


def value(name: str, row: object, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, code(row), shape)


def placeholder(name: str, row: object, shape: Sequence[int]) -> onnx.TensorProto:
    """A tensor whose content lies nowhere."""
    proto = onnx.TensorProto(name=name, data_type=code(row), dims=shape, data_location=onnx.TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value="weights.bin")
    return proto


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 23,
) -> onnx.ModelProto:
    """A model with com.microsoft beside ONNX's own operators."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def unary(
    op: str,
    row: object = torch.float32,
    shape: Sequence[int | str | None] | None = ("n", 4),
    out: object = None,
    **attributes: object,
) -> onnx.ModelProto:
    """y = op(x)."""
    opset = int(attributes.pop("opset", 23))
    return model(
        [node(op, ["x"], ["y"], **attributes)], [value("x", row, shape)], [value("y", out or row, shape)], opset=opset
    )


def binary(op: str, weight: torch.Tensor, x: torch.Tensor, rank: int, **attributes: object) -> onnx.ModelProto:
    """y = op(x, w) with a placeholder for w."""
    inputs = [value("x", x.dtype, [None] * x.dim())]
    outputs = [value("y", x.dtype, [None] * rank)]
    return model(
        [node(op, ["x", "w"], ["y"], **attributes)], inputs, outputs, [placeholder("w", weight.dtype, weight.shape)]
    )
