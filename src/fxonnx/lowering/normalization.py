"""Normalizations: by batch, layer, group, instance, root mean square, neighbours and norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, product
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, number, reshape

# ── by layer ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.layer_norm")
def layer_norm(
    op: Builder,
    input: Tensor,
    normalized_shape: Sequence[Dim],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """(x - mean) / √(variance + ε) over the last axes, scaled and shifted. Ba et al. 2016."""
    scale = _filled(op, normalized_shape, 1, input) if weight is None else weight
    return op.LayerNormalization(input, scale, bias, axis=-len(normalized_shape), epsilon=eps, stash_type=_stash(input))


@lower("aten.rms_norm", "aten._fused_rms_norm")
def rms_norm(op: Builder, input: Tensor, normalized_shape: Sequence[Dim], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / √(mean(x²) + ε) over the last axes, scaled. Zhang and Sennrich 2019. ε is by default that of the dtype torch computes in."""
    epsilon = (2.220446049250313e-16 if dtype_of(input) is dtypes.FLOAT64 else 1.1920928955078125e-07) if eps is None else eps
    scale = _filled(op, normalized_shape, 1, input) if weight is None else weight
    result = op.RMSNormalization(input, scale, axis=-len(normalized_shape), epsilon=epsilon, stash_type=_stash(input))
    return cast(op, result, dtype_of(input))


def _stash(x: Tensor) -> int | None:
    """The dtype that statistics are computed in: float32 (ONNX's default, and torch's for narrower ones) unless the input is wider."""
    return dtypes.FLOAT64.code if dtype_of(x) is dtypes.FLOAT64 else None


def _filled(op: Builder, dims: Sequence[Dim], value: float, like: Tensor) -> Any:
    """A constant of shape `dims`; made when the model runs where a dim is known only then."""
    if any(isinstance(dim, Expr) for dim in dims):
        return full(op, dims, value, dtype_of(like))
    return np.full(tuple(dims), value, dtype_of(like).numpy)


# ── by batch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.batch_norm")
def batch_norm(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """(x - mean) / √(variance + ε) per channel, with the running statistics or the batch's own. Ioffe and Szegedy 2015."""
    if training or running_mean is None or running_var is None:
        return _by_batch_statistics(op, input, weight, bias, eps)[0]
    return _by_running_statistics(op, input, weight, bias, running_mean, running_var, eps)


def _by_running_statistics(
    op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float
) -> Tensor:
    scale = _filled(op, mean.shape, 1, mean) if weight is None else weight
    shift = _filled(op, mean.shape, 0, mean) if bias is None else bias
    return op.BatchNormalization(x, scale, shift, mean, variance, epsilon=eps, _outputs=1)


def _by_batch_statistics(op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, biased variance) of every channel over the batch and the spatial axes, the statistics as vectors."""
    axes = [0, *range(2, len(x.shape))]
    mean = op.ReduceMean(x, axes)
    centred = x - mean
    variance = op.ReduceMean(centred * centred, axes)
    result = _affine(op, centred / op.Sqrt(variance + number(op, eps, x)), weight, bias)
    return result, op.Squeeze(mean, axes), op.Squeeze(variance, axes)


def _affine(op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x * weight + bias per channel (axis 1)."""
    spatial = list(range(1, len(x.shape) - 1))
    if weight is not None:
        x = x * (op.Unsqueeze(weight, spatial) if spatial else weight)
    if bias is not None:
        x = x + (op.Unsqueeze(bias, spatial) if spatial else bias)
    return x


# ── by group and instance ────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.group_norm")
def group_norm(
    op: Builder,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Each group of channels normalized over itself, then scaled and shifted per channel. Wu and He 2018.

    InstanceNormalization of the groups is twice as fast in ONNX Runtime as GroupNormalization, which it has no kernel for.
    """
    shape = tuple(input.shape)
    groups = reshape(op, input, (shape[0], num_groups, product(shape[1:]) // num_groups))
    ones, zeros = _filled(op, [num_groups], 1, input), _filled(op, [num_groups], 0, input)
    normalized = reshape(op, op.InstanceNormalization(groups, ones, zeros, epsilon=eps), shape)
    return _affine(op, normalized, weight, bias)


@lower("aten.instance_norm")
def instance_norm(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Each channel of each sample normalized over its spatial axes, or by running statistics. Ulyanov et al. 2016."""
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise Unsupported("instance_norm by running statistics without any")
        return _by_running_statistics(op, input, weight, bias, running_mean, running_var, eps)
    channels = [input.shape[1]]
    scale = _filled(op, channels, 1, input) if weight is None else weight
    shift = _filled(op, channels, 0, input) if bias is None else bias
    return op.InstanceNormalization(input, scale, shift, epsilon=eps)
