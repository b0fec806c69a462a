"""Bits of sizes: with the bits of a number that is known, by sums and remainders, which keep their expression.

n & 7            n % 8              n | 1       n + 1 - (n & 1)        n.bit_length()    ⌊log₂(2n + 1)⌋
(n + 7) & -8     n + 7 - (n + 7) % 8           n ^ 1       n + 1 - 2·(n & 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fxonnx.capture.tracer.python.functions import MATH


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of ones in a mask, each from a bit up to another one."""
    first = 0
    while mask >> first:
        while not mask >> first & 1:
            first += 1
        last = first
        while mask >> last & 1:
            last += 1
        yield first, last
        first = last


def _and(size: Any, mask: int) -> Any:
    """n & mask, of negative numbers as well: Python's are in two's complement, of any length."""
    if mask < 0:
        return size - _and(size, ~mask)
    return sum((size % 2**last - size % 2**first for first, last in _runs(mask)), 0)


def _by_known_bits(name: str, function: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """The method of this name, with bits that are known; torch's own, if there is one, with another size's."""
    original = getattr(torch.SymInt, name, lambda size, other: NotImplemented)

    def either(size: torch.SymInt, other: Any) -> Any:
        return function(size, int(other)) if isinstance(other, int) else original(size, other)

    return either


_FUNCTIONS: dict[str, Callable[[Any, int], Any]] = {
    **dict.fromkeys(("__and__", "__rand__"), _and),
    **dict.fromkeys(("__or__", "__ror__"), lambda size, mask: size + mask - _and(size, mask)),
    **dict.fromkeys(("__xor__", "__rxor__"), lambda size, mask: size + mask - 2 * _and(size, mask)),
}
BITS: dict[str, Callable[..., Any]] = {
    **{name: _by_known_bits(name, function) for name, function in _FUNCTIONS.items()},
    "__invert__": lambda size: -size - 1,
    # which no rounding decides: 2n + 1 is no power of 2, but for n = 0
    "bit_length": lambda size: math.floor(MATH["log2"](2 * abs(size) + 1)),
}
"""name of a method of whole sizes -> what they have for it, where torch asks for a plain number"""
