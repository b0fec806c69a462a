"""Type promotion as declared by a lowering and done by the importer before the body runs.

Source: torch's "Type promotion" semantics
    (https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import FLOAT16, FLOAT32, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Expr
from fxonnx.ir.tensor import Number


@dataclass(frozen=True, slots=True)
class Promotion:
    """Cast the named arguments to their common dtype; with `to_float`, integers and bools to the default float as
    well; `lifted`, tensors count as if they had dims. With `keeps_range`, a number beyond the range of float16, or a
    tensor of rank 0 and a wider dtype, is none of it: beside float16 all are cast to float32, as torch's kernels take
    such an operand (binary_kernel_reduced_floating_point_vec, aten/src/ATen/native/cpu/BinaryOpsKernel.cpp)."""

    arguments: tuple[str, ...] = ("self", "other", "input")
    to_float: bool = False
    lifted: bool = False
    keeps_range: bool = False

    def of(self, *arguments: str) -> Promotion:
        """The same promotion of other arguments."""
        return replace(self, arguments=arguments)

    def apply(self, op: Builder, bound: dict[str, Any], made: Any = None) -> bool:
        """Replace the named arguments of a bound call in place: tensors are cast, numbers and sizes become tensors.
        `made` is the dtype of the result: of whole tensors and floats it is torch's default dtype, which a graph does
        not know. Whether they are wider than that, so that the result is to be rounded to it."""
        default = made if isinstance(made, DType) and made.is_float else FLOAT32
        present = [name for name in self.arguments if bound.get(name) is not None]
        operands = [bound[name] for name in present]
        if self.lifted:
            operands = [item.dtype if isinstance(item, Tensor) else item for item in _flat(operands)]
        common = common_dtype(operands, default)
        if self.to_float:
            common = dtypes.to_float(common, default)
        is_wide = self.keeps_range and common is FLOAT16 and not all(map(_is_in_float16, operands))
        for name in present:
            bound[name] = as_tensor(op, bound[name], FLOAT32 if is_wide else common)
        return is_wide


def _is_in_float16(operand: Any) -> bool:
    """Whether an operand beside float16 is one of its range."""
    if isinstance(operand, (Expr, Number)):
        return False
    if isinstance(operand, Tensor):
        return bool(operand.shape) or operand.dtype not in _WIDER
    if isinstance(operand, bool) or not isinstance(operand, (int, float)):
        return True
    return _LEAST <= abs(operand) <= FLOAT16.highest or not operand or not math.isfinite(operand)


_LEAST = 2.0 ** (FLOAT16.quantum + FLOAT16.digits - 1)  # of its normal numbers
_WIDER = (FLOAT32, dtypes.FLOAT64, dtypes.INT32, dtypes.INT64)

SAME = Promotion()
FLOAT = Promotion(to_float=True)
PRODUCT = Promotion(keeps_range=True)  # sums take numbers as float16
QUOTIENT = Promotion(to_float=True, keeps_range=True)


def in_opmath(op: Builder, item: Any) -> Any:
    """An argument as torch's kernels compute with it: floats narrower than float32, and a dtype that is one, in
    float32."""
    if isinstance(item, (list, tuple)):
        return [in_opmath(op, element) for element in item]
    if isinstance(item, DType):
        return FLOAT32 if _is_narrow(item) else item
    return op.Cast(item, to=FLOAT32) if isinstance(item, Tensor) and _is_narrow(item.dtype) else item


def out_of_opmath(op: Builder, result: Any, wanted: Any) -> Any:
    """A result rounded to the dtype `wanted` where that is narrower than float32; of several, each to its own."""
    if isinstance(result, (list, tuple)):
        return [out_of_opmath(op, *pair) for pair in zip(result, wanted, strict=False)]
    is_wide = isinstance(result, Tensor) and result.dtype is FLOAT32
    return op.Cast(result, to=wanted) if is_wide and wanted is not None and _is_narrow(wanted) else result


def _is_narrow(dtype: DType) -> bool:
    return dtype in (FLOAT16, dtypes.BFLOAT16)


def common_dtype(operands: Sequence[Any], default: DType = FLOAT32) -> DType:
    """torch.result_type over tensors (0-dim ones count less), sizes and Python numbers."""
    return dtypes.result_type(*map(_operand, _flat(operands)), default=default)


def _operand(item: Any) -> Any:
    """What an operand counts as: a size or a number that is not known yet as one that is."""
    if isinstance(item, Expr):
        return 0
    if not isinstance(item, Number):
        return item
    return 0.0 if item.dtype.is_float else (item.dtype is not dtypes.BOOL and 0)


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
