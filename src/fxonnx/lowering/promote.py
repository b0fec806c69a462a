"""Type promotion as declared by a lowering and done by the importer before the body runs.

Source: torch's "Type promotion" semantics
    (https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Expr


@dataclass(frozen=True, slots=True)
class Promotion:
    """Cast the named arguments to their common dtype; with `to_float`, integers and bools to the default float as
    well."""

    arguments: tuple[str, ...] = ("self", "other", "input")
    to_float: bool = False

    def of(self, *arguments: str) -> Promotion:
        """The same promotion of other arguments."""
        return Promotion(arguments, self.to_float)

    def apply(self, op: Builder, bound: dict[str, Any]) -> None:
        """Replace the named arguments of a bound call in place: tensors are cast, numbers and sizes become tensors."""
        present = [name for name in self.arguments if bound.get(name) is not None]
        common = common_dtype([bound[name] for name in present])
        if self.to_float:
            common = dtypes.to_float(common)
        for name in present:
            bound[name] = as_tensor(op, bound[name], common)


SAME = Promotion()
FLOAT = Promotion(to_float=True)


def common_dtype(operands: Sequence[Any]) -> DType:
    """torch.result_type over tensors (0-dim ones count less), sizes and Python numbers."""
    return dtypes.result_type(*(0 if isinstance(item, Expr) else item for item in _flat(operands)))


def _flat(operands: Sequence[Any]) -> Iterator[Any]:
    for item in operands:
        if isinstance(item, (list, tuple)):
            yield from _flat(item)
        elif item is not None:
            yield item


def as_tensor(op: Builder, item: Any, dtype: DType) -> Any:
    """A tensor, a number or a size as a tensor of `dtype`. Lists are converted element by element."""
    if isinstance(item, (list, tuple)):
        return [as_tensor(op, element, dtype) for element in item]
    if isinstance(item, Expr):
        item = op.size(item)
    if not isinstance(item, Tensor):
        return op.constant(array_in(item, dtype))
    return item if item.dtype is dtype else op.Cast(item, to=dtype)


def array_in(number: Any, dtype: DType) -> np.ndarray:
    """A number as torch converts it: an integer out of range wraps around, a float out of range becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(number).astype(dtype.numpy)


def as_pair(op: Builder, item: Any, real: DType) -> Tensor:
    """A real operand beside complex ones: `real`, with a last axis of 1, which broadcasts against theirs of 2.

    A number with an imaginary part has both.
    """
    if isinstance(item, (bool, int, float, complex)):
        parts = [complex(item).real, complex(item).imag]
        return op.constant(parts if parts[1] else parts[:1], real)
    return op.Unsqueeze(as_tensor(op, item, real), [-1])
