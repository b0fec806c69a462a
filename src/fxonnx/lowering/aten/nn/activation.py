"""Activations: elementwise functions that networks put between layers, softmax, and dropout when it does nothing."""

from __future__ import annotations

import math

import numpy as np

from fxonnx.dtypes import FLOAT32, FLOAT64, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import content
from fxonnx.lowering.aten.math.arithmetic import clamp
from fxonnx.lowering.promote import FLOAT, SAME, as_tensor
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import as_vector, axis_of, cast, dtype_of, like_self, number, reshape

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

# ── smooth ──


@lower("aten.gelu", promote=FLOAT)
def gelu(op: Builder, self: Tensor, *, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, exact or tanh-approximated. Hendrycks & Gimpel 2016."""
    return op.Gelu(self, approximate=approximate)


@lower("aten.sigmoid", promote=FLOAT)
def sigmoid(op: Builder, self: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return op.Sigmoid(self)


@lower("aten.log_sigmoid", promote=FLOAT, opmath=True)
def log_sigmoid(op: Builder, self: Tensor) -> Tensor:
    """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|)), which does not overflow."""
    return op.Min(self, number(op, 0, self)) - op.Log(op.Exp(-op.Abs(self)) + 1.0)


@lower("aten.silu", promote=FLOAT, opmath=True)
def silu(op: Builder, self: Tensor) -> Tensor:
    """x·sigmoid(x), also called swish. Elfwing et al. 2017. Runtimes fuse the pair; few have a Swish kernel."""
    return self * op.Sigmoid(self)


@lower("aten.mish", promote=FLOAT, opmath=True)
def mish(op: Builder, self: Tensor) -> Tensor:
    """x·tanh(softplus(x)). Misra 2019.

    With e = exp(x), tanh(log(1 + e)) = n / (n + 2) for n = e·(e + 2): one Exp where the definition takes three
    transcendental functions. From x = 20 on the quotient is 1 in float32 and in float64, so x is bounded before e² can
    overflow.
    """
    exponential = op.Exp(op.Min(self, number(op, 20, self)))
    numerator = exponential * (exponential + 2.0)
    return self * (numerator / (numerator + 2.0))


@lower("aten.softplus", promote=FLOAT, opmath=True)
def softplus(op: Builder, self: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(βx)) / β, the identity where βx is above the threshold.

    Written relu(βx) + log(1 + exp(-|βx|)), which never overflows. Above torch's default threshold, 20, log(1 + exp(-z))
    is below a float32 rounding of z, so the branch is only needed for lower thresholds and for doubles.
    """
    scaled = self if beta == 1 else self * float(beta)
    smooth = op.Relu(scaled) + op.Log(op.Exp(-op.Abs(scaled)) + 1.0)
    smooth = smooth if beta == 1 else smooth / float(beta)
    if threshold >= 15 and dtype_of(self).bits <= 32:
        return smooth
    return op.Where(scaled > float(threshold), self, smooth)


@lower("aten.elu", promote=FLOAT.of("self"), opmath=True)
def elu(op: Builder, self: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """scale·(x if x > 0 else α(exp(x·input_scale) - 1)). Clevert et al. 2015."""
    if input_scale == 1:
        result = op.Elu(self, alpha=float(alpha))
        return result if scale == 1 else result * float(scale)
    negative = op.Elu(op.Min(self, number(op, 0, self)) * float(input_scale), alpha=float(alpha))
    return (op.Relu(self) + negative) * float(scale)


@lower("aten.selu", promote=FLOAT)
def selu(op: Builder, self: Tensor) -> Tensor:
    """Scaled ELU with the constants that keep mean 0 and variance 1. Klambauer et al. 2017."""
    return op.Selu(self, alpha=SELU_ALPHA, gamma=SELU_SCALE)


@lower("aten.celu", promote=FLOAT.of("self"))
def celu(op: Builder, self: Tensor, alpha: float = 1.0) -> Tensor:
    """max(x, 0) + min(α(exp(x/α) - 1), 0). Barron 2017. The kernel has more NaN than 0·∞ where α is not finite."""
    if not math.isfinite(alpha):
        return op.Where(self < 0, math.nan, self)
    return op.Celu(self, alpha=float(alpha))


# ── piecewise linear ──


@lower("aten.relu", promote=SAME)
def relu(op: Builder, self: Tensor) -> Tensor:
    """max(x, 0)."""
    return op.Relu(self) if dtype_of(self).is_float else op.Max(self, number(op, 0, self))


@lower("aten.relu6", promote=SAME)
def relu6(op: Builder, self: Tensor) -> Tensor:
    """min(max(x, 0), 6). Howard et al. 2017."""
    return op.Clip(self, 0, 6)


@lower("aten.hardtanh")
def hardtanh(op: Builder, self: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x clamped to [min_val, max_val], in x's own dtype."""
    return clamp(op, self, *(as_tensor(op, bound, dtype_of(self)) for bound in (min_val, max_val)))


@lower("aten.leaky_relu")
def leaky_relu(op: Builder, self: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x if x > 0 else slope·x. Maas et al. 2013. The runtime's kernel has 0 of 0·∞."""
    if not math.isfinite(negative_slope):
        return op.Where(self > 0, self, self * float(negative_slope))
    return op.LeakyRelu(self, alpha=float(negative_slope))


@lower("aten.prelu", "aten._prelu_kernel", opmath=True)
def prelu(op: Builder, self: Tensor, weight: Tensor) -> Tensor:
    """max(x, 0) + w·min(x, 0), w one number or one per channel (axis 1). He et al. 2015.

    Two fused-friendly vector operators beat the runtime's PRelu loop threefold; unlike relu(x) + w·(x - relu(x)) it
    keeps infinities. Of a w that may not be finite, which would make NaN of x > 0, it is chosen.
    """
    is_finite = _is_finite(op, weight)
    if len(weight.shape) == 1 and len(self.shape) != 1:
        channels = weight.shape[0]
        trailing = max(len(self.shape) - 2, 0) if channels != 1 else 0
        weight = reshape(op, weight, [channels, *[1] * trailing] if len(self.shape) > 1 else [])
    if not is_finite:
        return op.Where(self > 0, self, weight * self)
    return op.Relu(self) + weight * op.Min(self, number(op, 0, self))


def _is_finite(op: Builder, weight: Tensor) -> bool:
    """Whether a weight is a constant without NaN and infinities; one that is not at hand is taken for finite."""
    if not isinstance(op, Builder):
        return True
    found = content(weight.value)
    return weight.value.is_constant if found is None else bool(np.isfinite(found).all())


@lower("aten.hardsigmoid", promote=FLOAT)
def hardsigmoid(op: Builder, self: Tensor) -> Tensor:
    """min(max(x/6 + 1/2, 0), 1)."""
    return op.HardSigmoid(self, alpha=1 / 6, beta=0.5)


@lower("aten.hardswish", promote=FLOAT, opmath=True)
def hardswish(op: Builder, self: Tensor) -> Tensor:
    """x·hardsigmoid(x). Howard et al. 2019. Runtimes have a kernel for the product, not for HardSwish."""
    return self * op.HardSigmoid(self, alpha=1 / 6, beta=0.5)


@lower("aten.softshrink", opmath=True)
def softshrink(op: Builder, self: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by λ, 0 within λ of it. ONNX's Shrink would turn NaN into 0."""
    return self - op.Clip(self, -float(lambd), float(lambd))


@lower("aten.hardshrink")
def hardshrink(op: Builder, self: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 where |x| ≤ λ."""
    return op.Where(op.Abs(self) <= float(lambd), 0.0, self)


@lower("aten.threshold", promote=None)
def threshold(op: Builder, self: Tensor, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else `value`, both in the dtype of x; NaN stays."""
    limit, value = (as_tensor(op, each, dtype_of(self)) for each in (threshold, value))
    return op.Where(self <= limit, value, self)


@lower("aten.glu", opmath=True)
def glu(op: Builder, self: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim`, gated by the sigmoid of the second. Dauphin et al. 2016."""
    left, right = op.Split(self, axis=axis_of(dim, len(self.shape)), num_outputs=2)
    return left * op.Sigmoid(right)


# ── softmax ──


@lower("aten.softmax.int", "aten._softmax", "aten.special_softmax", given={"operator": "Softmax"})
@lower("aten.log_softmax.int", "aten._log_softmax", "aten.special_log_softmax", given={"operator": "LogSoftmax"})
def softmax(
    op: Builder, self: Tensor, dim: int, dtype: DType | None = None, half_to_float: bool = False, *, operator: str
) -> Tensor:
    """exp(x) / Σ exp(x) along `dim`, or its logarithm, in `dtype` when it is given. A scalar counts as one element."""
    dtype = FLOAT32 if half_to_float else dtype
    x = self if dtype is None else cast(op, self, dtype)
    vector, axis = as_vector(op, x), axis_of(dim, len(x.shape))
    found = op.Softmax(vector, axis=axis) if operator == "Softmax" else log_softmax(op, vector, axis)
    return like_self(op, found, x)


def log_softmax(op: Builder, x: Tensor, axis: int) -> Tensor:
    """log(exp(x) / Σ exp(x)) along an axis. In float64 by its parts: ONNX Runtime's kernel has numbers where a row has
    NaN or ∞."""
    if dtype_of(x) is not FLOAT64:
        return op.LogSoftmax(x, axis=axis)
    below = x - op.ReduceMax(x, [axis])
    return below - op.Log(op.ReduceSum(op.Exp(below), [axis]))
