"""What a graph takes for granted: comparisons of sizes that came out one way while it was captured."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fxonnx.ir.dims import Call, Dim, bound, evaluate, substitute, symbols_of
from fxonnx.location import Location

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MULTIPLES = (2, 3, 4, 5, 6, 8, 12, 60)
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Assumption:
    """A comparison of sizes that came out one way while tracing.

    The graph holds for calls where it comes out so again.
    """

    left: Dim
    relation: str
    right: Dim
    location: Location

    def holds(self, sizes: Mapping[str, int], *, undefined: bool = False) -> bool:
        """Whether the graph is right for these sizes, by name of the dim; `undefined` where one divides by 0."""
        try:
            return RELATIONS[self.relation](evaluate(self.left, sizes), evaluate(self.right, sizes))
        except ZeroDivisionError:
            return undefined

    def leaves_free(self, sizes: Mapping[str, int]) -> bool:
        """Whether it leaves every one of its dims some larger size, or where it clamps one beside."""
        return all(self._leaves_free(sizes, name) for name in self.symbols)

    def _leaves_free(self, sizes: Mapping[str, int], name: str) -> bool:
        others = [sizes[name] * multiple for multiple in _MULTIPLES]
        if any(map(_clamps, (self.left, self.right))):
            others += sizes[name] + 1, sizes[name] - 1
        return any(self.holds({**sizes, name: other}, undefined=True) for other in others)

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the dims that are compared."""
        return symbols_of((self.left, self.right))

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


def _clamps(dim: Dim) -> bool:
    """Whether the lesser or the greater of two dims is in a dim."""
    atoms = [atom for monomial, _ in getattr(dim, "terms", ()) for atom in monomial if isinstance(atom, Call)]
    return any(atom.function in ("min", "max") or _clamps(atom.left) or _clamps(atom.right) for atom in atoms)


@dataclass(frozen=True, slots=True)
class Guard(Assumption):
    """A comparison as it was met: true for the traced sizes, and not for all.

    `inside` tells whether an op asked (torch checks its arguments), not the model's Python; `required`, whether it
    refuses other sizes.
    """

    inside: bool = False
    required: bool = False


def settled(
    sizes: Mapping[str, int], fixed: Collection[str], assumptions: Iterable[Assumption]
) -> dict[str, int]:
    """Sizes for which all assumptions hold, as far as one by one of those that are not fixed can be moved to its
    bound."""
    found = dict(sizes)
    for each in assumptions:
        if each.symbols <= found.keys() and not each.holds(found, undefined=True):
            found |= next(_moved(each, found, fixed), {})
    return found


def _moved(each: Assumption, sizes: Mapping[str, int], fixed: Collection[str]) -> Iterator[dict[str, int]]:
    """The sizes of 2 and more at which an assumption just holds, of one dim each."""
    for name in sorted(each.symbols.difference(fixed)):
        others: dict[str, Dim] = {other: size for other, size in sizes.items() if other != name}
        found = bound(each.relation, substitute(each.left - each.right, others))
        sides = () if found is None else found[1:]
        yield from ({name: side} for side in sides if side is not None and side >= 2)
