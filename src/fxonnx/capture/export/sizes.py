"""torch's symbolic sizes said as dims: sympy expressions become polynomials over the user's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add, mul

import sympy
import torch

from fxonnx.ir.dims import Dim, ceil_divide, floor_divide, maximum, minimum, modulo, symbol


class Sizes:
    """Converts sizes to dims, each distinct expression once.

    An expression that dims cannot say exactly (a float scale, a square root) becomes a symbol of its own, the same
    one wherever it stands.
    """

    def __init__(self, symbols: Mapping[str, Dim]) -> None:
        self._symbols = dict(symbols)  # sympy symbol name -> dim
        self._known: dict[sympy.Basic, Dim] = {}
        self.opaque: dict[str, str] = {}  # our symbol's name -> the expression it stands for

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dim for a size found in a shape or in an argument."""
        return size if isinstance(size, int) else self.expression(size.node.expr)

    def expression(self, expression: sympy.Basic) -> Dim:
        """The dim for a sympy expression."""
        known = self._known.get(expression)
        if known is None:
            known = self._known[expression] = self._convert(expression)
        return known

    def _convert(self, expression: sympy.Basic) -> Dim:
        try:
            return self._translate(expression)
        except Inexact:
            name = f"size{len(self.opaque)}"
            self.opaque[name] = str(expression)
            return symbol(name)

    def _translate(self, expression: sympy.Basic) -> Dim:
        if isinstance(expression, sympy.Integer):
            return int(expression)
        if isinstance(expression, sympy.Symbol):
            return self._symbols.get(expression.name, symbol(expression.name))
        name = type(expression).__name__
        if name in _ROUNDING:
            return self._rounded(_ROUNDING[name], expression.args[0])
        if name not in _FUNCTIONS:
            raise Inexact
        return _FUNCTIONS[name](*(self._translate(argument) for argument in expression.args))

    def _rounded(self, divide: Callable[[Dim, Dim], Dim], expression: sympy.Basic) -> Dim:
        """A quotient rounded to a whole number, as in `math.ceil(n / 2)`; what is whole already stays."""
        if type(expression).__name__ == "IntTrueDiv":
            return divide(*(self._translate(argument) for argument in expression.args))
        return self._translate(expression)


class Inexact(Exception):
    """The expression is no integer polynomial with floor, modulo, max and min."""


def _power(base: Dim, exponent: Dim) -> Dim:
    if not isinstance(exponent, int) or not 0 <= exponent <= 8:
        raise Inexact
    return reduce(mul, [base] * exponent, 1)


def _modular_indexing(base: Dim, divisor: Dim, modulus: Dim) -> Dim:
    return modulo(floor_divide(base, divisor), modulus)


# By class name, not by class: torch keeps these classes in torch.utils._sympy.functions, which promises nothing. Sizes
# are never negative, so
# truncation is floor and every Mod has Python's sign.
_FUNCTIONS: dict[str, Callable[..., Dim]] = {
    "Add": lambda *terms: reduce(add, terms),
    "Mul": lambda *factors: reduce(mul, factors),
    "Pow": _power,
    "PowByNatural": _power,
    "FloorDiv": floor_divide,
    "CleanDiv": floor_divide,
    "CeilDiv": ceil_divide,
    "Mod": modulo,
    "PythonMod": modulo,
    "ModularIndexing": _modular_indexing,
    "Max": lambda *values: reduce(maximum, values),
    "Min": lambda *values: reduce(minimum, values),
    "ToInt": lambda value: value,
    "Identity": lambda value: value,
}
_ROUNDING: dict[str, Callable[[Dim, Dim], Dim]] = {
    "FloorToInt": floor_divide,
    "TruncToInt": floor_divide,
    "floor": floor_divide,
    "CeilToInt": ceil_divide,
    "ceiling": ceil_divide,
}
