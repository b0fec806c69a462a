"""Sums, products and quotients of dims, each computed once.

torch asks for the same few sizes and strides again with every tensor it makes; normal forms cost more than a lookup.
"""

from __future__ import annotations

from functools import lru_cache

from fxonnx.capture.tracer.sizes.division import quotient, remainder
from fxonnx.ir.dims import Dim

_remembered = lru_cache(maxsize=1 << 14)


@_remembered
def add(left: Dim, right: Dim) -> Dim:
    """left + right"""
    return left + right


@_remembered
def subtract(left: Dim, right: Dim) -> Dim:
    """left - right"""
    return left - right


@_remembered
def multiply(left: Dim, right: Dim) -> Dim:
    """left * right"""
    return left * right


@_remembered
def divide(left: Dim, right: Dim) -> Dim:
    """left // right"""
    return quotient(left, right)


@_remembered
def rest(left: Dim, right: Dim) -> Dim:
    """left % right"""
    return remainder(left, right)
