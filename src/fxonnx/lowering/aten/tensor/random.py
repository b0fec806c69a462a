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

_LEAST_DRAWN = 2.0**-126  # float32's least normal number

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

    Drawn in float32 or float64, the dtypes that runtimes generate. As in torch, a uniform number of a narrower dtype is
    a multiple of its step below 1: rounded to nearest, one in some hundreds would be 1 itself.
    """
    dtype = dtype or dtypes.FLOAT32
    wide = _generated(dtype)
    if size and not any(isinstance(dim, Expr) for dim in size):
        wide_drawn = getattr(op, operator)(shape=list(size), dtype=wide)
    else:
        wide_drawn = getattr(op, f"{operator}Like")(full(op, size, 0, wide))
    if dtype is not wide and operator == "RandomUniform":
        steps = float(1 << dtype.digits)
        wide_drawn = op.Floor(wide_drawn * steps) / steps
    return cast(op, wide_drawn, dtype)


def _generated(dtype: DType) -> DType:
    """The dtype in which numbers for another are drawn, and what is made of them is computed."""
    return dtype if dtype is dtypes.FLOAT64 else dtypes.FLOAT32


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
        event = left > 0.0
        return [_any(inner, event), left, count + cast(inner, event, dtypes.FLOAT64)]

    time = cast(op, self, dtypes.FLOAT64)
    _, count = record_loop(op, [time, full(op, self.shape, 0, dtypes.FLOAT64)], step, condition=op.constant(True))
    return cast(op, count, dtype_of(self))


@lower("aten.binomial")
def binomial(op: Builder, count: Tensor, prob: Tensor) -> Tensor:
    """How many of so many events of that probability happen: one is tried at each step, as many as the greatest
    count."""

    def step(inner: Builder, index: Tensor, going: Tensor, left: Tensor, found: Tensor) -> list[Tensor]:
        happens = inner.And(left >= 1.0, inner.RandomUniformLike(left) < chance)
        left = left - 1.0
        return [_any(inner, left >= 1.0), left, found + cast(inner, happens, dtypes.FLOAT64)]

    tries, chance = cast(op, count, dtypes.FLOAT64), cast(op, prob, dtypes.FLOAT64)
    none = op.Where(op.IsNaN(tries), tries, op.constant(0.0, dtypes.FLOAT64))
    _, found = record_loop(op, [tries, none], step, condition=_any(op, tries >= 1.0))
    return cast(op, found, dtype_of(count))


@lower("aten._standard_gamma")
def standard_gamma(op: Builder, self: Tensor) -> Tensor:
    """Gamma of a shape, its scale 1, by rejection: Marsaglia and Tsang 2000; a shape below 1 is that of one more, times
    a uniform number to the power of its inverse. The least number that is not 0 is the least that is drawn."""
    drawn = cast(op, _gamma(op, cast(op, self, dtypes.FLOAT64)), dtype_of(self))
    return op.Max(drawn, as_tensor(op, _LEAST_DRAWN, dtype_of(self)))


@lower("aten._sample_dirichlet")
def dirichlet(op: Builder, self: Tensor) -> Tensor:
    """Gammas of these shapes, divided by their sum along the last axis."""
    drawn = op.Max(_gamma(op, cast(op, self, dtypes.FLOAT64)), op.constant(_LEAST_DRAWN, dtypes.FLOAT64))
    return cast(op, drawn / op.ReduceSum(drawn, [-1], keepdims=1), dtype_of(self))


def _gamma(op: Builder, shape: Tensor) -> Tensor:
    """Gamma numbers in float64: each element is drawn again until one of its draws is accepted."""
    one = op.constant(1.0, dtypes.FLOAT64)
    is_small = shape < one
    centre = op.Where(is_small, shape + one, shape) - 1.0 / 3.0
    width = op.Reciprocal(op.Sqrt(9.0 * centre))

    def step(inner: Builder, index: Tensor, going: Tensor, found: Tensor, is_open: Tensor) -> list[Tensor]:
        normal = inner.RandomNormalLike(found)
        root = 1.0 + normal * width
        cube = root * root * root
        bound = 0.5 * normal * normal + (1.0 - cube + inner.Log(cube)) * centre  # NaN below 0: not accepted
        taken = inner.And(is_open, inner.Log(inner.RandomUniformLike(found)) < bound)
        is_open = inner.And(is_open, inner.Not(taken))
        return [_any(inner, is_open), inner.Where(taken, cube * centre, found), is_open]

    is_shape = shape >= op.constant(0.0, dtypes.FLOAT64)  # not NaN, of which none is drawn
    found, _ = record_loop(op, [shape, is_shape], step, condition=_any(op, is_shape))
    factor = op.Pow(1.0 - op.RandomUniformLike(shape), op.Reciprocal(shape))
    return found * op.Where(is_small, factor, one)


def _any(op: Builder, flags: Tensor) -> Tensor:
    """Whether one of them is true; not where there is none."""
    return op.ReduceSum(cast(op, flags, dtypes.FLOAT64), keepdims=0) > 0.0


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
    dtype = dtype_of(self)
    drawn = 1 - uniform_of(op, self.shape, _generated(dtype))
    return cast(op, -op.Log(drawn) / float(lambd), dtype)


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
    dtype = dtype_of(self)
    return cast(op, op.Exp(moved(op, _normal(op, self.shape, _generated(dtype)), mean, std)), dtype)
