"""Discrete Fourier transforms.

Everything in torch.fft comes down to three kinds, along one axis after another: complex to complex, real to half a
spectrum, and back. Spectra are pairs (`complex.pairs`). A length that is a power of two is an ONNX DFT. Others are a
product with the matrix of the transform while that is small: ONNX Runtime's DFT computes them in float32 with errors of
1e-4 and more (1000 points: 3e-4 of the largest value, the matrix 5e-7). The large ones are computed in float64.

Sources: Bluestein 1970; torch.fft; ONNX operator DFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.lowering.complex_shape import whole
from fxonnx.lowering.promote import FLOAT, SAME, Promotion
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, cast, dtype_of, reshape, transpose

MATRIX_BYTES = 1 << 22  # a transform's matrix is a constant of the model up to this size
_NONE, _ROOT, _SIZE = range(3)  # torch's normalization: not, by √n, by n


@lower("aten._fft_c2c", when=COMPLEX)
def c2c(op: Builder, self: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    """Complex to complex along each of `dim`; backward with exp(+i)."""
    for axis in axes_of(dim, len(self.shape) - 1) if dim else ():
        self = transform(op, self, axis, self.shape[axis], "c2c", normalization, forward)
    return self


@lower("aten._fft_r2c", when=COMPLEX)
def r2c(op: Builder, self: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    """Real to complex, along the last of `dim` first; of that axis the first half when `onesided`."""
    *others, last = axes_of(dim, len(self.shape))
    kind = "r2c" if onesided else "r2c whole"
    pairs = op.Unsqueeze(self, [-1])
    spectrum = transform(op, pairs, last, self.shape[last], kind, normalization, True)
    return c2c(op, spectrum, others, normalization, True)


@lower("aten._fft_c2r", when=COMPLEX)
def c2r(op: Builder, self: Tensor, dim: Sequence[int], normalization: int, last_dim_size: Dim) -> Tensor:
    """The real signal of `last_dim_size` elements along the last of `dim` whose spectrum's first half this is."""
    *others, last = axes_of(dim, len(self.shape) - 1)
    spectrum = c2c(op, self, others, normalization, False)
    return op.Squeeze(transform(op, spectrum, last, last_dim_size, "c2r", normalization, False), [-1])


# ── as torch.fft calls them ──


@dataclass(frozen=True, slots=True)
class Kind:
    """Between what, in which direction; the Hermitian ones go the other way than the matrix, by a conjugate."""

    sides: str
    forward: bool


KINDS = {
    "fft": Kind("c2c", forward=True),
    "ifft": Kind("c2c", forward=False),
    "rfft": Kind("r2c", forward=True),
    "irfft": Kind("c2r", forward=False),
    "hfft": Kind("c2r", forward=True),
    "ihfft": Kind("r2c", forward=False),
}
_NORMS = {None: 0, "backward": 0, "ortho": 1, "forward": 2}


def _register(name: str, kind: Kind, promote: Promotion, when: str | None) -> None:
    def pairs_of(op: Builder, x: Tensor) -> Tensor:
        return x if when == COMPLEX else op.Unsqueeze(x, [-1])

    @lower(f"aten.fft_{name}", promote=promote, when=when)
    def along_one(op: Builder, self: Tensor, n: Dim | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        """Along one axis, cut or padded with zeros to `n` points."""
        return _along(op, pairs_of(op, self), [n], [dim], norm, kind)

    @lower(f"aten.fft_{name}2", promote=promote, when=when, given={"usual": (-2, -1)})
    @lower(f"aten.fft_{name}n", promote=promote, when=when)
    def along_some(
        op: Builder, self: Tensor, s: Sequence[Dim] | None = None, dim: Sequence[int] | None = None,
        norm: str | None = None, usual: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        """Along some axes, each cut or padded with zeros to its size in `s`.

        By default along the last two, or of the op for any number as many as `s` has sizes, or all.
        """
        x = pairs_of(op, self)
        dims = dim if dim is not None else usual
        if dims is None:
            dims = range(-(len(x.shape) - 1 if s is None else len(s)), 0)
        return _along(op, x, s or [None] * len(dims), dims, norm, kind)


for _name, _kind in KINDS.items():
    _register(_name, _kind, SAME.of("self"), COMPLEX)
    if _kind.sides == "c2r":  # of a spectrum that is real, nothing is complex
        _register(_name, _kind, FLOAT.of("self"), None)


def _along(
    op: Builder, x: Tensor, sizes: Sequence[Dim | None], dims: Sequence[int], norm: str | None, kind: Kind
) -> Tensor:
    """All axes: the real side is the last one's, whose half of a spectrum is first or last in the row."""
    axes = [axis_of(dim, len(x.shape) - 1) for dim in dims]
    points = [x.shape[axis] if n is None or n == -1 else n for n, axis in zip(sizes, axes, strict=True)]
    normalization = _NORMS[norm] if kind.forward else 2 - _NORMS[norm]
    if kind.sides == "c2r" and (sizes[-1] is None or sizes[-1] == -1):
        points[-1] = (points[-1] - 1) * 2
    for axis, n in zip(axes, points, strict=True):
        x = _resized(op, x, axis, floor_divide(n, 2) + 1 if kind.sides == "c2r" and axis == axes[-1] else n)
    pairs = list(zip(axes, points, strict=True))
    if kind.sides == "r2c":
        x = transform(op, x, *pairs.pop(), "r2c", normalization, True)
        x = x if kind.forward else x * [1, -1]
    last = pairs.pop() if kind.sides == "c2r" else None
    for axis, n in pairs:
        x = transform(op, x, axis, n, "c2c" if x.shape[-1] == 2 else "r2c whole", normalization, kind.forward)
    if last is None:
        return whole(op, x)
    x = whole(op, x) * [1, -1] if kind.forward else whole(op, x)
    return op.Squeeze(transform(op, x, *last, "c2r", normalization, False), [-1])


def _resized(op: Builder, x: Tensor, axis: int, n: Dim) -> Tensor:
    """`n` points along the axis: the first ones, with zeros behind where there are fewer."""
    size = x.shape[axis]
    if size == n:
        return x
    if not (isinstance(n, int) and isinstance(size, int) and size < n):
        x = op.Slice(x, [0], [n], [axis])
    short = n - x.shape[axis]
    return x if short == 0 else op.Pad(x, [0, short], None, [axis])


# ── one axis ──


def transform(op: Builder, x: Tensor, axis: int, n: Dim, kind: str, normalization: int, forward: bool) -> Tensor:
    """One axis of `n` points transformed, n as on the side of the signal. Real signals have a last axis of 1."""
    if isinstance(n, int) and n & (n - 1) and matrix_size(kind, n) * dtype_of(x).bits // 8 <= MATRIX_BYTES:
        return _by_matrix(op, x, axis, kind, n, normalization, forward)
    is_exact = dtype_of(x) is dtypes.FLOAT64 or (isinstance(n, int) and not n & (n - 1))
    wide = x if is_exact else cast(op, x, dtypes.FLOAT64)
    spectrum = op.DFT(
        wide,
        n if kind == "c2r" else None,
        axis,
        inverse=int(not forward) or None,
        onesided=int(kind in ("r2c", "c2r")) or None,
    )
    spectrum = real_where_mirrored(op, spectrum, axis, n) if kind.startswith("r2c") else spectrum
    return cast(op, _scaled(op, spectrum, normalization, forward, n), dtype_of(x))


def real_where_mirrored(op: Builder, spectrum: Tensor, axis: int, n: Dim) -> Tensor:
    """The spectrum of `n` real numbers without imaginary parts at the points that are their own mirrors.

    These are frequency 0 and, of an even count, half the rate. torch has zeros there, ONNX Runtime's kernel what
    rounding left: the angle of a negative number would be π or -π by chance.
    """
    points = spectrum.shape[axis]
    is_own_mirror = op.Equal(op.Range(0, points, 1) * 2 % n, 0)
    column = reshape(op, is_own_mirror, (points, *[1] * (len(spectrum.shape) - axis - 1)))
    return op.Where(op.And(column, [False, True]), 0.0, spectrum)


def _scaled(op: Builder, x: Tensor, normalization: int, forward: bool, n: Dim) -> Tensor:
    """Scaled as torch wants it; ONNX scales the inverse by 1/n and the forward transform not at all."""
    if normalization == (_NONE if forward else _SIZE):
        return x
    power = {_NONE: 0.0, _ROOT: -0.5, _SIZE: -1.0}[normalization] + (0.0 if forward else 1.0)
    if isinstance(n, int):
        return x * float(n) ** power
    size = cast(op, op.size(n), dtype_of(x))
    factor = {1.0: size, 0.5: op.Sqrt(size), -0.5: op.Reciprocal(op.Sqrt(size)), -1.0: op.Reciprocal(size)}[power]
    return x * factor


# ── as a matrix ──


def matrix_size(kind: str, n: int) -> int:
    """How many elements the matrix of a transform of `n` points has."""
    half = n // 2 + 1
    return {"c2c": 4 * n * n, "r2c": 2 * n * half, "r2c whole": 2 * n * n, "c2r": 2 * half * n}[kind]


def matrix(kind: str, n: int, normalization: int, forward: bool) -> np.ndarray:
    """The transform of `n` points as float64 [points in, parts in, points out, parts out]; a real side has one part.

    The half of a spectrum that c2r is not given is the conjugate of the one it is: all points but the first and, of an
    even count, the last, count twice. The sine of half a turn is exactly 0 (see `real_where_mirrored`).
    """
    half = n // 2 + 1
    rows, columns = (half if kind == "c2r" else n), (half if kind == "r2c" else n)
    turns = np.outer(np.arange(rows), np.arange(columns)) % n
    angle = 2 * np.pi * turns / n
    cosine, sine = np.cos(angle), np.where(2 * turns % n == 0, 0.0, np.sin(angle)) * (-1 if forward else 1)
    whole = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)
    whole *= {_NONE: 1.0, _ROOT: n**-0.5, _SIZE: 1.0 / n}[normalization]
    if kind.startswith("r2c"):
        return whole[:, :1]
    if kind == "c2r":
        counts = np.full(half, 2.0)
        counts[0] = 1
        counts[n - half + 1 :] = 1
        return (whole * counts[:, None, None, None])[..., :1]
    return whole


def _by_matrix(op: Builder, x: Tensor, axis: int, kind: str, n: int, normalization: int, forward: bool) -> Tensor:
    content = matrix(kind, n, normalization, forward)
    points, parts, columns, parts_out = content.shape
    rank = len(x.shape)
    last = [other for other in range(rank - 1) if other != axis] + [axis, rank - 1]
    rows = transpose(op, x, last)
    leading = tuple(rows.shape)[:-2]
    rows = reshape(op, rows, (*leading, points * parts))
    weights = content.reshape(points * parts, columns * parts_out).astype(dtype_of(x).numpy)
    product = reshape(op, rows @ weights, (*leading, columns, parts_out))
    return transpose(op, product, [last.index(position) for position in range(rank)])


# ── frequencies ──


@lower("aten.fft_fftfreq")
def fftfreq(op: Builder, n: Dim, d: float = 1.0, dtype: DType | None = None) -> Tensor:
    """The frequency of each point of a spectrum of `n`, in cycles per `d`: 0, 1, … and then the negative ones."""
    half = floor_divide(n, 2)
    return _frequencies(op, (op.Range(0, n, 1) + half) % n - half, n, d, dtype)


@lower("aten.fft_rfftfreq")
def rfftfreq(op: Builder, n: Dim, d: float = 1.0, dtype: DType | None = None) -> Tensor:
    """The frequency of each point of half a spectrum of `n`, in cycles per `d`."""
    return _frequencies(op, op.Range(0, floor_divide(n, 2) + 1, 1), n, d, dtype)


def _frequencies(op: Builder, points: Tensor, n: Dim, d: float, dtype: DType | None) -> Tensor:
    dtype = dtype or dtypes.FLOAT32
    span = cast(op, op.size(n), dtype) * d
    return cast(op, points, dtype) / span
