"""Arrays that NumPy makes of sizes: np.arange(n), np.linspace(0, 1, n), np.fft.fftfreq(n), np.mgrid[:h, :w].

Each is what NumPy's own function is where no size is among its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch

from fxonnx.capture.tracer.python.arrays import Array, called, counterpart, numpys_default_dtype
from fxonnx.capture.tracer.python.repeated import Repeated
from fxonnx.capture.tracer.python.types import Numbers

_NUMBER = (torch.SymInt, torch.SymFloat)


def _has_size(value: Any) -> bool:
    if isinstance(value, Repeated):
        return True
    if isinstance(value, (list, tuple)):
        return any(map(_has_size, value))
    return isinstance(value, (*_NUMBER, Numbers))


def _where_sizes(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes an array, by torch's NumPy where a size is among its arguments."""

    @wraps(original)
    def either(*args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], Array) and original in _TAKES:
            dtype = options.get("dtype", args[1] if len(args) > 1 else None)
            return args[0] if dtype is None else args[0].astype(dtype)
        if not _has_size([*args, *options.values()]):
            return original(*args, **options)
        return called(counterpart(original), args, options)

    return either


_TAKES = (np.array, np.asarray, np.ascontiguousarray)
_MAKERS: tuple[Any, ...] = (
    *_TAKES, np.arange, np.linspace, np.zeros, np.ones, np.full, np.empty, np.eye, np.identity, np.prod, np.sum, np.max,
    np.min, np.mean, np.tile, np.repeat, np.reshape, np.broadcast_to, np.tri, np.clip, np.roll, np.indices, np.stack,
    np.tril_indices, np.triu_indices, np.diag_indices, np.cumsum, np.concatenate, np.hstack,
    np.vstack, np.append, np.diff, np.outer, np.meshgrid,
)  # fmt: skip
_WINDOWS: dict[Callable[..., Any], Callable[..., torch.Tensor]] = {
    np.hanning: torch.hann_window, np.hamming: torch.hamming_window, np.blackman: torch.blackman_window,
    np.bartlett: torch.bartlett_window,
}  # fmt: skip


def _spaced(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, **options: Any) -> Any:
    """np.linspace; without its end, which torch's NumPy has not."""
    if endpoint or options.keys() - {"dtype"}:
        return called(counterpart(np.linspace), (start, stop, num), {"endpoint": endpoint, **options})
    spaced = Array(torch.arange(num, dtype=torch.float64)) * ((stop - start) / num) + start
    return spaced.astype(options.get("dtype") or np.float64)


def _spaced_by_powers(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None
) -> Any:
    """np.logspace"""
    return np.power(base, _spaced(start, stop, num, endpoint)).astype(dtype or np.float64)


def _frequencies(n: torch.SymInt, d: Any = 1.0) -> Array:
    """np.fft.fftfreq"""
    places = torch.arange(n)
    return Array(torch.where(places < (n + 1) // 2, places, places - n)) * (1.0 / (n * d))


def _real_frequencies(n: torch.SymInt, d: Any = 1.0) -> Array:
    """np.fft.rfftfreq"""
    return Array(torch.arange(n // 2 + 1)) * (1.0 / (n * d))


def _of_size(original: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function where a size is among the arguments, else NumPy's."""

    @wraps(original)
    def either(*args: Any, **options: Any) -> Any:
        return (function if _has_size([*args, *options.values()]) else original)(*args, **options)

    return either


class _Grid:
    """np.mgrid[:h, :w] and np.ogrid, the `original` where no size is in the slices."""

    def __init__(self, original: Any, *, sparse: bool) -> None:
        self._original, self._sparse = original, sparse

    def __getitem__(self, slices: Any) -> Any:
        parts = slices if isinstance(slices, tuple) else (slices,)
        ends = [(each.start, each.stop, each.step) for each in parts if isinstance(each, slice)]
        if len(ends) < len(parts) or not _has_size(ends) or any(isinstance(each, complex) for _, _, each in ends):
            return self._original[slices]
        with numpys_default_dtype():
            rows = [Array(torch.arange(0 if start is None else start, stop, step or 1)) for start, stop, step in ends]
        if not isinstance(slices, tuple):
            return rows[0]
        grid = np.meshgrid(*rows, sparse=self._sparse, indexing="ij")
        return tuple(grid) if self._sparse else np.stack(grid)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _window(original: Callable[..., Any], window: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """A window of as many samples as a size says."""

    @wraps(original)
    def either(samples: Any) -> Any:
        is_size = isinstance(samples, torch.SymInt)
        return Array(window(samples, periodic=False, dtype=torch.float64)) if is_size else original(samples)

    return either


ARRAYS: dict[str, Any] = {
    **{each.__name__: _where_sizes(each) for each in _MAKERS},
    **{each.__name__: _window(each, window) for each, window in _WINDOWS.items()},
    "logspace": _of_size(np.logspace, _spaced_by_powers),
    "linspace": _of_size(np.linspace, _spaced),
    "mgrid": _Grid(np.mgrid, sparse=False),
    "ogrid": _Grid(np.ogrid, sparse=True),
}
FREQUENCIES: dict[str, Callable[..., Any]] = {
    "fftfreq": _of_size(np.fft.fftfreq, _frequencies),
    "rfftfreq": _of_size(np.fft.rfftfreq, _real_frequencies),
}
"""name of a function of NumPy, of np.fft -> what stands for it"""
