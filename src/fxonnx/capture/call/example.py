"""The example that a model is captured on: its tensors, their names, and the dims that may vary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch

from fxonnx.capture.call.dynamic import Axis, Requests
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.call.memory import memory_order
from fxonnx.errors import InvalidDynamicShapes
from fxonnx.ir.dims import Dim, evaluate, linear, symbols_of


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What a model is captured on.

    `leaves` are the tensors among the arguments of `flat`, one by one; each has one of the `names`. `requests` are the
    dims that may vary.
    """

    flat: Flat
    names: Sequence[str]
    leaves: Sequence[torch.Tensor]
    requests: Requests

    def label(self, axis: Axis) -> str:
        """Where a dim is: "x, axis 0"."""
        return f"{self.names[axis[0]]}, axis {axis[1]}"

    def size(self, axis: Axis) -> int:
        """The size that a dim has in the example."""
        return self.leaves[axis[0]].shape[axis[1]]

    def asking(self, requests: Requests) -> Example:
        """The same with other requests."""
        return replace(self, requests=requests)

    def without(self, axes: Iterable[Axis]) -> Example:
        """The same less some dims: those are static."""
        gone = set(axes)
        return self.asking({axis: request for axis, request in self.requests.items() if axis not in gone})

    def with_sizes_of(self, other: Example, axes: Iterable[Axis]) -> Example:
        """The same with these axes at the sizes that they have in another example."""
        shapes = [list(leaf.shape) for leaf in self.leaves]
        for leaf, axis in axes:
            shapes[leaf][axis] = other.size((leaf, axis))
        return self._shaped(shapes)

    def doubled(self) -> Example:
        """The same at twice the sizes in all dims that may vary: those that are sums of others still are."""
        sizes = {name: max(2 * size, 2) for name, size in _named_sizes(self).items()}
        return self._shaped(_shapes(self, sizes, lambda size: max(2 * size, 2)))

    def apart(self) -> Example:
        """The same with multiples for named dims that are equal: 64 and 64 are 64 and 192."""
        sizes: dict[str, int] = {}
        for name, size in _named_sizes(self).items():
            sizes[name] = next(size * odd for odd in count(1, 2) if size * odd not in sizes.values())
        return self._shaped(_shapes(self, sizes, lambda size: size))

    def resized(self) -> Example:
        """The same at sizes of 2 or more in all dims that may vary: torch takes 0 and 1 for constants, asked or not.

        Raises InvalidDynamicShapes where two dims of one name differ.
        """
        return self._shaped(_resized_shapes(self))

    def _shaped(self, shapes: Sequence[list[int]]) -> Example:
        leaves = [
            leaf if list(leaf.shape) == shape else empty_like(leaf, shape, leaf.device)
            for leaf, shape in zip(self.leaves, shapes, strict=True)
        ]
        return replace(self, leaves=leaves)

    def small_optional(self) -> list[list[Axis]]:
        """Optional dims of size 0 or 1, which may be there to be broadcast and then cannot have another size: first
        those that are no batch, then all."""
        small = [axis for axis, request in self.requests.items() if not request.required and self.size(axis) < 2]
        inner = [axis for axis in small if axis[1] != 0]
        return [each for each in (inner if len(inner) < len(small) else [], small) if each]


def empty_like(leaf: torch.Tensor, shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """A tensor of another shape in its place, laid out alike (channels last); its values are never read, so they are
    never written."""
    return torch.empty_permuted(shape, memory_order(leaf), dtype=leaf.dtype, device=device)


def _shapes(example: Example, sizes: Mapping[str, int], otherwise: Callable[[int], int]) -> list[list[int]]:
    """The shapes of the example at other sizes of its names, and what a size that has none becomes."""
    shapes = [list(leaf.shape) for leaf in example.leaves]
    for (leaf, axis), request in example.requests.items():
        if request.dim is not None and symbols_of([request.dim]) <= sizes.keys():
            shapes[leaf][axis] = evaluate(request.dim, sizes)
        else:
            shapes[leaf][axis] = otherwise(shapes[leaf][axis])
    return shapes


def _resized_shapes(example: Example) -> list[list[int]]:
    fresh = _fresh_sizes(example.leaves)
    sizes = _named_sizes(example)
    for name, size in sizes.items():
        if size < 2:
            sizes[name] = next(fresh)
    groups: dict[Axis, int] = {}
    shapes = [list(leaf.shape) for leaf in example.leaves]
    for (index, axis), request in example.requests.items():
        old = example.size((index, axis))
        if request.dim is not None and symbols_of([request.dim]) <= sizes.keys():
            shapes[index][axis] = evaluate(request.dim, sizes)
        elif old < 2:  # unnamed dims that stand on the same axis and have the same size are taken for the same dim
            if (axis, old) not in groups:
                groups[axis, old] = next(fresh)
            shapes[index][axis] = groups[axis, old]
    return shapes


def _fresh_sizes(leaves: Iterable[torch.Tensor]) -> Iterator[int]:
    taken = {size for leaf in leaves for size in leaf.shape}
    return (size for size in count(2) if size not in taken)


def _named_sizes(example: Example) -> dict[str, int]:
    """The example's size of each of the user's names. Raises InvalidDynamicShapes where two dims of one name differ."""
    sizes: dict[str, tuple[int, Axis]] = {}
    for axis, request in sorted(example.requests.items(), key=lambda item: item[1].name is None):
        for name, size in _solve(request.dim, example.size(axis)):
            known, first = sizes.setdefault(name, (size, axis))
            if known != size:
                raise InvalidDynamicShapes(
                    f"dim {name!r} has two sizes in the example inputs",
                    cause=f"{known} ({example.label(first)}) and {size} ({example.label(axis)})",
                    cure="give the two dims different names, or example inputs that agree",
                )
    return {name: size for name, (size, _) in sizes.items()}


def _solve(dim: Dim | None, size: int) -> Iterator[tuple[str, int]]:
    """What one dim's size says about a name: nothing where it has several, or does not come out whole."""
    found = None if dim is None else linear(dim)
    if found is not None:
        name, slope, offset = found
        if (size - offset) % slope == 0:
            yield name, (size - offset) // slope
