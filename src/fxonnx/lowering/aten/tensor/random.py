"""Random numbers: the same distributions as torch's, not the same draws.

Every call draws anew, at every run. The operators take shapes as attributes; a symbolic shape is given by a tensor of
that shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.ir.dims import Dim, Expr
from fxonnx.lowering.promote import SAME, as_tensor
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full

_HALF = math.sqrt(0.5)  # the deviation of each part of a complex number of variance 1

# ── the two generators ──


def uniform_of(op: Builder, dims: Sequence[Dim], dtype: DType) -> Tensor:
    """Uniform in [0, 1)."""
    return drawn(op, dims, dtype, operator="RandomUniform")


def _normal(op: Builder, dims: Sequence[Dim], dtype: DType) -> Tensor:
    """Normal with mean 0 and deviation 1."""
    return drawn(op, dims, dtype, operator="RandomNormal")


@lower("aten.rand", given={"operator": "RandomUniform"}, computes="Uniform in [0, 1).")
@lower("aten.randn", given={"operator": "RandomNormal"}, computes="Normal with mean 0 and deviation 1.")
def drawn(op: Builder, size: Sequence[Dim], dtype: DType | None = None, *, operator: str) -> Tensor:
    """Uniform in [0, 1), or normal with mean 0 and deviation 1.

    Drawn in float32 or float64, the dtypes that runtimes generate.
    """
    dtype = dtype or dtypes.FLOAT32
    wide = dtype if dtype is dtypes.FLOAT64 else dtypes.FLOAT32
    if size and not any(isinstance(dim, Expr) for dim in size):
        return cast(op, getattr(op, operator)(shape=list(size), dtype=wide), dtype)
    return cast(op, getattr(op, f"{operator}Like")(full(op, size, 0, wide)), dtype)


@lower("aten.rand_like", given={"operator": "RandomUniform"})
@lower("aten.randn_like", given={"operator": "RandomNormal"})
def drawn_like(op: Builder, self: Tensor, dtype: DType | None = None, *, operator: str) -> Tensor:
    """Uniform in [0, 1), or normal with mean 0 and deviation 1, in the shape of another tensor."""
    return drawn(op, self.shape, dtype or dtype_of(self), operator=operator)


@lower("aten.uniform", rename={"from": "start"})
def uniform(op: Builder, self: Tensor, start: float = 0.0, to: float = 1.0) -> Tensor:
    """Uniform in [from, to), in the shape and dtype of another tensor."""
    return moved(op, uniform_of(op, self.shape, dtype_of(self)), start, to - start)


@lower("aten.random", rename={"from": "start"})
def random(op: Builder, self: Tensor, start: int | None = None, to: int | None = None) -> Tensor:
    """Integers uniform in [from, to); without bounds, all that the dtype represents from 0 on."""
    dtype = dtype_of(self)
    unbounded = 1 << dtype.digits if dtype.is_float or dtype is dtypes.BOOL else int(dtype.highest) + 1
    return cast(op, _integers(op, self.shape, start or 0, unbounded if to is None else to), dtype)


@lower("aten.normal_functional", "aten.normal.out")
def normal_like(op: Builder, self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with a mean and a deviation, in the shape and dtype of another tensor."""
    return moved(op, _normal(op, self.shape, dtype_of(self)), mean, std)


@lower("aten.normal.float_float")
def normal_of_size(op: Builder, mean: float, std: float, size: Sequence[Dim], dtype: DType | None = None) -> Tensor:
    """Normal with a mean and a deviation, of a shape."""
    return moved(op, _normal(op, size, dtype or dtypes.FLOAT32), mean, std)


@lower("aten.normal.Tensor_Tensor", "aten.normal.Tensor_float", "aten.normal.float_Tensor")
def normal(op: Builder, mean: Any, std: Any = 1.0) -> Tensor:
    """Normal, with a mean and a deviation for every element."""
    like = mean + std
    return _normal(op, like.shape, dtype_of(like)) * std + mean


@lower("aten.randn", "aten.normal.float_float", when=COMPLEX)
def complex_normal_of_size(
    op: Builder, size: Sequence[Dim], mean: float = 0.0, std: float = 1.0, dtype: DType | None = None
) -> Tensor:
    """Complex normal: both parts have the mean, and half of the variance."""
    pairs = _normal(op, [*size, 2], dtypes.to_real(dtype or dtypes.COMPLEX64))
    return moved(op, pairs, mean, std * _HALF)


@lower("aten.normal_functional", "aten.normal.out", promote=SAME.of("self"), when=COMPLEX)
def complex_normal_like(op: Builder, self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Complex normal, in the shape and dtype of another tensor."""
    return complex_normal_of_size(op, self.shape[:-1], mean, std, dtype_of(self))


@lower("aten.rand_like", given={"operator": "RandomUniform", "scale": 1.0}, promote=SAME.of("self"), when=COMPLEX)
@lower("aten.randn_like", given={"operator": "RandomNormal", "scale": _HALF}, promote=SAME.of("self"), when=COMPLEX)
def complex_drawn_like(op: Builder, self: Tensor, operator: str, scale: float, dtype: DType | None = None) -> Tensor:
    """Uniform in both parts, or complex normal, in the shape of another tensor; real numbers where their dtype is
    asked for."""
    dims, kind = list(self.shape[:-1]), dtype or dtype_of(self)
    if dtype is not None and not dtype.is_complex:
        return drawn(op, dims, dtype, operator=operator)
    return moved(op, drawn(op, [*dims, 2], dtypes.to_real(kind), operator=operator), 0, scale)


def moved(op: Builder, x: Tensor, start: float, scale: float) -> Tensor:
    """start + scale·x."""
    x = x if scale == 1 else x * float(scale)
    return x if start == 0 else x + float(start)


# ── integers ──


@lower("aten.randint")
def randint(op: Builder, high: Dim, size: Sequence[Dim], low: Dim = 0, dtype: DType | None = None) -> Tensor:
    """Integers uniform in [low, high)."""
    return cast(op, _integers(op, size, low, high), dtype or dtypes.INT64)


@lower("aten.randint_like")
def randint_like(op: Builder, self: Tensor, high: Any, low: Dim = 0, dtype: DType | None = None) -> Tensor:
    """Integers uniform in [low, high), in the shape of another tensor."""
    return cast(op, _integers(op, self.shape, low, high), dtype or dtype_of(self))


def _integers(op: Builder, dims: Sequence[Dim], low: Any, high: Any) -> Tensor:
    """From uniform doubles, whose 53 bits are enough for all ranges that torch's own generator serves without bias."""
    start, end = as_tensor(op, low, dtypes.INT64), as_tensor(op, high, dtypes.INT64)
    span = op.Cast(end - start, to=dtypes.FLOAT64)
    drawn = op.Cast(uniform_of(op, dims, dtypes.FLOAT64) * span, to=dtypes.INT64)
    return op.Min(drawn, end - start - 1) + start


@lower("aten.randperm")
def randperm(op: Builder, n: Dim, dtype: DType | None = None) -> Tensor:
    """0 … n - 1 in random order: the order that sorts as many random numbers."""
    drawn = uniform_of(op, [n], dtypes.FLOAT64)
    _, order = op.TopK(drawn, [n], axis=0)
    return cast(op, order, dtype or dtypes.INT64)


# ── events ──


@lower("aten.bernoulli.default")
def bernoulli(op: Builder, self: Tensor) -> Tensor:
    """1 with the probability that each element gives, else 0."""
    return events(op, self.shape, self, dtype_of(self))


@lower("aten.bernoulli.p", "aten.bernoulli.Tensor")
def bernoulli_by(op: Builder, self: Tensor, p: float | Tensor = 0.5) -> Tensor:
    """1 with probability p, a number or a tensor, else 0, in the shape and dtype of another tensor."""
    return expand(op, events(op, self.shape, p, dtype_of(self)), self.shape)


def events(op: Builder, dims: Sequence[Dim], probability: Any, dtype: DType) -> Tensor:
    """A uniform number in [0, 1) is below p with probability p."""
    drawn = uniform_of(op, dims, dtypes.FLOAT32)
    return cast(op, drawn < as_tensor(op, probability, dtypes.FLOAT32), dtype)


@lower("aten.poisson")
def poisson(op: Builder, self: Tensor) -> Tensor:
    """How many events of rate 1 fall into a time, that of each element: as long as some of it is left, the exponential
    time up to the next event is taken off (Devroye 1986, X.3), in as many steps as the greatest count."""

    def step(inner: Builder, index: Tensor, going: Tensor, left: Tensor, count: Tensor) -> list[Tensor]:
        left = left + inner.Log(1.0 - inner.RandomUniformLike(left))
        event = cast(inner, left > 0.0, dtypes.FLOAT64)
        return [inner.ReduceSum(event, keepdims=0) > 0.0, left, count + event]

    time = cast(op, self, dtypes.FLOAT64)
    _, count = record_loop(op, [time, full(op, self.shape, 0, dtypes.FLOAT64)], step, condition=op.constant(True))
    return cast(op, count, dtype_of(self))


@lower("aten.multinomial")
def multinomial(op: Builder, self: Tensor, num_samples: Dim, replacement: bool = False) -> Tensor:
    """Indices drawn with weights along the last axis.

    The greatest of log(w) + Gumbel noise is a draw with weights w, and the n greatest are n draws without replacement
    (Vieira 2014); with replacement each draw has noise of its own.
    """
    weights, rank = op.Log(self), len(self.shape)
    if not replacement:
        _, indices = op.TopK(weights + _gumbel(op, self.shape, dtype_of(self)), [num_samples], axis=-1)
        return indices
    dims = [*self.shape[:-1], num_samples, self.shape[-1]]
    noisy = op.Unsqueeze(weights, [rank - 1]) + _gumbel(op, dims, dtype_of(self))
    return op.ArgMax(noisy, axis=-1, keepdims=0)


def _gumbel(op: Builder, dims: Sequence[Dim], dtype: DType) -> Tensor:
    """-log(-log(u)) of a uniform u; a number too small to be drawn keeps u from 0."""
    drawn = op.Max(uniform_of(op, dims, dtypes.FLOAT32), 1e-38)
    return cast(op, -op.Log(-op.Log(drawn)), dtype)


@lower("aten.exponential")
def exponential(op: Builder, self: Tensor, lambd: float = 1.0) -> Tensor:
    """-log(1 - u) / λ of a uniform u, in the shape and dtype of another tensor."""
    drawn = 1 - uniform_of(op, self.shape, dtype_of(self))
    return -op.Log(drawn) / float(lambd)


@lower("aten.geometric")
def geometric(op: Builder, self: Tensor, p: float) -> Tensor:
    """⌈log(1 - u) / log(1 - p)⌉ of a uniform u: the first success among events of probability p."""
    drawn = op.Log(1 - uniform_of(op, self.shape, dtypes.FLOAT32))
    return cast(op, op.Max(op.Ceil(drawn / math.log1p(-p)), 1), dtype_of(self))


@lower("aten.cauchy")
def cauchy(op: Builder, self: Tensor, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    """median + σ·tan(π(u - ½)) of a uniform u."""
    angle = (uniform_of(op, self.shape, dtypes.FLOAT32) - 0.5) * math.pi
    return cast(op, moved(op, op.Tan(angle), median, sigma), dtype_of(self))


@lower("aten.log_normal")
def log_normal(op: Builder, self: Tensor, mean: float = 1.0, std: float = 2.0) -> Tensor:
    """exp of a normal number."""
    return op.Exp(moved(op, _normal(op, self.shape, dtype_of(self)), mean, std))
