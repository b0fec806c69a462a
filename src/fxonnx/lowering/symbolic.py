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


def _operator(name: str) -> SymbolicFunction:
    def function(op: Builder, *items: Any) -> Tensor:
        return getattr(op, name)(*(_float(op, item) for item in items))

    return function


SYMBOLIC_FUNCTIONS: dict[Any, SymbolicFunction] = {
    torch.sym_float: _float,
    torch.sym_sqrt: _operator("Sqrt"),
    math.sqrt: _operator("Sqrt"),
    operator.neg: _operator("Neg"),
    operator.add: _operator("Add"),
    operator.sub: _operator("Sub"),
    operator.mul: _operator("Mul"),
    operator.truediv: _operator("Div"),
    operator.pow: _operator("Pow"),
    torch.sym_max: _operator("Max"),
    torch.sym_min: _operator("Min"),
}
"""fx target -> what records it; only reached where the result is a float (integers are dims and need no node)."""
