"""Quantization with parameters or dtypes that older opsets do not know: a scale for each slice, or for each block,
integers of 16 bits; and before opset 10, which has it first."""

from __future__ import annotations

from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Node
from fxonnx.passes.legalize.registry import expands, form

_16_BITS = (dtypes.INT16, dtypes.UINT16)


def _has_blocks(node: Node) -> bool:
    return bool(node.attributes.get("block_size", 0))


def _has_slices(node: Node) -> bool:
    return node.inputs[1] is not None and len(node.inputs[1].shape) == 1


def _is_of_16_bits(node: Node) -> bool:
    return any(value is not None and value.dtype in _16_BITS for value in (node.inputs[0], node.output))


def _is_of_a_weight(node: Node) -> bool:
    """ONNX Runtime rounds the bias beside it when it loads the file, with an operator that opset 10 has not."""
    return node.inputs[0] is not None and node.inputs[0].is_constant


@form("DequantizeLinear", since=21, applies=_has_blocks)
def dequantized_by_blocks(
    op: Builder, q: Tensor, scale: Tensor, zero: Tensor | None, *, axis: int, block_size: int, **rest: Any
) -> Tensor:
    """The axis cut into blocks, each scaled, and joined again."""
    axis %= q.rank
    cut = [*q.shape[:axis], scale.shape[axis], block_size, *q.shape[axis + 1 :]]
    values = op.Cast(op.Reshape(q, cut), to=scale.dtype.code)
    if zero is not None:
        values = values - op.Cast(op.Unsqueeze(zero, [axis + 1]), to=scale.dtype.code)
    return op.Reshape(values * op.Unsqueeze(scale, [axis + 1]), list(q.shape))


@expands("DequantizeLinear")
@form("DequantizeLinear", since=11, applies=_is_of_a_weight)
@form("DequantizeLinear", since=13, applies=_has_slices)
@form("DequantizeLinear", since=21, applies=_is_of_16_bits)
def dequantized(
    op: Builder, q: Tensor, scale: Tensor, zero: Tensor | None, *, axis: int, **rest: Any
) -> Tensor:
    """(q − zero) · scale, written out."""
    values = op.Cast(q, to=dtypes.FLOAT32)
    if zero is not None:
        values = values - op.Cast(_along(op, zero, q.rank, axis), to=dtypes.FLOAT32)
    scaled: Tensor = values * _along(op, scale, q.rank, axis)
    return scaled


@expands("QuantizeLinear")
@form("QuantizeLinear", since=13, applies=_has_slices)
@form("QuantizeLinear", since=21, applies=_is_of_16_bits)
def quantized(
    op: Builder, x: Tensor, scale: Tensor, zero: Tensor | None, *, axis: int, **rest: Any
) -> Tensor:
    """round(x / scale) + zero within the dtype's range, written out."""
    dtype = dtypes.UINT8 if zero is None else zero.dtype
    steps = op.Round(x / _along(op, scale, x.rank, axis))
    if zero is not None:
        steps = steps + op.Cast(_along(op, zero, x.rank, axis), to=dtypes.FLOAT32)
    integers: Tensor = op.Cast(op.Clip(steps, float(dtype.lowest), float(dtype.highest)), to=dtype)
    return integers


def _along(op: Builder, parameter: Tensor, rank: int, axis: int) -> Tensor:
    """A parameter so that it broadcasts: of slices along their axis, of all of them as it is."""
    if not parameter.shape:
        return parameter
    shape = [parameter.shape[0] if each == axis % rank else 1 for each in range(rank)]
    reshaped: Tensor = op.Reshape(parameter, shape)
    return reshaped
