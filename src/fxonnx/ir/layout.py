"""How the axes of a value are made of those of another one, of which it is a movement: views, transposes, and parts
that were picked.

An axis is a row of *factors*: a reshape divides them and draws them together, a transpose changes their order. Which
element is where follows from the factors alone, whatever the movements were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import TypeAlias

from fxonnx.ir.dims import Dim, Expr, Shape


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A part of an axis; two of the same size are two."""

    size: Dim


Axis: TypeAlias = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The axes of a source, and those of what was made of it.

    `picked` are factors of which one index is left. Of an axis of the source that has `cuts`, the part from one index
    to another is all that is left, and divided into factors.
    """

    source: tuple[Axis, ...]
    axes: tuple[Axis, ...]
    picked: Mapping[Factor, int] = field(default_factory=dict)
    cuts: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @staticmethod
    def of(shape: Shape) -> Layout:
        """A value as it is: an axis a factor."""
        axes = tuple((Factor(dim),) for dim in shape)
        return Layout(axes, axes)

    @property
    def shape(self) -> Shape:
        """The sizes of the axes."""
        return tuple(map(size_of, self.axes))

    def transposed(self, perm: Sequence[int]) -> Layout:
        """With the axes in another order."""
        return replace(self, axes=tuple(self.axes[axis] for axis in perm))

    def reshaped(self, shape: Shape) -> Layout | None:
        """With the elements in the same order in another shape; None where factors do not tell how."""
        waiting = [factor for axis in reversed(self.axes) for factor in reversed(axis)]
        parts: dict[Factor, Axis] = {}
        axes: list[Axis] = []
        for dim in shape:
            axis = _taken(waiting, dim, parts)
            if axis is None:
                return None
            axes.append(axis)
        if any(factor.size != 1 for factor in waiting) or (waiting and not axes):
            return None
        if waiting:
            axes[-1] = (*axes[-1], *reversed(waiting))
        source = tuple(tuple(_divided(axis, parts)) for axis in self.source)
        return replace(self, source=source, axes=tuple(tuple(_divided(axis, parts)) for axis in axes))

    def pick(self, axis: int, index: int, *, keep: bool) -> Layout | None:
        """With one index of an axis, which goes, or stays with size 1; None where that is not one factor."""
        if len(self.axes[axis]) != 1:
            return None
        stays: tuple[Axis, ...] = ((),) if keep else ()
        axes = (*self.axes[:axis], *stays, *self.axes[axis + 1 :])
        return replace(self, axes=axes, picked={**self.picked, self.axes[axis][0]: index})

    def cut(self, axis: int, begin: int, end: int) -> Layout | None:
        """With a part of an axis; None where that is not a whole axis of the source."""
        if self.axes[axis] not in self.source or len(self.axes[axis]) != 1:
            return None
        place, part = self.source.index(self.axes[axis]), (Factor(end - begin),)
        before, _ = self.cuts.get(place, (0, 0))
        source = (*self.source[:place], part, *self.source[place + 1 :])
        axes = (*self.axes[:axis], part, *self.axes[axis + 1 :])
        return Layout(source, axes, self.picked, {**self.cuts, place: (before + begin, before + end)})

    def simplified(self) -> Layout:
        """With the fewest factors: those drawn together that are neighbours both in an axis of the source and in one
        of these; and of size 1 none but axes of the source, which become such axes where there are any."""
        bare = self._without_ones()
        follows = {one: other for axis in bare.source for one, other in pairwise(axis)}
        runs = [run for axis in bare.axes for run in _runs(axis, follows)]
        stands = {run[0]: Factor(size_of(run)) if len(run) > 1 else run[0] for run in runs}
        inner = {factor for run in runs for factor in run[1:]}

        def joined(axis: Axis) -> Axis:
            return tuple(stands.get(factor, factor) for factor in axis if factor not in inner)

        source, axes = [*map(joined, bare.source)], [*map(joined, bare.axes)]
        return Layout(*_with_ones(source, axes), self.picked, self.cuts)

    def _without_ones(self) -> Layout:
        source, axes = (
            tuple(tuple(factor for factor in axis if factor.size != 1 or factor in self.picked) for axis in side)
            for side in (self.source, self.axes)
        )
        return replace(self, source=source, axes=axes)


def _with_ones(source: list[Axis], axes: list[Axis]) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """With the empty axes of a source in empty axes of what was made of it; those that are too many in its last."""
    wanted = [place for place, axis in enumerate(axes) if not axis]
    for place, axis in enumerate(source):
        if not axis:
            source[place] = one = (Factor(1),)
            if wanted:
                axes[wanted.pop(0)] = one
            elif axes:
                axes[-1] = (*one, *axes[-1])
    return tuple(source), tuple(axes)


def size_of(axis: Iterable[Factor]) -> Dim:
    """The size of an axis."""
    return prod((factor.size for factor in axis), start=1)


def quotient(dividend: Dim, divisor: Dim) -> Dim | None:
    """How often a size is contained in another, if it is so exactly, whatever the sizes are."""
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor if divisor and dividend % divisor == 0 else None
    if divisor == 0:
        return None
    result: Dim = dividend // divisor
    return result if result * divisor == dividend else None


def _taken(waiting: list[Factor], dim: Dim, parts: dict[Factor, Axis]) -> Axis | None:
    """The next factors, of that size together; the last of them is divided where it is too large."""
    axis: list[Factor] = []
    missing = dim
    while missing != 1 or (not axis and waiting and waiting[-1].size == 1):
        if not waiting:
            return None
        factor = waiting.pop()
        rest = quotient(missing, factor.size)
        if rest is None:
            behind = quotient(factor.size, missing)
            if behind is None:
                return None
            first, second = parts[factor] = (Factor(missing), Factor(behind))
            waiting.append(second)
            factor, rest = first, 1
        axis.append(factor)
        missing = rest
    return tuple(axis)


def _divided(axis: Iterable[Factor], parts: Mapping[Factor, Axis]) -> Iterator[Factor]:
    for factor in axis:
        if factor in parts:
            yield from _divided(parts[factor], parts)
        else:
            yield factor


def _runs(axis: Axis, follows: Mapping[Factor, Factor]) -> Iterator[list[Factor]]:
    """The factors of an axis, those that follow each other in the source together."""
    run: list[Factor] = []
    for factor in axis:
        if run and follows.get(run[-1]) is not factor:
            yield run
            run = []
        run.append(factor)
    if run:
        yield run


def reshape_target(source: Shape, dims: Shape, may_vanish: Callable[[Dim], bool]) -> list[int] | None:
    """`dims` as a constant for Reshape: ints, 0 for a dim copied from the same axis, at most one -1; None where that
    cannot say it: beside a dim that is 0 when the model runs, -1 may be any number."""
    if 0 in dims or 0 in source:
        return None
    copied = [
        0 if isinstance(dim, Expr) and axis < len(source) and source[axis] == dim else dim
        for axis, dim in enumerate(dims)
    ]
    unknown = [axis for axis, dim in enumerate(copied) if isinstance(dim, Expr)]
    kept = [dim for dim, place in zip(dims, copied, strict=True) if isinstance(dim, Expr) and place == 0]
    if len(unknown) > 1 or (unknown and any(map(may_vanish, kept))):
        return None
    return [-1 if isinstance(dim, Expr) else dim for dim in copied]
