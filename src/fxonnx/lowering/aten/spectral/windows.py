"""Window functions of static length, as constants.

A periodic window is one point longer, without the last.

Source: Harris 1978, "On the Use of Windows for Harmonic Analysis with the Discrete Fourier Transform".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.registry import Unsupported, lower


@lower("aten.hann_window", given={"alpha": 0.5, "beta": 0.5})
@lower("aten.hamming_window")
def hamming_window(
    op: Builder, window_length: Dim, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """alpha - beta · cos, over one period; with ½ twice, sin² from 0 to π."""
    return _window(op, window_length, periodic, dtype, lambda x: alpha - beta * np.cos(2 * np.pi * x))


@lower("aten.blackman_window")
def blackman_window(op: Builder, window_length: Dim, periodic: bool = True, dtype: DType | None = None) -> Tensor:
    """0.42 - 0.5 · cos + 0.08 · cos of the double angle, over one period."""
    return _window(
        op, window_length, periodic, dtype, lambda x: 0.42 - 0.5 * np.cos(2 * np.pi * x) + 0.08 * np.cos(4 * np.pi * x)
    )


@lower("aten.bartlett_window")
def bartlett_window(op: Builder, window_length: Dim, periodic: bool = True, dtype: DType | None = None) -> Tensor:
    """A triangle from 0 to 1 and back."""
    return _window(op, window_length, periodic, dtype, lambda x: 1 - np.abs(2 * x - 1))


@lower("aten.kaiser_window")
def kaiser_window(
    op: Builder, window_length: Dim, periodic: bool = True, beta: float = 12.0, dtype: DType | None = None
) -> Tensor:
    """I₀(beta · half a circle) / I₀(beta)."""
    return _window(
        op, window_length, periodic, dtype, lambda x: np.i0(beta * np.sqrt(1 - (2 * x - 1) ** 2)) / np.i0(beta)
    )


def _window(
    op: Builder, length: Dim, periodic: bool, dtype: DType | None, function: Callable[[np.ndarray], np.ndarray]
) -> Tensor:
    """`function` of where a point lies between the first (0) and the last (1); a window of one point is 1."""
    if not isinstance(length, int):
        raise Unsupported(f"a window of dynamic length {length}; make the window's length a number")
    last = length if periodic else length - 1
    content = np.ones(1) if length == 1 else function(np.arange(length) / max(last, 1))
    return op.constant(content, dtype or dtypes.FLOAT32)
