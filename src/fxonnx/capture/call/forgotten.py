"""Static sizes that may have been meant to be dims: as large in the example as a dim on the same axis of another
input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.errors import Error, Failures, FrozenDimension


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A static axis of an input, its size, and the dim that is as large there."""

    input: str
    axis: int
    size: int
    dim: str

    def __str__(self) -> str:
        return f"{self.input} axis {self.axis} is {self.size} like `{self.dim}`: did you mean it?"


def forgotten(
    names: Sequence[str], shapes: Sequence[Sequence[int]], dims: Mapping[Axis, str | None]
) -> list[Forgotten]:
    """Those of inputs with these names and shapes in the example, whose dynamic axes have these names."""
    sizes = {(axis, dim): shapes[leaf][axis] for (leaf, axis), dim in dims.items() if dim is not None}
    return [
        Forgotten(name, axis, size, dim)
        for leaf, name in enumerate(names)
        for axis, size in enumerate(shapes[leaf])
        for (place, dim), other in sizes.items()
        if (leaf, axis) not in dims and (place, other) == (axis, size)
    ]


def remind(error: Error, example: Example) -> None:
    """Let errors about dims that freeze say which static size may be why."""
    dims = {axis: request.name for axis, request in example.requests.items()}
    found = forgotten(example.names, [leaf.shape for leaf in example.leaves], dims)
    for each in error.errors if isinstance(error, Failures) else (error,):
        for one in found if isinstance(each, FrozenDimension) else ():
            each.cause += f"; {one}" if repr(one.dim) in each.what else ""
