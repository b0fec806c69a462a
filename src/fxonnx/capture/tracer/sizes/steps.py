"""A float that grows with one size, as math.log(n) does: Python's own arithmetic says where it passes a number, so that
no runtime's logarithm is asked.

    int(2 * log(n))   0 at 1, 1 at 2, 2 at 3, 3 at 5, …   ──▶   min(1, n // 2) + min(1, n // 3) + min(1, n // 5) + …
    log(n) > 3        from 21 on                          ──▶   n >= 21
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from fxonnx.capture.tracer.sizes.node import CONSTANT
from fxonnx.ir.dims import Dim, floor_divide, minimum

if TYPE_CHECKING:
    from fxonnx.capture.tracer.sizes.float_node import FloatNode

_SIZES = range(1, 2**31)
_MOST = 64  # steps, each of which is a term
_OPERATORS: dict[str, Callable[..., float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "max": max, "min": min,
}  # fmt: skip
Functions: TypeAlias = "Mapping[str, Callable[[float], float]]"
_PASSED: dict[str, tuple[Callable[[float, float], bool], str]] = {
    ">": (operator.gt, ">="), ">=": (operator.ge, ">="), "<": (operator.ge, "<"), "<=": (operator.gt, "<"),
}  # fmt: skip
_GROWING = frozenset({"log", "log2", "log10", "sqrt"})


def steps(number: FloatNode, rounding: Callable[[float], int], functions: Functions) -> Dim | None:
    """The dim of a float, rounded, where it is a function of one size that never falls and has few steps; else None."""
    size = _grown_by(number, functions)
    if size is None:
        return None
    value = partial(_rounded, number, rounding, {**_OPERATORS, **functions})
    first, last = value(_SIZES[0]), value(_SIZES[-1])
    return None if last - first > _MOST else _staircase(size, range(first, last), value)


def passes(number: FloatNode, relation: str, limit: float, functions: Functions) -> tuple[str, Dim, int] | None:
    """`number > limit`, of a float as above, as a comparison of the size; else None."""
    size = _grown_by(number, functions)
    if size is None or relation not in _PASSED:
        return None
    is_passed, said = _PASSED[relation]
    every = {**_OPERATORS, **functions}
    return said, size, bisect_left(_SIZES, True, key=lambda at: is_passed(_value(number, every, at), limit)) + 1


def _grown_by(number: FloatNode, functions: Functions) -> Dim | None:
    """The one size that a float is a function of, and never falls where that grows; None where there is none."""
    sizes = {part.dim for part in _sizes(number)}
    if len(sizes) != 1 or not _grows(number):
        return None
    try:
        _value(number, {**_OPERATORS, **functions}, _SIZES[0])
    except (ValueError, ZeroDivisionError):  # a logarithm of 1 - 1
        return None
    return sizes.pop()


def _staircase(size: Dim, levels: range, value: Callable[[int], int]) -> Dim:
    found: Dim = levels.start
    for level in levels:
        place = _SIZES[bisect_left(_SIZES, level + 1, key=value)]
        found = found + minimum(1, floor_divide(size, place))
    return found


def _rounded(number: Any, rounding: Callable[[float], int], functions: dict[str, Callable[..., float]], at: int) -> int:
    return rounding(_value(number, functions, at))


def _value(number: Any, functions: dict[str, Callable[..., float]], at: int) -> float:
    """The float where the size is `at`."""
    name, *parts = number.tree
    if name == CONSTANT:
        return float(number.hint)
    if name == "float":
        return float(at)
    return functions[name](*(_value(each, functions, at) for each in parts))


def _sizes(number: Any) -> Iterator[Any]:
    """The sizes that a float is computed of, as the nodes of whole numbers."""
    name, *parts = number.tree
    if name == "float":
        yield parts[0]
    elif name != CONSTANT:
        for each in parts:
            yield from _sizes(each) if hasattr(each, "tree") else ()


def _grows(number: Any) -> bool:
    """Whether the float never falls where the size grows."""
    name, *parts = number.tree
    if name in ("float", CONSTANT):
        return True
    left, right = parts[0], parts[-1]
    match name:
        case "add" | "max" | "min":
            return _grows(left) and _grows(right)
        case "sub":
            return _grows(left) and right.is_constant()
        case "mul" if left.is_constant():
            return left.hint > 0 and _grows(right)
        case "mul" | "truediv":
            return right.is_constant() and right.hint > 0 and _grows(left)
    return name in _GROWING and _grows(left)
