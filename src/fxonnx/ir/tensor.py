"""What a lowering's arguments are: a value, and the builder that records what is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.dims import Shape
from fxonnx.ir.graph import Value
from fxonnx.ir.types import TensorType


class Recorder(Protocol):
    """What records a tensor's operators: the builder."""

    def call(self, op: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> tuple[Tensor, ...]:
        """Record `op` and return all its outputs."""


class Tensor:
    """A value being recorded: dtype, shape, and Python's operators, which record the ONNX operator of that name."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Recorder, value: Value) -> None:
        self.builder, self.value = builder, value

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

    def _record(self, op: str, *operands: Any) -> Tensor:
        return self.builder.call(op, operands, {})[0]

    def __add__(self, other: Any) -> Tensor:
        return self._record("Add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._record("Add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._record("Sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._record("Sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._record("Mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._record("Mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._record("Div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._record("Div", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return self._record("Mod", self, other)

    def __pow__(self, other: Any) -> Tensor:
        return self._record("Pow", self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return self._record("MatMul", self, other)

    def __neg__(self) -> Tensor:
        return self._record("Neg", self)

    def __invert__(self) -> Tensor:
        return self._record("Not" if self.dtype is dtypes.BOOL else "BitwiseNot", self)

    def __and__(self, other: Any) -> Tensor:
        return self._record("And", self, other)

    def __or__(self, other: Any) -> Tensor:
        return self._record("Or", self, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._record("Less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return self._record("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._record("Greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._record("GreaterOrEqual", self, other)
