"""The type of a value: an element type and a shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fxonnx.dtypes import DType, dtype
from fxonnx.ir.dims import Dim, Expr, Shape, parse_shape, product, symbols_of


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor of `dtype` whose `shape` has a dim per axis, each an int or a symbolic expression; `()` is a scalar.

    Source: ONNX IR spec, "Tensor Definition" and "Static tensor shapes".
    """

    dtype: DType
    shape: Shape

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements; an expression where a dim is symbolic."""
        return product(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dim is an int."""
        return not any(isinstance(dim, Expr) for dim in self.shape)

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the sizes that the shape reads."""
        return symbols_of(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape)).replace(' ', '')}]"


def compatible(left: TensorType, right: TensorType) -> bool:
    """Whether one value can have both types: symbols may stand for anything, ints only for themselves."""
    if left.dtype is not right.dtype or left.rank != right.rank:
        return False
    pairs = zip(left.shape, right.shape, strict=True)
    return all(a == b or isinstance(a, Expr) or isinstance(b, Expr) for a, b in pairs)


@lru_cache(maxsize=4096)
def parse_type(text: str) -> TensorType:
    """The type that `str` printed: `f32[n,2*m+1]`. Raises ValueError or TypeError where the text is no type."""
    name, bracket, dims = text.partition("[")
    if not (bracket and dims.endswith("]")):
        raise ValueError(f"not a type: {text!r}")
    return TensorType(dtype(name), parse_shape(dims[:-1]))
