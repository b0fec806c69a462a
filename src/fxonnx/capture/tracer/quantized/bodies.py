"""What the ops of `torch.ops.quantized` compute, in the floats that their quantized tensors stand for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from fxonnx.capture.tracer.quantized.packed import is_half, table, weight_and_bias
from fxonnx.capture.tracer.quantized.steps import decomposed

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _linear(x: Any, packed: Any) -> Any:
    return F.linear(x, *weight_and_bias(packed))


def _convolution(rank: int) -> Callable[..., Any]:
    def convolve(x: Any, packed: Any, *_: Any) -> Any:
        weight, bias = weight_and_bias(packed, rank)
        moves = [each[-rank:] for each in (packed.stride(), packed.padding(), packed.dilation())]
        return _CONVOLUTIONS[rank](x, weight, bias, *moves, packed.groups())

    return convolve


def _transposed_convolution(rank: int) -> Callable[..., Any]:
    def convolve(x: Any, packed: Any) -> Any:
        weight, bias = weight_and_bias(packed, rank)
        stride, padding, more, dilation = (
            each[-rank:] for each in (packed.stride(), packed.padding(), packed.output_padding(), packed.dilation())
        )
        return _TRANSPOSED[rank](x, weight, bias, stride, padding, more, packed.groups(), dilation)

    return convolve


def _dynamic(body: Callable[..., Any]) -> Callable[..., Any]:
    """The same of an input whose steps are those of its range; `reduce_range` leaves a bit out."""

    def run(x: Any, packed: Any, reduce_range: bool = False) -> Any:
        most, ops = 127 if reduce_range else 255, decomposed()
        scale, zero = ops.choose_qparams.tensor(x, 0, most, 1e-8, torch.uint8)
        q = ops.quantize_per_tensor.tensor(x, scale, zero, 0, most, torch.uint8)
        return body(ops.dequantize_per_tensor.tensor(q, scale, zero, 0, most, torch.uint8), packed)

    return run


def _embedding(packed: Any, indices: Any, pruned_weights: bool = False) -> Any:
    bytes_, scales, shifts = table(packed)
    return bytes_[indices].float() * scales[indices] + shifts[indices]


def _embedding_bag(
    packed: Any, indices: Any, offsets: Any, scale_grad_by_freq: bool, mode: int, pruned_weights: bool,
    per_sample_weights: Any, mapping: Any, include_last_offset: bool,
) -> Any:  # fmt: skip
    bytes_, scales, shifts = table(packed)
    whole = bytes_.float() * scales + shifts
    return F.embedding_bag(
        indices, whole, offsets, mode=("sum", "mean", "max")[mode], per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
    )  # fmt: skip


def _cell(step: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrent step: what `step` makes of the linear layers of the input and of the state, and of the state. Their
    inputs have steps of seven bits, as torch's have; beside weights of half precision they stay as they are."""

    def run(x: Any, hx: Any, of_input: Any, of_state: Any, *_: Any) -> Any:
        state = hx[0] if isinstance(hx, (list, tuple)) else hx
        layer = _linear if is_half(of_input) else partial(_dynamic(_linear), reduce_range=True)
        return step(layer(x, of_input), layer(state, of_state), hx)

    return run


def _lstm_step(x: Any, state: Any, hx: Any) -> tuple[Any, Any]:
    """Hidden state and cell state. Source: torch's documentation of LSTMCell."""
    i, f, g, o = (x + state).chunk(4, 1)
    cell = f.sigmoid() * hx[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru_step(x: Any, state: Any, hx: Any) -> Any:
    """Hidden state. Source: torch's documentation of GRUCell."""
    (reset, update, new), (state_reset, state_update, state_new) = x.chunk(3, 1), state.chunk(3, 1)
    new = torch.tanh(new + torch.sigmoid(reset + state_reset) * state_new)
    return new + torch.sigmoid(update + state_update) * (hx - new)


def _batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    return F.batch_norm(x, mean, variance, weight, bias, eps=eps)


BODIES: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "add_scalar": torch.add,
    "batch_norm": _batch_norm,
    "batch_norm1d": _batch_norm,
    "batch_norm2d": _batch_norm,
    "batch_norm3d": _batch_norm,
    "cat": torch.cat,
    "celu": F.celu,
    "clamp": torch.clamp,
    "conv2d_add": lambda x, other, packed: _convolution(2)(x, packed) + other,
    "dropout": lambda x, p, training: x,
    "elu": torch.ops.aten.elu,
    "embedding_4bit": _embedding,
    "embedding_byte": _embedding,
    "embedding_bag_4bit": _embedding_bag,
    "embedding_bag_byte": _embedding_bag,
    "group_norm": F.group_norm,
    "hardswish": F.hardswish,
    "instance_norm": lambda x, weight, bias, eps: F.instance_norm(x, weight=weight, bias=bias, eps=eps),
    "layer_norm": F.layer_norm,
    "leaky_relu": lambda x, slope, inplace: F.leaky_relu(x, slope),
    "linear": _linear,
    "linear_dynamic": _dynamic(_linear),
    "linear_dynamic_fp16": _linear,
    "linear_leaky_relu": lambda x, packed, slope: F.leaky_relu(_linear(x, packed), slope),
    "linear_relu_dynamic": lambda *args: torch.relu(_dynamic(_linear)(*args)),
    "linear_relu_dynamic_fp16": lambda *args: torch.relu(_linear(*args)),
    "linear_tanh": lambda x, packed: torch.tanh(_linear(x, packed)),
    "matmul": torch.matmul,
    "mul": torch.mul,
    "mul_scalar": torch.mul,
    "prelu": F.prelu,
    "quantized_gru_cell_dynamic": _cell(_gru_step),
    "quantized_lstm_cell_dynamic": _cell(_lstm_step),
    "quantized_rnn_relu_cell_dynamic": _cell(lambda x, state, hx: torch.relu(x + state)),
    "quantized_rnn_tanh_cell_dynamic": _cell(lambda x, state, hx: torch.tanh(x + state)),
    "relu6": lambda x, inplace: F.relu6(x),
    "sigmoid": torch.sigmoid,
    "softmax": F.softmax,
    "threshold": F.threshold,
    **{f"conv{rank}d": _convolution(rank) for rank in (1, 2, 3)},
    **{f"conv{rank}d_dynamic": _dynamic(_convolution(rank)) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": _transposed_convolution(rank) for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d_dynamic": _dynamic(_transposed_convolution(rank)) for rank in (1, 2, 3)},
}
"""op of `torch.ops.quantized` -> (its arguments but the steps of the result) -> floats; a `_relu` comes after"""
