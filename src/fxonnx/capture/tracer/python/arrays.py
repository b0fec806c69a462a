"""NumPy's arrays over tensors that are recorded, by torch's own NumPy: what `numpy()` gives of a tensor, and what NumPy
makes of sizes, np.arange(n).

    lengths.cpu().numpy() ──▶ Array ── np.exp, +, [::2], reshape … ──▶ Array ── torch.from_numpy ──▶ the tensor again

A function that torch's NumPy lacks is refused. What has no axis is a number, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce, wraps
from typing import Any

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin
from torch.utils import _pytree as pytree

_NUMBER = (torch.SymInt, torch.SymFloat)
Refuse = Callable[[], Exception]


class Array(NDArrayOperatorsMixin):
    """An array of numbers that are known when the model runs. `refuse` gives the error for what cannot be recorded."""

    __slots__ = ("refuse", "tensor")
    __array_priority__ = 1000.0

    def __init__(self, tensor: torch.Tensor, refuse: Refuse | None = None) -> None:
        self.tensor, self.refuse = tensor, refuse or _unknown

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **options: Any) -> Any:
        if method != "__call__":
            raise self.refuse()
        options, outputs = {name: value for name, value in options.items() if name != "out"}, options.get("out", ())
        result, written = self._by_name(function, _operands(function, args), options), None
        for written in outputs:  # a += b
            written[...] = result
        return result if written is None else written

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return self._by_name(function, args, options)

    def _by_name(self, function: Any, args: Any, options: Any) -> Any:
        found = _counterpart(function)
        if found is None:
            raise self.refuse()
        return _called(found, args, options, self.refuse)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copy and pickle ask for
            raise AttributeError(name)
        part = getattr(_inner(self), name, None)
        if part is None:
            raise self.refuse()
        return partial(_method, part, self.refuse) if callable(part) else _outer(part, self.refuse)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's own."""
        return np.dtype(str(self.tensor.dtype).removeprefix("torch."))

    @property
    def shape(self) -> tuple[Any, ...]:
        """Its sizes."""
        return tuple(self.tensor.shape)

    def astype(self, dtype: Any, **options: Any) -> Any:
        """In another dtype."""
        return self.__getattr__("astype")(np.dtype(dtype).name)

    def tolist(self) -> Any:
        """As a list."""
        return listed(self.tensor, self.refuse)

    def __len__(self) -> int:
        return int(self.tensor.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return map(partial(_outer, refuse=self.refuse), self.tensor.unbind())

    def __getitem__(self, index: Any) -> Any:
        return _outer(_inner(self)[pytree.tree_map(_inner, index)], self.refuse)

    def __setitem__(self, index: Any, value: Any) -> None:
        _inner(self)[pytree.tree_map(_inner, index)] = _inner(value)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise self.refuse()

    def __bool__(self) -> bool:
        return bool(self.tensor)

    __hash__ = None  # type: ignore[assignment]


def _unknown() -> Exception:
    return TypeError("NumPy computes with numbers here, and these are known when the model runs only")


def of_ufunc(function: Any, method: str, *args: Any, **options: Any) -> Any:
    """A function of NumPy's with a size among its arguments, and an array, perhaps: n * np.arange(4)."""
    return Array(torch.empty(0)).__array_ufunc__(function, method, *args, **options)


def from_numpy(array: Any) -> torch.Tensor:
    """torch.from_numpy(array): the tensor that an array is over."""
    return array.tensor if isinstance(array, Array) else _FROM_NUMPY(array)


_FROM_NUMPY = torch.from_numpy


def _counterpart(function: Any) -> Any:
    """What torch's NumPy calls the function, or None."""
    import torch._numpy as torch_numpy

    path = [*getattr(function, "__module__", "numpy").split(".")[1:], function.__name__]
    try:
        return reduce(getattr, path, torch_numpy)
    except AttributeError:
        return None


def _called(function: Any, args: Any, options: Any, refuse: Refuse | None = None) -> Any:
    args, options = pytree.tree_map(_inner, (args, options), is_leaf=lambda each: isinstance(each, Array))
    return _outer(function(*args, **options), refuse)


def _method(method: Any, refuse: Refuse, *args: Any, **options: Any) -> Any:
    return _called(method, args, options, refuse)


def _inner(value: Any) -> Any:
    """What torch's NumPy takes: its array, its dtype."""
    if isinstance(value, Array):
        import torch._numpy as torch_numpy

        return torch_numpy.ndarray(value.tensor)
    is_dtype = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic))
    return np.dtype(value).name if is_dtype else value


def _operands(function: Any, args: Any) -> list[Any]:
    """The arguments in the dtypes that NumPy promotes: what torch leaves to its default dtype is float64."""
    arrays = [each for each in args if isinstance(each, (Array, np.ndarray, np.generic))]
    is_whole = all(each.dtype.kind in "iub" for each in arrays)
    divides = function is np.true_divide and is_whole and not any(isinstance(each, (float, complex)) for each in args)
    return [_operand(each, is_whole=is_whole, divides=divides) for each in args]


def _operand(value: Any, *, is_whole: bool, divides: bool) -> Any:
    if divides and isinstance(value, Array):
        return value.astype(np.float64)
    if isinstance(value, torch.SymInt):
        return Array(torch.full((), value, dtype=torch.float64 if divides else torch.int64))
    if isinstance(value, torch.SymFloat) and is_whole:
        return Array(torch.full((), value, dtype=torch.float64))
    return value


def _outer(value: Any, refuse: Refuse | None = None) -> Any:
    """A result as the model sees it."""
    if isinstance(value, (list, tuple)):
        return type(value)(_outer(each, refuse) for each in value)
    tensor = value if isinstance(value, torch.Tensor) else getattr(value, "tensor", None)
    if tensor is None:
        return value
    return Array(tensor, refuse) if tensor.dim() else tensor.item()


def listed(tensor: torch.Tensor, refuse: Refuse) -> Any:
    """tolist(), each number asked for: torch would read a weight's memory, which no call tells of."""
    if not tensor.dim():
        return tensor.item()
    if isinstance(tensor.shape[0], torch.SymInt):
        return Array(tensor, refuse)
    return [listed(each, refuse) for each in tensor.unbind()]


# ── arrays of sizes ────────────────────────────────────────


def _has_size(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_size, value))
    return isinstance(value, _NUMBER)


def _where_sizes(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes an array, by torch's NumPy where a size is among its arguments."""

    @wraps(original)
    def either(*args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], Array) and original in _TAKES:
            dtype = options.get("dtype", args[1] if len(args) > 1 else None)
            return args[0] if dtype is None else args[0].astype(dtype)
        if not _has_size([*args, *options.values()]):
            return original(*args, **options)
        return _called(_counterpart(original), args, options)

    return either


_TAKES = (np.array, np.asarray, np.ascontiguousarray)
_MAKERS: tuple[Any, ...] = (
    *_TAKES, np.arange, np.linspace, np.zeros, np.ones, np.full, np.empty, np.eye, np.identity, np.prod, np.sum, np.max,
    np.min, np.mean, np.tile, np.repeat, np.reshape, np.broadcast_to, np.tri, np.clip, np.roll, np.indices, np.stack,
)  # fmt: skip
_WINDOWS: dict[Callable[..., Any], Callable[..., torch.Tensor]] = {
    np.hanning: torch.hann_window, np.hamming: torch.hamming_window, np.blackman: torch.blackman_window,
    np.bartlett: torch.bartlett_window,
}  # fmt: skip


def _window(original: Callable[..., Any], window: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """A window of as many samples as a size says."""

    @wraps(original)
    def either(samples: Any) -> Any:
        is_size = isinstance(samples, torch.SymInt)
        return Array(window(samples, periodic=False, dtype=torch.float64)) if is_size else original(samples)

    return either


ARRAYS: dict[str, Callable[..., Any]] = {
    **{each.__name__: _where_sizes(each) for each in _MAKERS},
    **{each.__name__: _window(each, window) for each, window in _WINDOWS.items()},
}
"""name of a function of NumPy -> what stands for it"""
