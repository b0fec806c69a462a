"""Weights that torch.ao has packed for its kernels, as integers and their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fxonnx.capture.tracer.quantized.steps import Steps
from fxonnx.capture.tracer.torch_private import eager


def weight_and_bias(packed: Any, rank: int | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The floats of a packed weight, recorded as those of its integers, and the bias of a linear layer or of a
    convolution over `rank` axes: one of one axis is packed as of two."""
    with eager():
        weight, bias = packed.unpack() if packed._has_method("unpack") else _unpacked_linear(packed)
        if not weight.is_quantized:  # in half precision
            return weight.float(), bias
        integers, steps = taken_apart(weight)
        if rank is not None and integers.dim() > rank + 2:
            integers = integers.squeeze(2)
    return steps.floats(integers), bias


def is_half(packed: Any) -> bool:
    """Whether a packed weight of a linear layer is in half precision."""
    with eager():
        return not _unpacked_linear(packed)[0].is_quantized


def _unpacked_linear(packed: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    found: tuple[torch.Tensor, torch.Tensor | None] = torch.ops.quantized.linear_unpack(packed)
    return found


def taken_apart(weight: torch.Tensor) -> tuple[torch.Tensor, Steps]:
    """The integers of a quantized tensor, and its steps."""
    if weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return weight.int_repr(), Steps.of(weight.q_scale(), weight.q_zero_point(), weight.dtype)
    scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    axis = weight.q_per_channel_axis()
    return weight.int_repr(), Steps.of(scales.float(), zeros.long(), weight.dtype, axis)


def table(packed: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The rows of a packed embedding: bytes, and for each row a scale and what is added; of 4 bits likewise, whose
    scales are packed in half precision."""
    with eager():
        weight = torch.ops.quantized.embedding_bag_unpack(packed)
        scales = weight.q_per_channel_scales().float()
        shifts = -weight.q_per_channel_zero_points().float() * scales
        steps = (weight.dequantize() - shifts[:, None]) / scales[:, None]
        if weight.dtype is torch.quint4x2:
            scales, shifts = scales.half().float(), shifts.half().float()
        return steps.round().to(torch.uint8), scales[:, None], shifts[:, None]


def cell_weights(cells: Sequence[Any], has_biases: bool) -> list[torch.Tensor]:
    """The weights of recurrent layers in the order of aten.lstm: input, hidden, and their biases, of each in turn.

    What packs them holds two linear layers, whose biases are its own where the weights are integers.
    """
    found = []
    for cell in cells:
        (_, own, _, _, layers), _ = cell.__getstate__()
        weights, biases = zip(*map(weight_and_bias, layers), strict=True)
        found += [*weights, *((own or biases) if has_biases else ())]
    return found
