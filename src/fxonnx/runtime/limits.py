"""For which sizes a compiled model holds: what the capture took for granted, checked at each new combination of
sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from fxonnx import errors
from fxonnx.ir.dims import linear
from fxonnx.ir.graph import Value

_REMEMBERED = 4096  # combinations of input sizes known to be good


@dataclass(frozen=True, slots=True)
class Range:
    """A named size and its bounds; `maximum` None: none."""

    name: str
    minimum: int
    maximum: int | None

    def admits(self, size: int) -> bool:
        """Whether the size is within the bounds."""
        return size >= self.minimum and (self.maximum is None or size <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return f"{self.name} >= {self.minimum}"
        return f"{self.minimum} <= {self.name} <= {self.maximum}" if self.minimum else f"{self.name} <= {self.maximum}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit that the sizes of a call are outside of: those that it is about, by name, what it wants, and where."""

    sizes: Mapping[str, int]
    wanted: str
    location: Any

    @property
    def names(self) -> Collection[str]:
        """The names of the dims that decide."""
        return self.sizes.keys()

    def error(self, reason: str) -> errors.CallMismatch:
        """The error for a call, and why there is no program for it."""
        return errors.CallMismatch(
            f"the model does not hold for {', '.join(f'{name} = {size}' for name, size in self.sizes.items())}",
            cause=f"it was captured for {self.wanted}, and for this size it cannot be: {reason}",
            cure="call it with sizes in that range, or compile it for these",
            location=self.location,
        )


class Source(NamedTuple):
    """Where a named size n is read: an axis of an input that is slope * n + offset."""

    input: int
    axis: int
    slope: int
    offset: int


@dataclass(slots=True)
class Limits:
    """Ranges of single sizes, and comparisons of sizes that came out one way while the model was captured.

    `sources` tells where each named size is read. `variant` is asked about sizes of 0 and 1: it knows the
    program of their own that they need, or None; it raises CallMismatch where there is none.
    `beyond` knows the program for sizes outside, by the names of those that decide, or says why there is none.
    """

    sources: Mapping[str, Source]
    ranges: tuple[Range, ...]
    assumptions: tuple[Any, ...]
    variant: Callable[[Mapping[str, int]], Any]
    beyond: Callable[[Mapping[str, int], Collection[str]], Any]
    seen: dict[tuple[torch.Size, ...], Any] = field(default_factory=dict)

    def check(self, tensors: Sequence[torch.Tensor]) -> Any:
        """The program of their own that the call's sizes need, or None. Raises CallMismatch where the model is captured
        for them in no way."""
        if not self.sources:
            return None
        shapes = tuple([tensor.shape for tensor in tensors])
        if shapes in self.seen:
            return self.seen[shapes]
        self._refuse_rest(shapes)
        sizes = self.sizes(shapes)
        variant = self._variant(sizes)
        broken = self._broken(sizes) if variant is None else None
        if broken is not None:
            variant = self.beyond(sizes, broken.names)
            if isinstance(variant, str):
                raise broken.error(variant)
        if len(self.seen) < _REMEMBERED:
            self.seen[shapes] = variant
        return variant

    def sizes(self, shapes: Sequence[torch.Size]) -> Mapping[str, int]:
        """The named sizes of a call, by the shapes of its inputs."""
        return {
            name: (shapes[index][axis] - offset) // slope
            for name, (index, axis, slope, offset) in self.sources.items()
            if axis < len(shapes[index])
        }

    def _refuse_rest(self, shapes: Sequence[torch.Size]) -> None:
        """Raise CallMismatch for a size that is no multiple of what it was declared to be one of."""
        for name, (index, axis, slope, offset) in self.sources.items():
            size = shapes[index][axis] if axis < len(shapes[index]) else offset
            if (size - offset) % slope:
                wanted = f"{slope}*{name}" + (f" + {offset}" if offset else "")
                raise errors.CallMismatch(
                    f"axis {axis} of input {index} is {size}",
                    cause=f"dynamic_shapes calls it {wanted}, for a whole number {name}",
                    cure=f"pad the input to such a size; or compile with a dim of its own there, {{{axis}: {name!r}}}",
                )

    def _variant(self, sizes: Mapping[str, int]) -> Any:
        return self.variant(sizes) if min(sizes.values(), default=2) < 2 else None

    def _broken(self, sizes: Mapping[str, int]) -> Broken | None:
        """The first limit that sizes are outside of."""
        for each in self.assumptions:  # first: they know the place
            if each.symbols <= sizes.keys() and not each.holds(sizes):
                return Broken({name: sizes[name] for name in sorted(each.symbols)}, str(each), each.location)
        for each in self.ranges:
            if each.name in sizes and not each.admits(sizes[each.name]):
                return Broken({each.name: sizes[each.name]}, str(each), None)
        return None

    def admit(self, sizes: Mapping[str, int]) -> bool:
        """Whether a call of these sizes, by name, is run by what was captured first, or has one of 0 or 1."""
        try:
            return self._variant(sizes) is not None or self._broken(sizes) is None
        except errors.CallMismatch:
            return False

    def __str__(self) -> str:
        return "; ".join(dict.fromkeys(map(str, (*self.ranges, *self.assumptions))))


def limits(
    inputs: Sequence[Value],
    symbols: Iterable[Any],
    assumptions: Iterable[Any],
    variant: Callable[[Mapping[str, int]], Any] = lambda sizes: None,
    beyond: Callable[[Mapping[str, int], Collection[str]], Any] = lambda sizes, names: "it was captured once",
) -> Limits:
    """The limits of a program: `symbols` have a name, a minimum and a maximum (several may share a name, all of them
    count)."""
    sources: dict[str, Source] = {}
    for index, value in enumerate(inputs):
        for axis, dim in enumerate(value.shape):
            name, slope, offset = linear(dim) or ("", 0, 0)
            if name and (name not in sources or sources[name][2:] != (1, 0)):
                sources[name] = Source(index, axis, slope, offset)
    ranges = [Range(info.name, info.minimum, info.maximum) for info in symbols]
    bounded = tuple(
        each
        for each in dict.fromkeys(ranges)
        if each.name in sources and (each.minimum > 0 or each.maximum is not None)
    )
    return Limits(sources, bounded, tuple(assumptions), variant, beyond)
