"""One call of an operator as its numpy function sees it, and the table of these functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fxonnx.ir.graph import Node

Array: TypeAlias = np.ndarray
Computed: TypeAlias = "Array | np.generic | Sequence[Array] | None"


class CannotEvaluate(Exception):
    """There is neither a numpy function nor a reference implementation of the operator."""


@dataclass(frozen=True, slots=True)
class Operands:
    """A node and the arrays of its inputs, in operator set `opset`."""

    node: Node
    arrays: tuple[Array | None, ...]
    opset: int

    def __getitem__(self, index: int) -> Array:
        """The array of an input that must be given."""
        array = self.arrays[index]
        assert array is not None
        return array

    def has(self, index: int) -> bool:
        """Whether the input at `index` is given."""
        return index < len(self.arrays) and self.arrays[index] is not None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return self.node.attributes.get(name, default)

    def ints(self, index: int, name: str) -> tuple[int, ...] | None:
        """What is an input in newer opsets, the attribute `name` in older ones, as ints; None where not given."""
        if self.has(index):
            return tuple(self[index].reshape(-1).tolist())
        given: tuple[int, ...] | None = self.attribute(name)
        return given

    def axes(self, index: int, rank: int) -> tuple[int, ...] | None:
        """Like `ints` of "axes", counted from the front."""
        axes = self.ints(index, "axes")
        return None if axes is None else tuple(axis + rank if axis < 0 else axis for axis in axes)


Computation: TypeAlias = Callable[[Operands], Computed]
COMPUTE: dict[str, Computation] = {}


def computes(*operators: str) -> Callable[[Computation], Computation]:
    """Register a numpy function for operators of the default domain; it may return None to leave a case to ONNX."""

    def register(function: Computation) -> Computation:
        COMPUTE.update(dict.fromkeys(operators, function))
        return function

    return register
