"""What a lowering's arguments are: a value, and the builder that records what is done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol, Self, TypeVar

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.dims import Shape
from fxonnx.ir.graph import Value
from fxonnx.ir.types import TensorType

Operand = TypeVar("Operand", bound="Operators")


class Recorder(Protocol):
    """What records a tensor's operators: the builder."""

    def call(self, op: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tensor, ...]:
        """Record `op` and return all its outputs."""


def _left(op: str) -> Callable[[Operand, Any], Operand]:
    return lambda self, other: self.record(op, self, other)


def _right(op: str) -> Callable[[Operand, Any], Operand]:
    return lambda self, other: self.record(op, other, self)


class Operators:
    """Python's operators, each recorded as the ONNX operator of that name."""

    __slots__ = ()

    def record(self, op: str, *operands: Any) -> Self:
        """The first output of a call of `op` without attributes."""
        raise NotImplementedError

    __add__, __radd__ = _left("Add"), _right("Add")
    __sub__, __rsub__ = _left("Sub"), _right("Sub")
    __mul__, __rmul__ = _left("Mul"), _right("Mul")
    __truediv__, __rtruediv__ = _left("Div"), _right("Div")
    __mod__, __pow__, __matmul__ = _left("Mod"), _left("Pow"), _left("MatMul")
    __and__, __or__ = _left("And"), _left("Or")
    __lt__, __le__ = _left("Less"), _left("LessOrEqual")
    __gt__, __ge__ = _left("Greater"), _left("GreaterOrEqual")

    def __neg__(self) -> Self:
        return self.record("Neg", self)


class Tensor(Operators):
    """A value being recorded: dtype, shape, and Python's operators, as onnxscript's eager tensors know them."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Recorder, value: Value) -> None:
        self.builder, self.value = builder, value

    def within(self, builder: Recorder) -> Self:
        """The same in a subgraph that a nested builder records: what is known of it is known there too."""
        same = copy(self)
        same.builder = builder
        return same

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.value.type.dtype

    @property
    def shape(self) -> Shape:
        """The shape, a dim per axis."""
        return self.value.type.shape

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.value.type.shape)

    @property
    def type(self) -> TensorType:
        """dtype and shape."""
        return self.value.type

    def __repr__(self) -> str:
        return repr(self.value)

    def record(self, op: str, *operands: Any) -> Tensor:
        """The first output of `op`, recorded where this value is."""
        return self.builder.call(op, operands, {})[0]

    def __invert__(self) -> Tensor:
        return self.record("Not" if self.dtype is dtypes.BOOL else "BitwiseNot", self)


class Number(Tensor):
    """A Python number that is known when the model runs: a float made of sizes, or what is read from a tensor.

    It has rank 0 where it is made, and takes the dtype of the tensor beside it, as numbers do that are known before.
    """

    __slots__ = ()
