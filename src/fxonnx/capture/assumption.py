"""What a graph takes for granted: comparisons of sizes that came out one way while it was captured."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fxonnx.ir.dims import Dim, evaluate, symbols_of
from fxonnx.location import Location

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Assumption:
    """A comparison of sizes that came out one way while tracing.

    The graph holds for calls where it comes out so again. One of numbers that no dim can say has a `text` of its own,
    and cannot be asked whether it holds.
    """

    left: Dim
    relation: str
    right: Dim
    location: Location
    text: str = ""

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the graph is right for these sizes, by name of the dim; not where something is divided by 0."""
        try:
            return RELATIONS[self.relation](evaluate(self.left, sizes), evaluate(self.right, sizes))
        except ZeroDivisionError:
            return False

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the dims that are compared."""
        return symbols_of((self.left, self.right))

    def __str__(self) -> str:
        return self.text or f"{self.left} {self.relation} {self.right}"
