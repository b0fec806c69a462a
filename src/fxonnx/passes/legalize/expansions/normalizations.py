"""Normalizations as means and variances, and softmax of an axis where it knew only the last."""

from __future__ import annotations

from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Node
from fxonnx.passes.legalize.registry import expands, form


def _in_stash(op: Builder, x: Tensor, stash_type: int) -> Tensor:
    """`x` in the dtype that statistics are computed in; a wider input keeps its own."""
    wanted = dtypes.dtype(stash_type)
    return x if x.dtype.bits >= wanted.bits else op.Cast(x, to=wanted)


def _back(op: Builder, x: Tensor, like: Tensor) -> Tensor:
    return x if x.dtype is like.dtype else op.Cast(x, to=like.dtype)


@expands("LayerNormalization", opmath=True)
def layer_normalization(
    op: Builder, x: Tensor, scale: Tensor, bias: Tensor | None, *, axis: int, epsilon: float, stash_type: int
) -> Any:
    """(x - mean) / √(var + ε) · scale + bias over the axes from `axis` on. Ba et al. 2016."""
    axes = list(range(axis % x.rank, x.rank))
    wide = _in_stash(op, x, stash_type)
    centered = wide - op.ReduceMean(wide, axes, keepdims=1)
    variance = op.ReduceMean(centered * centered, axes, keepdims=1)
    result = _back(op, centered / op.Sqrt(variance + epsilon), x) * scale
    return result if bias is None else result + bias


@expands("RMSNormalization", opmath=True)
def rms_normalization(op: Builder, x: Tensor, scale: Tensor, *, axis: int, epsilon: float, stash_type: int) -> Tensor:
    """x / √(mean(x²) + ε) · scale: the form that ONNX Runtime fuses into SimplifiedLayerNormalization. Zhang & Sennrich
    2019.

    A square as x · x stops the runtime's offline optimizer (onnxruntime.transformers, 1.32) with a TypeError.
    """
    axes = list(range(axis % x.rank, x.rank))
    wide = _in_stash(op, x, stash_type)
    mean = op.ReduceMean(op.Pow(wide, 2.0), axes, keepdims=1)
    return _back(op, wide / op.Sqrt(mean + epsilon), x) * scale


@expands("InstanceNormalization", opmath=True)
def instance_normalization(op: Builder, x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    """(x - mean) / √(var + ε) · scale + bias over the axes behind the channels: for dtypes without a kernel. Ulyanov et
    al. 2016."""
    axes, shaped = list(range(2, x.rank)), [-1, *[1] * (x.rank - 2)]
    centered = x - op.ReduceMean(x, axes, keepdims=1)
    variance = op.ReduceMean(centered * centered, axes, keepdims=1)
    normal = centered / op.Sqrt(variance + epsilon)
    return normal * op.Reshape(scale, shaped) + op.Reshape(bias, shaped)


@form("GroupNormalization", since=21, applies=lambda node: True)  # at 18 its scale and bias were the groups'
@expands("GroupNormalization", opmath=True)
def group_normalization(
    op: Builder, x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float, stash_type: int
) -> Tensor:
    """Instance normalization of the groups as channels, then scale and bias of the channels. Wu & He 2018."""
    channels = x.shape[1]
    grouped = op.Reshape(x, [x.shape[0], num_groups, -1])
    ones, zeros = op.constant([1.0] * num_groups, x.dtype), op.constant([0.0] * num_groups, x.dtype)
    normal = op.InstanceNormalization(grouped, ones, zeros, epsilon=epsilon)
    shaped = [channels, *[1] * (x.rank - 2)]
    back = op.Reshape(normal, x.shape)
    return back * op.Reshape(scale, shaped) + op.Reshape(bias, shaped)


def _is_of_inner_axis(node: Node) -> bool:
    rank = len(node.output.shape)
    return rank > 0 and int(node.attributes.get("axis", -1)) % rank != rank - 1


def _along_last_axis(op: Builder, operator: str, x: Tensor, axis: int) -> Tensor:
    """Before opset 13 all axes from `axis` on were one."""
    order = [index for index in range(x.rank) if index != axis % x.rank] + [axis % x.rank]
    (result,) = op.call(operator, [op.Transpose(x, perm=order)], {"axis": -1})
    return op.Transpose(result, perm=sorted(range(x.rank), key=order.__getitem__))


@form("Softmax", since=13, applies=_is_of_inner_axis)
def softmax(op: Builder, x: Tensor, *, axis: int) -> Tensor:
    """The axis moved to the end and back."""
    return _along_last_axis(op, "Softmax", x, axis)


@form("LogSoftmax", since=13, applies=_is_of_inner_axis)
def log_softmax(op: Builder, x: Tensor, *, axis: int) -> Tensor:
    """The axis moved to the end and back."""
    return _along_last_axis(op, "LogSoftmax", x, axis)
