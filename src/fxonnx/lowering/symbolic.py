"""Python arithmetic on sizes that leaves the integers: what fx records of `1 / math.sqrt(x.shape[-1])`, as float64
scalars, and of comparisons, as bools."""

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


def _logarithm(base: int) -> SymbolicFunction:
    return lambda op, item: op.Log(_float(op, item)) / _float(op, math.log(base))


def rounded(op: Builder, rounding: Any, item: Any) -> Tensor:
    """A float rounded to a whole number, as an int64 scalar."""
    number = _float(op, item)
    name = _ROUNDINGS[rounding]
    return as_tensor(op, getattr(op, name)(number) if name else number, dtypes.INT64)


def _comparison(name: str) -> SymbolicFunction:
    def function(op: Builder, *items: Any) -> Tensor:
        tensors = [item if isinstance(item, Tensor) else as_tensor(op, item, _number_dtype(item)) for item in items]
        common = dtypes.result_type(*tensors)
        return getattr(op, name)(*(as_tensor(op, each, common) for each in tensors))

    return function


def _number_dtype(item: Any) -> dtypes.DType:
    """That of a plain number, or of a dim."""
    return dtypes.FLOAT64 if isinstance(item, float) else dtypes.INT64


def _differs(op: Builder, left: Any, right: Any) -> Tensor:
    return op.Not(SYMBOLIC_FUNCTIONS[operator.eq](op, left, right))


def _truths(name: str) -> SymbolicFunction:
    def function(op: Builder, *items: Any) -> Tensor:
        return getattr(op, name)(*(as_tensor(op, item, dtypes.BOOL) for item in items))

    return function


# a cast rounds to 0
_ROUNDINGS = {math.floor: "Floor", math.ceil: "Ceil", math.trunc: "", round: "Round"}
ROUNDINGS = frozenset(_ROUNDINGS)
"""fx targets of which `rounded` says the result"""

SYMBOLIC_FUNCTIONS: dict[Any, SymbolicFunction] = {
    torch.sym_float: _float,
    torch.sym_sqrt: _operator("Sqrt"),
    math.sqrt: _operator("Sqrt"),
    math.exp: _operator("Exp"),
    math.log: _operator("Log"),
    math.log2: _logarithm(2),
    math.log10: _logarithm(10),
    math.sin: _operator("Sin"),
    math.cos: _operator("Cos"),
    abs: _operator("Abs"),
    operator.neg: _operator("Neg"),
    operator.add: _operator("Add"),
    operator.sub: _operator("Sub"),
    operator.mul: _operator("Mul"),
    operator.truediv: _operator("Div"),
    operator.pow: _operator("Pow"),
    torch.sym_max: _operator("Max"),
    torch.sym_min: _operator("Min"),
    operator.eq: _comparison("Equal"),
    operator.ne: _differs,
    operator.lt: _comparison("Less"),
    operator.le: _comparison("LessOrEqual"),
    operator.gt: _comparison("Greater"),
    operator.ge: _comparison("GreaterOrEqual"),
    operator.and_: _truths("And"),
    operator.or_: _truths("Or"),
    torch.sym_not: _truths("Not"),
}
"""fx target -> what records it; only reached where the result is no integer: those are dims and need no node."""
