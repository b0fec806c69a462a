"""Functions with a number among their arguments that is a constant in torch's schema, or in ONNX's: slopes, bounds,
factors, a share. Where it is computed of sizes they are written in what takes any number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fxonnx.capture.tracer.sized_operators.bodies import Size

# ── activations ──


def _elu(input: Tensor, alpha: Size = 1.0, inplace: bool = False) -> Any:
    return NotImplemented if inplace else torch.where(input > 0, input, alpha * torch.expm1(input))


def _celu(input: Tensor, alpha: Size = 1.0, inplace: bool = False) -> Any:
    return NotImplemented if inplace else torch.where(input > 0, input, alpha * torch.expm1(input / alpha))


def _leaky_relu(input: Tensor, negative_slope: Size = 0.01, inplace: bool = False) -> Any:
    return NotImplemented if inplace else torch.where(input > 0, input, negative_slope * input)


def _hardtanh(input: Tensor, min_val: Size = -1.0, max_val: Size = 1.0, inplace: bool = False) -> Any:
    return NotImplemented if inplace else torch.clamp(input, min_val, max_val)


def _threshold(input: Tensor, threshold: Size, value: Size, inplace: bool = False) -> Any:
    return NotImplemented if inplace else torch.where(input <= threshold, torch.zeros_like(input) + value, input)


def _softplus(input: Tensor, beta: Size = 1.0, threshold: Size = 20.0) -> Tensor:
    scaled = input * beta
    return torch.where(scaled > threshold, input, torch.log1p(torch.exp(scaled)) / beta)


def _hardshrink(input: Tensor, lambd: Size = 0.5) -> Tensor:
    return torch.where(input.abs() <= lambd, 0.0, input)


def _softshrink(input: Tensor, lambd: Size = 0.5) -> Tensor:
    return torch.where(input.abs() > lambd, input - torch.sign(input) * lambd, input * 0)


def _dropout(input: Tensor, p: Size = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return NotImplemented if training else input


# ── products ──


def _added(product: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A product, added to something, both times a factor; where that is 0 nothing of the first is left."""

    def sum_of(input: Tensor, one: Tensor, other: Tensor, *, beta: Size = 1, alpha: Size = 1) -> Any:
        scaled = product(one, other) * alpha
        return scaled if isinstance(beta, (int, float)) and beta == 0 else input * beta + scaled

    return sum_of


_SUMS = {
    "addmm": torch.matmul, "addmv": torch.matmul, "addr": torch.outer, "baddbmm": torch.matmul,
    "addbmm": lambda one, other: torch.matmul(one, other).sum(0),
}  # fmt: skip


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: Size = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    return F.scaled_dot_product_attention(
        query * scale, key, value, attn_mask, dropout_p, is_causal, scale=1.0, enable_gqa=enable_gqa
    )


def _batch_norm(
    input: Tensor, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: Size = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """What runs along moves by the momentum; with a cumulative average that is 1 over the number of calls."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    if running_mean is not None:
        var, mean = torch.var_mean(input, [0, *range(2, input.dim())])
        for running, batch in ((running_mean, mean), (running_var, var)):
            running.mul_(1 - momentum).add_(batch * momentum)
    return F.batch_norm(input, None, None, weight, bias, True, eps=eps)


def _float_power(input: Tensor, exponent: Size | Tensor) -> Any:
    if not isinstance(input, Tensor) or isinstance(exponent, Tensor):
        return NotImplemented
    return input.to(torch.complex128 if input.is_complex() else torch.float64) ** exponent


def _isclose(
    input: Tensor, other: Tensor, rtol: Size = 1e-5, atol: Size = 1e-8, equal_nan: bool = False
) -> Any:  # fmt: skip
    """As ATen/native/TensorCompare.cpp has it: of numbers that are not finite only equal ones are close."""
    if input.dtype is torch.bool:
        return NotImplemented
    is_equal, distance = input == other, (input - other).abs()
    if equal_nan:
        is_equal = is_equal | (input.isnan() & other.isnan())
    return is_equal | (distance.isfinite() & (distance <= atol + (other * rtol).abs()))


# ── losses and shares ──


def _huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: Size = 1.0, weight: Any = None) -> Any:
    far = (input - target).abs()
    losses = torch.where(far <= delta, 0.5 * far * far, delta * (far - 0.5 * delta))
    return NotImplemented if weight is not None else _reduced(losses, reduction)


def _smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    beta: Size = 1.0,
) -> Any:  # fmt: skip
    if size_average is not None or reduce is not None:
        return NotImplemented
    far = (input - target).abs()
    return _reduced(torch.where(far < beta, 0.5 * far * far / beta, far - 0.5 * beta), reduction)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return {"none": lambda: losses, "sum": losses.sum, "mean": losses.mean}[reduction]()


SCALARS: dict[Any, Callable[..., Any]] = {
    F.elu: _elu,
    F.celu: _celu,
    torch.celu: _celu,
    F.leaky_relu: _leaky_relu,
    F.hardtanh: _hardtanh,
    F.threshold: _threshold,
    torch.threshold: _threshold,
    F.softplus: _softplus,
    F.hardshrink: _hardshrink,
    F.softshrink: _softshrink,
    F.dropout: _dropout,
    F.scaled_dot_product_attention: _attention,
    F.batch_norm: _batch_norm,
    **dict.fromkeys((torch.float_power, torch.Tensor.float_power), _float_power),
    **dict.fromkeys((torch.isclose, torch.Tensor.isclose), _isclose),
    F.huber_loss: _huber_loss,
    F.smooth_l1_loss: _smooth_l1_loss,
    **{getattr(place, name): _added(product) for name, product in _SUMS.items() for place in (torch, torch.Tensor)},
}
