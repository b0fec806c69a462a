"""Weights computed of other weights: scaled, added, multiplied.

All is lazy, and only the rows that are asked for are made. What is computed of a computed weight goes on in float64:
it is rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fxonnx.dtypes import DType
from fxonnx.ir.data import ArrayData, Data, View


def _computed(
    source: Data, how: tuple[Hashable, ...], dtype: DType, shape: Sequence[int], exact: Callable[[int, int], np.ndarray]
) -> View:
    """What `exact` makes of rows, rounded to a dtype."""

    def rows(start: int, stop: int) -> np.ndarray:
        return exact(start, stop).astype(dtype.numpy)

    return View(source, how, dtype, tuple(shape), rows, exact=exact)


def rounded(numbers: np.ndarray, dtype: DType) -> View:
    """Numbers of float64 in another dtype."""
    source = ArrayData(numbers.astype(np.float64, copy=False))
    return _computed(source, ("rounded", dtype), dtype, numbers.shape, lambda start, stop: source.content[start:stop])


def scaled(source: Data, factor: np.ndarray) -> View:
    """A weight times factors that broadcast along some of its axes."""
    wide = np.broadcast_to(factor.astype(np.float64), source.shape)

    def exact(start: int, stop: int) -> np.ndarray:
        product: np.ndarray = source.wide(start, stop) * wide[start:stop]
        return product

    return _computed(source, ("scaled", factor.shape, factor.tobytes()), source.dtype, source.shape, exact)


def added(one: Data, other: Data) -> View:
    """The sum of two weights of one shape."""

    def exact(start: int, stop: int) -> np.ndarray:
        total: np.ndarray = one.wide(start, stop) + other.wide(start, stop)
        return total

    return _computed(one, ("added", other.identity), one.dtype, one.shape, exact)


def multiplied(left: Data, right: Data, shape: Sequence[int]) -> View:
    """The product of two weights, outputs first: what a layer [outputs, between, …] makes of another [between, inputs,
    …], at most one of which has further axes that are not 1."""

    def exact(start: int, stop: int) -> np.ndarray:
        product = np.tensordot(left.wide(start, stop), right.wide(0, right.shape[0]), (1, 0))
        return np.moveaxis(product, len(left.shape) - 1, 1).reshape(-1, *shape[1:])

    return _computed(left, ("multiplied", right.identity), left.dtype, shape, exact)


def met_by(weight: Data, vector: np.ndarray, groups: int, bias: np.ndarray) -> View:
    """What a layer [outputs, inputs / groups, …] makes of the same vector at each of its taps, and a bias."""
    outputs, channels = weight.shape[0], weight.shape[1]

    def exact(start: int, stop: int) -> np.ndarray:
        rows = weight.wide(start, stop).reshape(stop - start, channels, -1).sum(2)
        of_group = vector.reshape(groups, channels)[np.arange(start, stop) * groups // outputs]
        met: np.ndarray = (rows * of_group).sum(1) + bias[start:stop]
        return met

    how = ("met by", vector.tobytes(), groups, bias.tobytes())
    return _computed(weight, how, weight.dtype, (outputs,), exact)


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """What each output of a convolution reads of its input, and times what: weight [outputs, inputs / groups, …] and
    the places of its taps on each spatial axis, counted from the output's own."""

    weight: Data
    groups: int
    taps: tuple[range, ...]

    def scaled(self, factor: np.ndarray) -> Kernel:
        """The kernel times a number, or one for each output channel."""
        return Kernel(scaled(self.weight, factor.reshape(-1, *[1] * (len(self.taps) + 1))), self.groups, self.taps)

    def covers(self, other: Kernel) -> bool:
        """Whether each output reads all that it reads by the other, of the same input: the sum costs nothing more."""
        taps = zip(self.taps, other.taps, strict=True)
        alike = other.weight.shape[0] == self.weight.shape[0] and other.groups % self.groups == 0
        return alike and all(set(theirs) <= set(ours) for ours, theirs in taps)

    def plus(self, other: Kernel) -> Kernel:
        """The sum with a kernel that this one covers."""
        ours, theirs = self.weight, other.weight
        outputs, channels, few = ours.shape[0], ours.shape[1], theirs.shape[1]
        places = [
            np.array([one.index(tap) for tap in two]) for one, two in zip(self.taps, other.taps, strict=True)
        ]

        def exact(start: int, stop: int) -> np.ndarray:
            total = ours.wide(start, stop).copy()
            output = np.arange(start, stop)
            first = output * other.groups // outputs * few - output * self.groups // outputs * channels
            inputs = first[:, None] + np.arange(few)
            open_axes = [place.reshape(*[1] * (axis + 2), -1, *[1] * (len(places) - axis - 1))
                         for axis, place in enumerate(places)]  # fmt: skip
            spatial = (1,) * len(places)
            row = (output - start).reshape(-1, 1, *spatial)
            total[(row, inputs.reshape(*inputs.shape, *spatial), *open_axes)] += theirs.wide(start, stop)
            return total

        how = ("summed", other.groups, *map(str, other.taps), self.groups, *map(str, self.taps), theirs.identity)
        return Kernel(_computed(ours, how, ours.dtype, ours.shape, exact), self.groups, self.taps)
