"""One operator call as inference sees it, and the table of inference functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fxonnx.dtypes import DType
from fxonnx.ir.dims import Dim, Expr, Shape, maximum
from fxonnx.ir.graph import Attributes, Value, constant_ints, known_dims
from fxonnx.ir.schema import OpFacts
from fxonnx.ir.types import TensorType

Inferred: TypeAlias = "TensorType | tuple[TensorType, ...]"


class CannotInfer(Exception):
    """The operator's inputs are known too little, or do not fit each other; the text says which."""


class Contradiction(CannotInfer):
    """The operator's inputs do not fit each other: no run could succeed."""


@dataclass(frozen=True, slots=True)
class Call:
    """An operator, its inputs and attributes before its outputs exist.

    `new_dim` makes a size that nobody knows before the model runs.
    """

    op: str
    facts: OpFacts | None
    inputs: tuple[Value | None, ...]
    attributes: Attributes
    outputs: int
    new_dim: Callable[[], Expr]

    def has(self, index: int) -> bool:
        """Whether the input at `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """The input at `index`, which must be given."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise CannotInfer(f"{self.op} needs its input {index}")
        return value

    def dtype(self, index: int = 0) -> DType:
        """The dtype of an input."""
        return self.value(index).dtype

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input."""
        return self.value(index).shape

    def rank(self, index: int = 0) -> int:
        """The rank of an input."""
        return len(self.shape(index))

    def known(self, index: int) -> Shape | None:
        """The elements of an integer input, as far as they can be told before running."""
        return known_dims(self.inputs[index]) if index < len(self.inputs) else None

    def ints(self, index: int) -> tuple[int, ...] | None:
        """The elements of an integer input that is constant; None when it is absent or not constant."""
        return constant_ints(self.inputs[index]) if index < len(self.inputs) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value, the schema's default where it is not given."""
        if name in self.attributes:
            return self.attributes[name]
        fact = self.facts.attributes.get(name) if self.facts else None
        return default if fact is None or fact.default is None else fact.default

    def axis(self, default: int | None = None, rank: int | None = None) -> int:
        """The attribute `axis`, counted from the front."""
        rank = self.rank() if rank is None else rank
        axis: int = self.attribute("axis", default)
        return axis + rank if axis < 0 else axis


InferenceFunction: TypeAlias = Callable[[Call], Inferred]
INFERENCE: dict[str, InferenceFunction] = {}


def infers(*operators: str) -> Callable[[InferenceFunction], InferenceFunction]:
    """Register an inference function for operators of the default domain."""

    def register(function: InferenceFunction) -> InferenceFunction:
        INFERENCE.update(dict.fromkeys(operators, function))
        return function

    return register


def broadcast(*shapes: Shape) -> Shape:
    """The shape that numpy-style broadcasting gives (ONNX spec, "Broadcasting in ONNX").

    Two different expressions at one axis mean that they are equal or one is 1 when the model runs: their maximum says
    both.
    """
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_broadcast_dim(dims) for dims in zip(*padded, strict=True))


def _broadcast_dim(dims: tuple[Dim, ...]) -> Dim:
    result: Dim = 1
    for dim in dims:
        if dim == 1 or dim == result:
            continue
        if result == 1:
            result = dim
        elif isinstance(dim, int) and isinstance(result, int):
            raise Contradiction(f"sizes {result} and {dim} do not broadcast")
        elif isinstance(dim, int):
            result = dim
        elif isinstance(result, Expr):
            result = maximum(result, dim)
    return result
