"""Short-time Fourier transforms: a convolution with the windowed matrix of the transform, and back a transposed one.

The operator STFT is used where that matrix would be large, and for float64, which convolutions lack.

Sources: Griffin & Lim 1984; torch.stft and torch.istft; ONNX operators STFT, Conv and ConvTranspose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr
from fxonnx.lowering.aten.complex.pairs import div, product
from fxonnx.lowering.aten.spectral.fft import MATRIX_BYTES, matrix, matrix_size, real_where_mirrored
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import COMPLEX, Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, in_batch, reshape

_SELF = SAME.of("self")
_PADDING = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True, slots=True)
class Framing:
    """What both directions share: samples in a frame and from one to the next, the window, the scaling."""

    samples: int
    hop: int
    window: Tensor | None
    normalized: bool

    def kernel(self, op: Builder, kind: str, dtype: DType, is_forward: bool) -> Tensor:
        """The matrix of `fft`, windowed on the signal's side: [points, parts, parts of the signal, samples]."""
        normalization = int(self.normalized) if is_forward else 2 - int(self.normalized)
        content = matrix(kind, self.samples, normalization, is_forward)
        order = (2, 3, 1, 0) if is_forward else (0, 1, 3, 2)
        weights = op.constant(np.ascontiguousarray(content.transpose(order)), dtype)
        if self.window is None or not self.is_complex:
            return weights if self.window is None else weights * self.window
        real, imaginary = op.Split(op.Transpose(self.window, perm=[1, 0]), num_outputs=2, axis=0)
        signs = [[1.0], [-1.0]] if is_forward else [[-1.0], [1.0]]
        return weights * real + op.Gather(weights, [1, 0], axis=2) * (imaginary * signs)

    @property
    def is_complex(self) -> bool:
        """Whether the window is of complex numbers, as pairs."""
        return self.window is not None and len(self.window.shape) == 2


def framing(
    op: Builder, n_fft: int, hop: int | None, length: int | None, window: Tensor | None, normalized: bool, like: Tensor
) -> Framing:
    """The window, pairs of a complex one, padded to the frame on both sides; one of ones only where it is shorter than
    the frame."""
    length = length or n_fft
    if window is None and length < n_fft:
        window = full(op, [length], 1, dtype_of(like))
    if window is not None:
        left = (n_fft - length) // 2
        window = cast(op, window, dtype_of(like))
        window = op.Pad(window, [left, n_fft - length - left], None, [0]) if length < n_fft else window
    return Framing(n_fft, hop or n_fft // 4, window, normalized)


@lower("aten.stft", ignore={"return_complex"}, given={"center": False, "of_reals": True})
@lower("aten.stft.center", ignore={"return_complex"}, given={"of_reals": True})
@lower("aten.stft", ignore={"return_complex"}, given={"center": False}, promote=_SELF, when=COMPLEX)
@lower("aten.stft.center", ignore={"return_complex"}, promote=_SELF, when=COMPLEX)
def stft(
    op: Builder, self: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, align_to_window: bool | None = None, *, of_reals: bool = False,
) -> Tensor:  # fmt: skip
    """The transform of each frame: [batch, points, frames], or without a batch, as pairs.

    Centred, of a signal that is padded so that a frame's middle lies on each step. Real frames, whose transform torch
    is asked for as pairs (`return_complex=False`), become pairs first.
    """
    signal = op.Unsqueeze(self, [-1]) if of_reals else self
    signal = _centered(op, signal, n_fft, pad_mode) if center else signal
    if align_to_window:
        raise Unsupported("align_to_window=True; cut the signal before")
    frames = framing(op, n_fft, hop_length, win_length, window, normalized, signal)
    if frames.is_complex and signal.shape[-1] == 1:
        signal = op.Pad(signal, [0, 1], None, [-1])
    is_real = signal.shape[-1] == 1
    half = is_real and onesided is not False
    kind = "r2c" if half else "r2c whole" if is_real else "c2c"
    is_large = matrix_size(kind, n_fft) * 4 > MATRIX_BYTES or dtype_of(signal) is dtypes.FLOAT64
    transformed = _by_operator if is_large and not frames.is_complex else _by_convolution
    return in_batch(op, signal, 3, lambda x: transformed(op, x, frames, kind))


def _centered(op: Builder, x: Tensor, n_fft: int, mode: str) -> Tensor:
    return op.Pad(x, [n_fft // 2] * 2, None, [-2], mode=_PADDING[mode])


def _by_convolution(op: Builder, signal: Tensor, frames: Framing, kind: str) -> Tensor:
    kernel = frames.kernel(op, kind, dtype_of(signal), is_forward=True)
    points, parts, parts_in, samples = kernel.shape
    kernel = reshape(op, kernel, (points * parts, parts_in, samples))
    found = op.Conv(op.Transpose(signal, perm=[0, 2, 1]), kernel, strides=[frames.hop])
    batch, _, count = found.shape
    return op.Transpose(reshape(op, found, (batch, points, parts, count)), perm=[0, 1, 3, 2])


def _by_operator(op: Builder, signal: Tensor, frames: Framing, kind: str) -> Tensor:
    """By the operator STFT; in float64 where the length is no power of two (see `fft`)."""
    is_exact = dtype_of(signal) is dtypes.FLOAT64 or not frames.samples & (frames.samples - 1)
    wide = dtype_of(signal) if is_exact else dtypes.FLOAT64
    window = None if frames.window is None else cast(op, frames.window, wide)
    found = op.STFT(cast(op, signal, wide), frames.hop, window, frames.samples, onesided=int(kind == "r2c"))
    found = found if kind == "c2c" else real_where_mirrored(op, found, 2, frames.samples)
    found = cast(op, found, dtype_of(signal))
    found = found * frames.samples**-0.5 if frames.normalized else found
    return op.Transpose(found, perm=[0, 2, 1, 3])


@lower("aten.istft", when=COMPLEX)
def istft(
    op: Builder, self: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: Dim | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """Frames transformed back, windowed, added where they overlap, divided by the sum of the squared windows.

    A complex signal has a spectrum with both sides, a real one may have (`return_complex`).
    """
    half = onesided if onesided is not None else self.shape[-3] != n_fft
    frames = framing(op, n_fft, hop_length, win_length, window, normalized, self)

    def transformed(spectrum: Tensor) -> Tensor:
        if not half and not return_complex:  # of the spectrum of a real signal one half says it all
            spectrum = op.Slice(spectrum, [0], [n_fft // 2 + 1], [1])
        signal = _overlapped(op, spectrum, frames, "c2c" if return_complex else "c2r")
        signal = _divided(op, signal, _envelope(op, frames, spectrum.shape[-2], self))
        signal = _cut(op, signal, n_fft // 2 if center else 0, length)
        return op.Transpose(signal, perm=[0, 2, 1]) if return_complex else op.Squeeze(signal, [1])

    return in_batch(op, self, 4, transformed)


def _overlapped(op: Builder, spectrum: Tensor, frames: Framing, kind: str) -> Tensor:
    """[batch, points, frames, 2] to [batch, parts of the signal, samples]."""
    kernel = frames.kernel(op, kind, dtype_of(spectrum), is_forward=False)
    points, parts, parts_out, samples = kernel.shape
    kernel = reshape(op, kernel, (points * parts, parts_out, samples))
    batch, _, count, _ = spectrum.shape
    columns = reshape(op, op.Transpose(spectrum, perm=[0, 1, 3, 2]), (batch, points * parts, count))
    return op.ConvTranspose(columns, kernel, strides=[frames.hop])


def _envelope(op: Builder, frames: Framing, count: Dim, like: Tensor) -> Tensor:
    window = frames.window if frames.window is not None else full(op, [frames.samples], 1, dtype_of(like))
    if frames.is_complex:
        squares = op.Unsqueeze(op.Transpose(product(op, window, window), perm=[1, 0]), [0])
    else:
        squares = op.Unsqueeze(window * window, [0, 1])
    return op.ConvTranspose(full(op, [1, 1, count], 1, dtype_of(like)), squares, strides=[frames.hop])


def _divided(op: Builder, signal: Tensor, envelope: Tensor) -> Tensor:
    """[batch, parts, samples] by the sum of the squared windows, which a complex window leaves complex."""
    if envelope.shape[1] == 1:
        return signal / envelope
    quotient = div(op, *(op.Transpose(each, perm=[0, 2, 1]) for each in (signal, envelope)))
    return op.Transpose(quotient, perm=[0, 2, 1])


def _cut(op: Builder, signal: Tensor, start: int, length: Dim | None) -> Tensor:
    """`length` samples from `start` on, zeros where there are none; by default as much off the end as off the front."""
    if length is None:
        return op.Slice(signal, [start], [-start], [-1]) if start else signal
    found = op.Slice(signal, [start], [start + length], [-1])
    short = length - found.shape[-1]
    if isinstance(short, Expr) or short > 0:
        return op.Pad(found, [0, short], None, [-1])
    return found
