"""The bits of numbers, which ONNX does not see before opset 26, said by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_scan
from fxonnx.ir.dims import product
from fxonnx.lowering.aten.math.arithmetic import is_negative
from fxonnx.lowering.aten.math.special import frexp
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axes_of, cast, dtype_of, full, reshape, transpose


@lower("aten.hash_tensor", ignore={"mode"})
def hash_tensor(op: Builder, self: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Tensor:
    """The exclusive or of all elements, or along `dim`, as 64 bits each: those of float64, or of int64."""
    axes = axes_of(dim, len(self.shape)) if self.shape else []  # a scalar has an axis to name, and none
    rest = [axis for axis in range(len(self.shape)) if axis not in axes]
    bits = _bits_of_double(op, self) if dtype_of(self).is_float else cast(op, self, dtypes.INT64)
    kept = tuple(self.shape[axis] for axis in rest)
    rows = reshape(op, transpose(op, bits, [*axes, *rest]), (product(self.shape[axis] for axis in axes), *kept))
    nothing = full(op, kept, 0, dtypes.INT64)
    rows = op.Concat(op.Unsqueeze(nothing, [0]), rows, axis=0)  # a Scan needs one
    (found,) = record_scan(op, [nothing], [rows], lambda inner, so_far, row: [inner.BitwiseXor(so_far, row)])
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(self.shape))
    return cast(op, reshape(op, found, shape) if keepdim else found, dtypes.UINT64)


def _bits_of_double(op: Builder, x: Tensor) -> Tensor:
    """The bits of x in float64, as int64: before opset 26 ONNX does not see them. Exponents of less than the least are
    that one's; every NaN is the quiet one."""
    x = cast(op, x, dtypes.FLOAT64)
    mantissa, exponent = frexp(op, op.Where(op.Or(op.IsInf(x), op.IsNaN(x)), 0.0, x))
    biased = op.Max(cast(op, exponent, dtypes.INT64) + 1022, 0)
    normal = cast(op, op.Abs(mantissa) * 2.0**53 - 2.0**52, dtypes.INT64) + biased * 2**52
    tiny = cast(op, op.Abs(x) * 2.0**537 * 2.0**537, dtypes.INT64)  # as many of the least number, 2⁻¹⁰⁷⁴
    bits = op.Where(op.Abs(x) < 2.0**-1022, tiny, normal)
    bits = op.Where(op.IsInf(x), 0x7FF0000000000000, op.Where(op.IsNaN(x), 0x7FF8000000000000, bits))
    return op.Where(is_negative(op, x), bits + (-(2**63)), bits)
