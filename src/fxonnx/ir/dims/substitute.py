"""Dims with other dims, or with numbers, in the place of symbols."""

from __future__ import annotations

from collections.abc import Mapping

from fxonnx.ir.dims.algebra import Algebra, fold
from fxonnx.ir.dims.expression import FUNCTIONS, Dim, symbol
from fxonnx.ir.dims.terms import Call


class Substitution(Algebra[Dim]):
    """Symbols replaced by dims, and those that are not named left."""

    def __init__(self, replacements: Mapping[str, Dim]) -> None:
        super().__init__()
        self._replacements = replacements

    def constant(self, value: int) -> Dim:
        """Itself."""
        return value

    def symbol(self, name: str) -> Dim:
        """The dim that replaces it."""
        return self._replacements.get(name, symbol(name))

    def call(self, atom: Call, left: Dim, right: Dim) -> Dim:
        """In normal form again."""
        return FUNCTIONS[atom.function](left, right)


def substitute(dim: Dim, replacements: Mapping[str, Dim]) -> Dim:
    """The dim with symbols replaced by other dims, in normal form again."""
    if isinstance(dim, int) or dim.symbols.isdisjoint(replacements):
        return dim
    return fold(dim, Substitution(replacements))


def at_sizes(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """The dim with some symbols at a size; as it is where it divides by what is 0 there, and is no size."""
    try:
        return substitute(dim, sizes)
    except ZeroDivisionError:
        return dim


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The dim's size where every symbol has the given one; KeyError names a symbol without one."""
    if isinstance(dim, int):
        return dim
    result = fold(dim, Substitution({name: sizes[name] for name in dim.symbols}))
    assert isinstance(result, int)
    return result
