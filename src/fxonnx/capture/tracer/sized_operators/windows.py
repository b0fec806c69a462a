"""Windows of as many points as a size, and the frequencies of a spectrum of as many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fxonnx.capture.tracer.sized_operators.bodies import Size


def _phases(length: Any, periodic: bool, options: dict[str, Any]) -> torch.Tensor:
    """k / (N - 1) for k from 0 on, or k / N."""
    count = length if periodic else torch.sym_max(length - 1, 1)
    return torch.arange(length, **{"dtype": torch.get_default_dtype(), **options}) / count


def _alone(window: torch.Tensor, length: Any) -> torch.Tensor:
    """A window of one is 1."""
    is_one = torch.sym_max(2 - length, 0)
    return window * (1 - is_one) + is_one


def _cosines(length: Any, periodic: bool, factors: Sequence[float], options: dict[str, Any]) -> torch.Tensor:
    """A sum of cosines with alternating signs."""
    phases = _phases(length, periodic, _made(options))
    terms = (factor * torch.cos(phases * (2 * math.pi * order)) for order, factor in enumerate(factors) if order)
    window = torch.full_like(phases, factors[0])
    for order, term in enumerate(terms):
        window = window + term if order % 2 else window - term
    return _alone(window, length)


def _made(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ("dtype", "device") and value is not None}


def _hann(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _cosines(window_length, periodic, (0.5, 0.5), options)


def _hamming(
    window_length: Size, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> torch.Tensor:
    return _cosines(window_length, periodic, (alpha, beta), options)


def _blackman(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _cosines(window_length, periodic, (0.42, 0.5, 0.08), options)


def _bartlett(window_length: Size, periodic: bool = True, **options: Any) -> torch.Tensor:
    return _alone(1 - (2 * _phases(window_length, periodic, _made(options)) - 1).abs(), window_length)


def _fftfreq(n: Size, d: Size = 1.0, **options: Any) -> torch.Tensor:
    """The frequency of each point of a spectrum: 0, 1, … and then the negative ones, over its length."""
    return _frequencies((torch.arange(n) + n // 2) % n - n // 2, n, d, options)


def _rfftfreq(n: Size, d: Size = 1.0, **options: Any) -> torch.Tensor:
    """The frequency of each point of half a spectrum."""
    return _frequencies(torch.arange(n // 2 + 1), n, d, options)


def _frequencies(points: torch.Tensor, n: Any, d: Any, options: dict[str, Any]) -> torch.Tensor:
    return points.to(**{"dtype": torch.get_default_dtype(), **_made(options)}) / (n * d)


def _kaiser(window_length: Size, periodic: bool = True, beta: float = 12.0, **options: Any) -> torch.Tensor:
    """By the modified Bessel function of the first kind, over a half circle."""
    phases = 2 * _phases(window_length, periodic, _made(options)) - 1
    bow = torch.i0(beta * torch.sqrt((1 - phases * phases).clamp(min=0)))
    return _alone(bow / torch.i0(torch.tensor(beta, dtype=bow.dtype)), window_length)


WINDOWS: dict[Any, Callable[..., Any]] = {
    torch.hann_window: _hann,
    torch.hamming_window: _hamming,
    torch.blackman_window: _blackman,
    torch.bartlett_window: _bartlett,
    torch.kaiser_window: _kaiser,
    torch.fft.fftfreq: _fftfreq,
    torch.fft.rfftfreq: _rfftfreq,
}
