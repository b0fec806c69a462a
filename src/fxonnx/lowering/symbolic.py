"""Python arithmetic on sizes that leaves the integers: what fx records of `1 / math.sqrt(x.shape[-1])`, as float64
scalars."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import as_tensor

SymbolicFunction = Callable[..., Any]


def _float(op: Builder, item: Any) -> Tensor:
    return as_tensor(op, item, dtypes.FLOAT64)


def _unary(name: str) -> SymbolicFunction:
    def function(op: Builder, item: Any) -> Tensor:
        return getattr(op, name)(_float(op, item))

    return function


def _binary(name: str) -> SymbolicFunction:
    def function(op: Builder, left: Any, right: Any) -> Tensor:
        return getattr(op, name)(_float(op, left), _float(op, right))

    return function


SYMBOLIC_FUNCTIONS: dict[Any, SymbolicFunction] = {
    torch.sym_float: _float,
    torch.sym_sqrt: _unary("Sqrt"),
    math.sqrt: _unary("Sqrt"),
    operator.neg: _unary("Neg"),
    operator.add: _binary("Add"),
    operator.sub: _binary("Sub"),
    operator.mul: _binary("Mul"),
    operator.truediv: _binary("Div"),
    operator.pow: _binary("Pow"),
    torch.sym_max: _binary("Max"),
    torch.sym_min: _binary("Min"),
}
"""fx target -> what records it; only reached where the result is a float (integers are dims and need no node)."""
