"""Normalizations: by batch, layer, group, instance, root mean square, neighbours and norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.ir.dims import Dim, Expr, product
from fxonnx.lowering.aten.math.reduction import mean
from fxonnx.lowering.aten.math.vectors import norm_along
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, may_be_zero, number, reshape

# ── by layer ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.layer_norm", ignore={"cudnn_enable"}, opmath=True)
def layer_norm(
    op: Builder,
    input: Tensor,
    normalized_shape: Sequence[Dim],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / √(variance + ε) over the last axes, scaled and shifted. Ba et al. 2016."""
    if 0 in input.shape:
        return input
    scale = _filled(op, normalized_shape, 1, input) if weight is None else weight
    return op.LayerNormalization(input, scale, bias, axis=-len(normalized_shape), epsilon=eps, stash_type=_stash(input))


@lower("aten.rms_norm", opmath=True)
def rms_norm(
    op: Builder, input: Tensor, normalized_shape: Sequence[Dim], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / √(mean(x²) + ε) over the last axes, scaled, in the dtype of x. Zhang and Sennrich 2019."""
    if 0 in input.shape:
        return input
    scale = _filled(op, normalized_shape, 1, input) if weight is None else cast(op, weight, dtype_of(input))
    attributes = {"axis": -len(normalized_shape), "epsilon": _epsilon(input, eps), "stash_type": _stash(input)}
    return op.RMSNormalization(input, scale, **attributes)


def _epsilon(x: Tensor, eps: float | None) -> float:
    """ε, by default that of the dtype torch computes in: float32 for all narrower ones."""
    computed = np.float64 if dtype_of(x) is dtypes.FLOAT64 else np.float32
    return float(np.finfo(computed).eps) if eps is None else eps


def _stash(x: Tensor) -> int | None:
    """The dtype of the statistics: float32 (ONNX's default, torch's for narrower inputs) unless the input is wider."""
    return dtypes.FLOAT64.code if dtype_of(x) is dtypes.FLOAT64 else None


def _filled(op: Builder, dims: Sequence[Dim], value: float, like: Tensor) -> Any:
    """A constant of shape `dims`; made when the model runs where a dim is known only then."""
    if any(isinstance(dim, Expr) for dim in dims):
        return full(op, dims, value, dtype_of(like))
    return np.full(tuple(dims), value, dtype_of(like).numpy)


# ── by batch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.batch_norm", ignore={"momentum", "cudnn_enabled"}, opmath=True)
def batch_norm(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    eps: float,
) -> Tensor:
    """(x - mean) / √(variance + ε) per channel, by running statistics or the batch's own. Ioffe and Szegedy 2015."""
    if 0 in input.shape:
        return input  # ONNX wants channels, torch takes a vector of nothing as well
    if training or running_mean is None or running_var is None:
        return _by_batch_statistics(op, input, weight, bias, eps)[0]
    return _by_running_statistics(op, input, weight, bias, running_mean, running_var, eps)


def _by_running_statistics(
    op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float
) -> Tensor:
    scale = _filled(op, mean.shape, 1, mean) if weight is None else weight
    shift = _filled(op, mean.shape, 0, mean) if bias is None else bias
    return op.BatchNormalization(x, scale, shift, mean, variance, epsilon=eps, _outputs=1)


def _by_batch_statistics(
    op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, biased variance) of every channel over the batch and the spatial axes; the latter as vectors."""
    axes = [0, *range(2, len(x.shape))]
    average = mean(op, x, axes, keepdim=True)
    centred = x - average
    variance = mean(op, centred * centred, axes, keepdim=True)
    normalized = centred / op.Sqrt(variance + number(op, eps, x))
    result = _affine(op, normalized, weight, bias)
    return result, op.Squeeze(average, axes), op.Squeeze(variance, axes)


def _affine(op: Builder, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x * weight + bias per channel (axis 1)."""
    spatial = list(range(1, len(x.shape) - 1))
    factor, addend = (None if item is None else cast(op, item, dtype_of(x)) for item in (weight, bias))
    if factor is not None:
        x = x * (op.Unsqueeze(factor, spatial) if spatial else factor)
    if addend is not None:
        x = x + (op.Unsqueeze(addend, spatial) if spatial else addend)
    return x


# ── by group and instance ────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.group_norm", ignore={"cudnn_enabled"}, opmath=True)
def group_norm(
    op: Builder,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each group of channels normalized over itself, then scaled and shifted per channel. Wu and He 2018.

    InstanceNormalization of the groups is twice as fast in ONNX Runtime as GroupNormalization, for which it has no
    kernel.
    """
    shape = tuple(input.shape)
    groups = reshape(op, input, (shape[0], num_groups, product(shape[1:]) // num_groups))
    ones, zeros = _filled(op, [num_groups], 1, input), _filled(op, [num_groups], 0, input)
    return _affine(op, reshape(op, _by_instance(op, groups, ones, zeros, eps), shape), weight, bias)


def _by_instance(op: Builder, x: Tensor, scale: Any, shift: Any, eps: float) -> Tensor:
    """InstanceNormalization, but of no elements nothing: ONNX Runtime's ends the process there."""
    size = product(x.shape[2:])
    if not may_be_zero(op, size):
        return op.InstanceNormalization(x, scale, shift, epsilon=eps)
    if size == 0:
        return x
    return record_if(
        op,
        op.size(size) < 1,
        lambda inner: [inner.Identity(inner.use(x.value))],
        lambda inner: [inner.InstanceNormalization(inner.use(x.value), scale, shift, epsilon=eps)],
    )[0]


@lower("aten.instance_norm", ignore={"momentum", "cudnn_enabled"}, opmath=True)
def instance_norm(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    eps: float,
) -> Tensor:
    """Each channel of each sample normalized over its spatial axes, or by running statistics. Ulyanov et al. 2016."""
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise Unsupported("instance_norm by running statistics without any")
        return _by_running_statistics(op, input, weight, bias, running_mean, running_var, eps)
    channels = [input.shape[1]]
    scale = _filled(op, channels, 1, input) if weight is None else weight
    shift = _filled(op, channels, 0, input) if bias is None else bias
    return _by_instance(op, input, scale, shift, eps)


# ── the same with their statistics, as training and decompositions ask for them ──────────────────────────────────────


@lower("aten.native_layer_norm", opmath=True)
def native_layer_norm(
    op: Builder, input: Tensor, normalized_shape: Sequence[Dim], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(layer_norm, mean, 1 / √(variance + ε)); the statistics keep the normalized axes with size 1."""
    axes = list(range(-len(normalized_shape), 0))
    average = mean(op, input, axes, keepdim=True)
    deviation = _inverse_deviation(op, input - average, axes, eps)
    return layer_norm(op, input, normalized_shape, weight, bias, eps), average, deviation


@lower("aten._fused_rms_norm", opmath=True)
def fused_rms_norm(
    op: Builder, input: Tensor, normalized_shape: Sequence[Dim], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor]:
    """(rms_norm, 1 / √(mean(x²) + ε))."""
    axes = list(range(-len(normalized_shape), 0))
    return rms_norm(op, input, normalized_shape, weight, eps), _inverse_deviation(op, input, axes, _epsilon(input, eps))


@lower("aten.native_group_norm", ignore={"N", "C", "HxW"}, opmath=True)
def native_group_norm(
    op: Builder, input: Tensor, weight: Tensor | None, bias: Tensor | None, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(group_norm, mean, 1 / √(variance + ε)) with the statistics [N, groups]."""
    grouped = reshape(op, input, (input.shape[0], group, product(input.shape[1:]) // group))
    average = mean(op, grouped, [2], keepdim=True)
    deviation = op.Squeeze(_inverse_deviation(op, grouped - average, [2], eps), [2])
    return group_norm(op, input, group, weight, bias, eps), op.Squeeze(average, [2]), deviation


def _inverse_deviation(op: Builder, centred: Tensor, axes: list[int], eps: float) -> Tensor:
    """1 / √(mean(x²) + ε) along `axes`, which stay with size 1."""
    variance = mean(op, centred * centred, axes, keepdim=True)
    return op.Reciprocal(op.Sqrt(variance + number(op, eps, centred)))


@lower("aten._native_batch_norm_legit.no_stats", ignore={"training", "momentum"}, opmath=True)
def batch_norm_without_running_statistics(
    op: Builder, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, 1 / √(variance + ε)) by the batch's own statistics."""
    result, mean, variance = _by_batch_statistics(op, input, weight, bias, eps)
    return result, *_saved(op, input, mean, variance, eps)


@lower("aten._native_batch_norm_legit_no_training", "aten._batch_norm_no_update", ignore={"momentum"}, opmath=True)
def batch_norm_without_training(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
) -> tuple[Tensor | None, ...]:
    """(batch_norm by running statistics, nothing else: torch leaves the other results empty)."""
    empty = full(op, [0], 0, dtype_of(input))
    result = _by_running_statistics(op, input, weight, bias, running_mean, running_var, eps)
    return result, empty, empty, full(op, [0], 0, dtypes.UINT8)


@lower(
    "aten._native_batch_norm_legit_functional", "aten.native_batch_norm", "aten._native_batch_norm_legit", opmath=True
)
def batch_norm_with_statistics(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor | None, ...]:
    """(result, mean, 1 / √(variance + ε), running mean after, running variance after).

    The running variance takes the unbiased variance of the batch, n / (n - 1) times the one that normalizes
    (torch.nn.BatchNorm2d).
    """
    if not training:
        if running_mean is None or running_var is None:
            raise Unsupported("a batch_norm by running statistics without any")
        result, empty, *_ = batch_norm_without_training(op, input, weight, bias, running_mean, running_var, eps)
        return result, empty, empty, running_mean, running_var
    result, mean, variance = _by_batch_statistics(op, input, weight, bias, eps)
    saved_mean, deviation = _saved(op, input, mean, variance, eps)
    if running_mean is None or running_var is None:
        return result, saved_mean, deviation, None, None
    after_mean = _running(op, running_mean, mean, momentum)
    after_variance = _running(op, running_var, _unbiased(op, variance, input), momentum)
    return result, saved_mean, deviation, after_mean, after_variance


def _saved(op: Builder, x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(mean, 1 / √(variance + ε)) in the input's dtype, as torch keeps them for gradients."""
    deviation = op.Reciprocal(op.Sqrt(variance + number(op, eps, variance)))
    return cast(op, mean, dtype_of(x)), cast(op, deviation, dtype_of(x))


@lower("aten._batch_norm_with_update_functional", opmath=True)
def batch_norm_with_update(
    op: Builder,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor | None, ...]:
    """The same in training, with torch's reserve (empty on CPU) before the running statistics."""
    result, mean, deviation, *after = batch_norm_with_statistics(
        op, input, weight, bias, running_mean, running_var, True, momentum, eps
    )
    return result, mean, deviation, full(op, [0], 0, dtypes.UINT8), *after


def _running(op: Builder, before: Tensor, batch: Tensor, momentum: float) -> Tensor:
    """(1 - momentum)·before + momentum·batch."""
    before = cast(op, before, dtype_of(batch))
    return before * number(op, 1 - momentum, before) + batch * number(op, momentum, before)


def _unbiased(op: Builder, variance: Tensor, x: Tensor) -> Tensor:
    """n / (n - 1) times the variance, n elements in each channel."""
    count = product((x.shape[0], *x.shape[2:]))
    if isinstance(count, int):
        return variance * number(op, count / (count - 1) if count > 1 else float("nan"), variance)
    elements = cast(op, op.size(count), dtype_of(variance))
    return variance * (elements / (elements - 1))


# ── of weights ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten._weight_norm", opmath=True)
def weight_norm(op: Builder, v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """g · v / |v|, the norm taken over every axis but `dim`. Salimans and Kingma 2016."""
    return weight_norm_interface(op, v, g, dim)[0]


@lower("aten._weight_norm_interface", opmath=True)
def weight_norm_interface(op: Builder, v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """(weight norm, |v|)."""
    norm = norm_except_dim(op, v, 2, dim)
    return v * (g / norm), norm


@lower("aten.norm_except_dim", opmath=True)
def norm_except_dim(op: Builder, v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over every axis but `dim`, which stay with size 1; over all of them, to a scalar, when `dim` is -1."""
    if pow != 2:
        raise Unsupported(f"norm_except_dim with the {pow}-norm")
    if dim == -1:
        return op.ReduceL2(v, keepdims=0)
    axes = [axis for axis in range(len(v.shape)) if axis != dim]
    return op.ReduceL2(v, axes) if axes else op.Abs(v)


@lower("aten.renorm", opmath=True)
def renorm(op: Builder, self: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Each slice along `dim` whose p-norm exceeds `maxnorm`, scaled down to it."""
    axes = [axis for axis in range(len(self.shape)) if axis != dim % len(self.shape)]
    size = norm_along(op, self, p, axes, True)
    return self * op.Where(size > float(maxnorm), float(maxnorm) / (size + 1e-7), 1.0)
