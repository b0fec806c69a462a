"""Interpolation as a product with a matrix of weights along each axis, where ONNX's Resize means something else, has no
kernel, or steps by a factor that float32 does not hold.

Sources: ATen/native/cpu/UpSampleKernel.cpp, `_compute_index_ranges_weights` and, for bytes,
`_compute_index_ranges_int16_weights`; antialiased as in PIL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fxonnx.dtypes import FLOAT32, FLOAT64, UINT8
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if
from fxonnx.lowering.vocabulary import cast, dtype_of, number, truncated

_CUBIC = -0.75  # the coefficient of Keys 1981 that torch takes
_CUBIC_ANTIALIASED = -0.5  # and PIL's, when antialiased
_REACH = 2  # how many elements beyond an edge a kernel asks for: those at the edge stand for them
_BITS = np.arange(1, 23)  # of a weight's fraction, of which torch takes as many as 16 bits hold


@dataclass(frozen=True, slots=True)
class Interpolation:
    """The kernel that weighs elements by their distance, a triangle or a cubic; antialiased, as wide as the step."""

    is_cubic: bool
    antialias: bool
    align_corners: bool

    def resized(
        self, op: Builder, x: Tensor, axis: int, before: Tensor, after: Tensor, factor: float | None
    ) -> Tensor:
        """`x` with `after` elements along an axis, where it has `before`."""
        weights = op.Transpose(self._weights(op, before, after, factor), perm=[1, 0])
        return _along(op, x, axis, weights)

    def given_back(
        self, op: Builder, grad: Tensor, axis: int, before: Tensor, after: Tensor, factor: float | None
    ) -> Tensor:
        """The gradient of what has been resized: each element's from the `after` that it had a part in."""
        return _along(op, grad, axis, self._weights(op, before, after, factor))

    def _weights(self, op: Builder, before: Tensor, after: Tensor, factor: float | None) -> Tensor:
        """[after, before]: the part of each element in each new one."""
        step = self._step(op, before, after, factor)
        return (self._antialiased if self.antialias else self._between)(op, before, after, step)

    def _step(self, op: Builder, before: Tensor, after: Tensor, factor: float | None) -> Tensor:
        """How far the centres lie apart, in elements of the input; 0 where aligned corners leave only one. What keeps
        its size is copied where it is interpolated linearly, whatever the factor."""
        old, new = (op.Cast(size, to=FLOAT64) for size in (before, after))
        if not self.align_corners:
            step = op.constant(1 / factor, FLOAT64) if factor else old / new
            is_copied = factor and not self.is_cubic and not self.antialias
            return op.Where(op.Equal(old, new), 1.0, step) if is_copied else step
        return op.Where(new > 1.0, (old - 1.0) / op.Max(new - 1.0, 1.0), 0.0)

    def _between(self, op: Builder, before: Tensor, after: Tensor, step: Tensor) -> Tensor:
        """[after, before]: the part of each element in each new one; of those beyond an edge the one at the edge has
        all."""
        place, element = (_positions(op, size) for size in (after, before))
        center = place * step if self.align_corners else (place + 0.5) * step - 0.5
        center = op.Min(center, op.Cast(before, to=FLOAT64))  # a factor may step beyond the last element
        asked = _positions(op, before + 2 * _REACH) - float(_REACH)
        kernel = self._kernel(op, op.Abs(asked - op.Unsqueeze(center, [1])))
        given = op.Min(op.Max(asked, 0.0), op.Cast(before - 1, to=FLOAT64))
        return kernel @ op.Cast(op.Equal(op.Unsqueeze(given, [1]), element), to=FLOAT64)

    def _antialiased(self, op: Builder, before: Tensor, after: Tensor, step: Tensor) -> Tensor:
        """[after, before]: the part of each element in each new one, 0 beyond the kernel; the sum is 1 at edges too.

        Of what a factor steps beyond them torch reads memory of other tensors, times 0; here it is 0.
        """
        place, element = (_positions(op, size) for size in (after, before))
        wide = op.Max(step, 1.0)
        center = op.Unsqueeze((place + 0.5) * step, [1])
        support = wide * (2.0 if self.is_cubic else 1.0)
        first = op.Max(truncated(op, center - support + 0.5), 0.0)
        beyond = op.Min(truncated(op, center + support + 0.5), op.Cast(before, to=FLOAT64))
        kernel = self._kernel(op, op.Abs(element - center + 0.5) / wide)
        kernel = op.Where(op.And(element >= first, element < beyond), kernel, 0.0)
        total = op.ReduceSum(kernel, [1], keepdims=1)
        return kernel / op.Where(op.Equal(total, 0.0), 1.0, total)

    def _kernel(self, op: Builder, d: Tensor) -> Tensor:
        """The weight at a distance: a triangle, or the cubic of Keys 1981."""
        if not self.is_cubic:
            return op.Max(1.0 - d, 0.0)
        a = _CUBIC_ANTIALIASED if self.antialias else _CUBIC
        near = (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0
        far = (((d - 5.0) * d + 8.0) * d - 4.0) * a
        return op.Where(d < 1.0, near, op.Where(d < 2.0, far, 0.0))


def _along(op: Builder, x: Tensor, axis: int, weights: Tensor) -> Tensor:
    """The vectors along an axis times a matrix."""
    last = len(x.shape) - 1
    order = [index for index in range(last + 1) if index != axis] + [axis]
    multiplied = _in_bytes if dtype_of(x) is UINT8 else _multiplied
    moved = multiplied(op, op.Transpose(x, perm=order), weights)
    return op.Transpose(moved, perm=sorted(range(last + 1), key=order.__getitem__))


def _multiplied(op: Builder, x: Tensor, weights: Tensor) -> Tensor:
    """The product; of an element that is ±∞ or NaN only what it has a part in: 0 · ∞ would be NaN everywhere."""
    weights = cast(op, weights, dtype_of(x))
    (product,) = record_if(
        op,
        op.IsNaN(op.ReduceSum(x - x, keepdims=0)),
        lambda inner: [_multiplied_with_specials(inner, inner.use(x.value), inner.use(weights.value))],
        lambda inner: [inner.use(x.value) @ inner.use(weights.value)],
    )
    return product


def _multiplied_with_specials(op: Builder, x: Tensor, weights: Tensor) -> Tensor:
    """The product of what is finite, and ±∞ and NaN added where an element that is has a weight."""
    zero = number(op, 0, x)

    def is_met(*pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Where one of the elements meets one of the weights, for any pair of them."""
        counts = [cast(op, elements, FLOAT32) @ cast(op, parts, FLOAT32) for elements, parts in pairs]
        return sum(counts[1:], start=counts[0]) > 0.0

    up, down = (op.Equal(x, number(op, special, x)) for special in (np.inf, -np.inf))
    more, less = weights > zero, weights < zero
    met = {np.inf: is_met((up, more), (down, less)), -np.inf: is_met((up, less), (down, more))}
    met[np.nan] = is_met((op.IsNaN(x), op.Or(more, less)))
    total = op.Where(op.Or(op.Or(up, down), op.IsNaN(x)), zero, x) @ weights
    return sum((op.Where(place, number(op, special, x), zero) for special, place in met.items()), start=total)


def _in_bytes(op: Builder, x: Tensor, weights: Tensor) -> Tensor:
    """The same of bytes: with whole multiples of a power of two as weights, as fine as int16 holds, and rounded."""
    greatest = op.ReduceMax(weights, keepdims=0)
    held = op.Floor(greatest * 2.0**_BITS + 0.5) < 2.0**15
    unit = op.Pow(op.constant(2.0, FLOAT64), op.ReduceSum(op.Cast(held, to=FLOAT64), keepdims=0))
    whole = truncated(op, weights * unit + op.Sign(weights) * 0.5)
    total = op.Cast(x, to=FLOAT64) @ whole + unit * 0.5
    return op.Cast(op.Clip(op.Floor(total / unit), 0.0, 255.0), to=UINT8)


def _positions(op: Builder, count: Tensor) -> Tensor:
    return op.Cast(op.Range(0, count, 1), to=FLOAT64)
