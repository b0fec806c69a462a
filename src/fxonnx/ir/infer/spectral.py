"""Operators that go between signals and spectra."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.ir.infer.call import Call, CannotInfer, infers
from fxonnx.ir.types import TensorType


@infers("DFT")
def dft(call: Call) -> TensorType:
    """`dft_length` elements along the axis, of two parts; half of them, or one part, for real signals (`onesided`)."""
    axes, known = call.ints(2) if call.has(2) else (-2,), call.known(1)
    if axes is None:
        raise CannotInfer("the axis of DFT must be constant")
    dims = list(call.shape())
    axis = axes[0] % len(dims)
    is_onesided, is_inverse = bool(call.attribute("onesided", 0)), bool(call.attribute("inverse", 0))
    length: Dim = dims[axis] if not (is_onesided and is_inverse) else (dims[axis] - 1) * 2
    if call.has(1):
        length = call.new_dim() if known is None else known[0]
    dims[axis] = floor_divide(length, 2) + 1 if is_onesided and not is_inverse else length
    dims[-1] = 1 if is_onesided and is_inverse else 2
    return TensorType(call.dtype(), tuple(dims))


@infers("STFT")
def stft(call: Call) -> TensorType:
    """[batch, frames, bins, 2]."""
    batch, samples = call.shape()[:2]
    step, length = call.known(1), call.known(3) if call.has(3) else None
    size = length[0] if length is not None else call.shape(2)[0] if call.has(2) else None
    frames = call.new_dim() if step is None or size is None else floor_divide(samples - size, step[0]) + 1
    bins = call.new_dim() if size is None else floor_divide(size, 2) + 1 if call.attribute("onesided", 1) else size
    return TensorType(call.dtype(), (batch, frames, bins, 2))


@infers("HannWindow", "HammingWindow", "BlackmanWindow")
def window(call: Call) -> TensorType:
    """As many elements as asked for."""
    size = call.known(0)
    dtype = dtypes.dtype(call.attribute("output_datatype", 1))
    return TensorType(dtype, (call.new_dim() if size is None else size[0],))
