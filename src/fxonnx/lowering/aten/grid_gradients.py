"""The gradients of sampling at the places that a grid names.

A place reads some elements along each axis, each with a weight that hangs on how far it is: what is read is a sum of
products of weights. The gradient of an element is the sum over what read it; that of a place, what its weights' slopes
make of what they read.

Source: ATen/native/GridSampler.h and GridSampler.cpp, grid_sampler_{2,3}d_backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product as combinations

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, product
from fxonnx.lowering.aten.tensor.scatter import written
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full, number, reshape

_BILINEAR, _NEAREST, _CUBIC = 0, 1, 2  # interpolations, as torch numbers them
_ZEROS, _BORDER, _REFLECTION = 0, 1, 2  # what stands for elements outside
_CUBIC_COEFFICIENT = -0.75


@dataclass(frozen=True, slots=True)
class Tap:
    """One of the elements that places read along an axis: which one, whether there is one, with which weight, and how
    fast that grows with the place."""

    element: Tensor
    is_inside: Tensor
    weight: Tensor
    slope: Tensor


@lower("aten.grid_sampler_2d_backward", "aten.grid_sampler_3d_backward", ignore={"output_mask"})
def grid_sampler_backward(
    op: Builder, grad_output: Tensor, input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int,
    align_corners: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of the input and of the grid."""
    sizes, count = input.shape[2:], product(grid.shape[1:-1])
    axes = Axes(interpolation_mode, padding_mode, align_corners)
    along = [
        axes.taps(op, reshape(op, op.Gather(grid, len(sizes) - 1 - axis, axis=-1), (grid.shape[0], count)), size)
        for axis, size in enumerate(sizes)
    ]
    read = list(combinations(*along))
    places = [_flat_place(op, taps, sizes) for taps in read]
    weights = [reduce(op.Mul, [tap.weight for tap in taps]) for taps in read]
    inside = [reduce(op.And, [tap.is_inside for tap in taps]) for taps in read]
    given = op.Unsqueeze(reshape(op, grad_output, (*input.shape[:2], count)), [2])
    place, weight, is_inside = (_stacked(op, each) for each in (places, weights, inside))
    of_input = _of_elements(op, input, place, op.Where(is_inside, given * weight, number(op, 0, given)))
    values = _read(op, input, place)
    pulls = op.Where(is_inside, values * given, number(op, 0, given))
    pull = op.ReduceSum(pulls, [1], keepdims=0)
    of_axes = [_along(op, read, axis, pull) for axis in range(len(sizes))]
    of_grid = op.Concat(*(op.Unsqueeze(each, [2]) for each in reversed(of_axes)), axis=2)
    return of_input, reshape(op, of_grid, grid.shape)


def _flat_place(op: Builder, taps: Sequence[Tap], sizes: Sequence[Dim]) -> Tensor:
    """Where an element stands when all axes are one."""
    place = taps[0].element
    for tap, size in zip(taps[1:], sizes[1:], strict=True):
        place = place * op.size(size) + tap.element
    return place


def _stacked(op: Builder, each: Sequence[Tensor]) -> Tensor:
    """[batch, 1, taps, places] of as many [batch, places]."""
    return op.Concat(*(op.Unsqueeze(one, [1, 2]) for one in each), axis=2)


def _read(op: Builder, x: Tensor, place: Tensor) -> Tensor:
    """[batch, channels, taps, places]: the elements that all channels have at places."""
    whole, flat = _over_channels(op, x, place)
    return reshape(op, op.GatherElements(whole, flat, axis=2), (*x.shape[:2], *place.shape[2:]))


def _of_elements(op: Builder, x: Tensor, place: Tensor, given: Tensor) -> Tensor:
    """What the elements of `x` are given at places, added up."""
    _, flat = _over_channels(op, x, place)
    nothing = full(op, (*x.shape[:2], product(x.shape[2:])), 0, dtype_of(given))
    return reshape(op, written(op, nothing, flat, reshape(op, given, flat.shape), 2, "add"), x.shape)


def _over_channels(op: Builder, x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """[batch, channels, elements], and as many places for all channels."""
    batch, channels, *sizes = x.shape
    flat = reshape(op, place, (batch, 1, product(place.shape[2:])))
    return reshape(op, x, (batch, channels, product(sizes))), expand(op, flat, (batch, channels, flat.shape[2]))


def _along(op: Builder, read: Sequence[Sequence[Tap]], axis: int, pull: Tensor) -> Tensor:
    """[batch, places]: the gradient of the places along one axis, of what each tap pulls."""
    slopes = [
        reduce(op.Mul, [tap.slope if place == axis else tap.weight for place, tap in enumerate(taps)]) for taps in read
    ]
    slope = op.Concat(*(op.Unsqueeze(one, [1]) for one in slopes), axis=1)
    return op.ReduceSum(pull * slope, [1], keepdims=0)


@dataclass(frozen=True, slots=True)
class Axes:
    """How a coordinate in [-1, 1] becomes elements of an axis."""

    interpolation: int
    padding: int
    align_corners: bool

    def taps(self, op: Builder, coordinate: Tensor, size: Dim) -> list[Tap]:
        """What is read along an axis of `size`, at [batch, places]; slopes are those by the coordinate."""
        extent = cast(op, op.size(size), dtype_of(coordinate))
        place, speed = self._unnormalized(op, coordinate, extent)
        if self.interpolation == _CUBIC:
            return self._cubic(op, place, speed, size, extent)
        place, moves = self._padded(op, place, extent)
        if self.interpolation == _NEAREST:
            return [_tap(op, op.Round(place), place * 0.0 + 1.0, place * 0.0, size)]
        speed, first = moves * speed, op.Floor(place)
        part = place - first
        return [_tap(op, first, 1.0 - part, -speed, size), _tap(op, first + 1.0, part, speed, size)]

    def _unnormalized(self, op: Builder, coordinate: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
        """A place in elements, and how fast it moves."""
        if self.align_corners:
            speed = (extent - 1.0) * 0.5
            return (coordinate + 1.0) * speed, speed
        return ((coordinate + 1.0) * extent - 1.0) * 0.5, extent * 0.5

    def _padded(self, op: Builder, place: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
        """A place inside, and how it moves with what it was: 1, -1 where it is a mirror's, 0 at and beyond an edge."""
        moves = place * 0.0 + 1.0
        if self.padding == _ZEROS:
            return place, moves
        if self.padding == _REFLECTION:
            place, moves = self._reflected(op, place, extent)
        last, zero = extent - 1.0, number(op, 0, place)
        moves = op.Where(op.And(place > zero, place < last), moves, zero)
        return op.Min(op.Max(place, zero), last), moves

    def _reflected(self, op: Builder, place: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
        """A place between mirrors that stand at the centres of the outermost elements, or at their edges."""
        low, span = (0.0, extent - 1.0) if self.align_corners else (-0.5, extent)
        zero, one = number(op, 0, place), number(op, 1, place)
        behind = op.Abs(place - low)
        flips = op.Floor(behind / op.Max(span, one))
        rest = behind - flips * span
        is_even = op.Equal(op.Floor(flips * 0.5) * 2.0, flips)
        moves = op.Where(place < number(op, low, place), -one, one) * op.Where(is_even, one, -one)
        return op.Where(is_even, rest, span - rest) + low, op.Where(op.Equal(span, zero), zero, moves)

    def _cubic(self, op: Builder, place: Tensor, speed: Tensor, size: Dim, extent: Tensor) -> list[Tap]:
        """Four elements around the place, each padded by itself."""
        first = op.Floor(place)
        part = place - first
        found = []
        for step in (-1.0, 0.0, 1.0, 2.0):
            element, _ = self._padded(op, first + step, extent)
            weight, slope = _convolution(step, part)
            found.append(_tap(op, op.Round(element), weight, slope * speed, size))
        return found


def _convolution(step: float, part: Tensor) -> tuple[Tensor, Tensor]:
    """The weight of the element `step` behind the one below a place, and how fast it grows. Keys 1981."""
    a, sign = _CUBIC_COEFFICIENT, 1.0 if step < 0.5 else -1.0
    d = (part - step) * sign
    if step in (0.0, 1.0):
        return (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0, (d * (3.0 * (a + 2.0)) - 2.0 * (a + 3.0)) * d * sign
    return (((d - 5.0) * d + 8.0) * d - 4.0) * a, ((d * 3.0 - 10.0) * d + 8.0) * (a * sign)


def _tap(op: Builder, element: Tensor, weight: Tensor, slope: Tensor, size: Dim) -> Tap:
    last = op.size(size - 1)
    whole = cast(op, element, dtypes.INT64)
    inside = op.And(whole >= 0, whole <= last)
    return Tap(op.Max(op.Min(whole, last), 0), inside, weight, slope)
