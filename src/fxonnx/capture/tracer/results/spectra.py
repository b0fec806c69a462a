"""The meta kernel of a signal from its spectra: torch's own adds up the frames, one position of a window at a time."""

from __future__ import annotations

from typing import Any

import torch

from fxonnx import dtypes


def signal_of(
    input: Any, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Any = None,
    center: bool = True, normalized: bool = False, onesided: bool | None = None, length: Any = None,
    return_complex: bool = False,
) -> Any:  # fmt: skip
    """The kernel of aten.istft: [batch, signal] of [batch, frequencies, frames]. Source: torch's documentation."""
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    _check(input, n_fft, hop, width, window, onesided)
    whole = n_fft + hop * (input.shape[-1] - 1)
    cut = n_fft // 2 if center else 0
    size = whole - 2 * cut if length is None else length
    given = [input] if window is None else [input, window]
    dtype = getattr(torch, dtypes.result_type(*given).torch)
    return input.new_empty((*input.shape[:-2], size), dtype=dtype if return_complex else dtype.to_real())


def _check(input: Any, n_fft: int, hop: int, width: int, window: Any, onesided: bool | None) -> None:
    """Raise RuntimeError for what eager refuses by dtypes and sizes."""
    frequencies = input.shape[-2] if input.dim() > 1 else 0
    is_half = frequencies != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if is_half else n_fft
    torch._check(input.is_complex(), lambda: f"istft needs complex spectra, and got {input.dtype}")
    torch._check(2 <= input.dim() <= 3, lambda: f"istft needs spectra of 2 or 3 axes, and got {input.dim()}")
    torch._check(frequencies == wanted, lambda: f"istft needs {wanted} frequencies, and got {frequencies}")
    torch._check(0 < hop <= width <= n_fft, lambda: f"istft needs 0 < {hop} <= {width} <= {n_fft}: hop, window, n_fft")
    is_fit = window is None or tuple(window.shape) == (width,)
    torch._check(is_fit, lambda: f"istft needs a window of {width} elements")
