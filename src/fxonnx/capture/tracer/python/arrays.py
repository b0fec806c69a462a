"""NumPy's arrays over tensors that are recorded, by torch's own NumPy: what `numpy()` gives of a tensor, and what NumPy
makes of sizes, np.arange(n) (`sized_arrays`).

    lengths.cpu().numpy() ──▶ Array ── np.exp, +, [::2], reshape … ──▶ Array ── torch.from_numpy ──▶ the tensor again

A function that torch's NumPy lacks is refused. What has no axis is a number, as in NumPy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin
from torch.utils import _pytree as pytree

from fxonnx.capture.tracer.python.repeated import Repeated
from fxonnx.capture.tracer.python.types import Numbers, float64, plain_type

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
        found = counterpart(function)
        if found is None:
            raise self.refuse()
        return called(found, args, options, self.refuse)

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
        return _outer(_inner(self)[_all_inner(index)], self.refuse)

    def __setitem__(self, index: Any, value: Any) -> None:
        _inner(self)[_all_inner(index)] = _inner(value)

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


def counterpart(function: Any) -> Any:
    """What torch's NumPy calls the function, or None."""
    import torch._numpy as torch_numpy

    if function in _OTHERWISE:
        return _OTHERWISE[function](torch_numpy)
    path = [*getattr(function, "__module__", "numpy").split(".")[1:], function.__name__]
    try:
        return reduce(getattr, path, torch_numpy)
    except AttributeError:
        return None


def called(function: Any, args: Any, options: Any, refuse: Refuse | None = None) -> Any:
    """A function of torch's NumPy on arrays."""
    args, options = _all_inner((args, options))
    with numpys_default_dtype():
        result = function(*args, **options)
    return _outer(result, refuse)


@contextmanager
def numpys_default_dtype() -> Iterator[None]:
    """Floats have 64 bits where none are said, as in NumPy: what torch's NumPy leaves to torch has 32 otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _method(method: Any, refuse: Refuse, *args: Any, **options: Any) -> Any:
    return called(method, args, options, refuse)


def _all_inner(values: Any) -> Any:
    # ranges are trees of their own: a model may return one
    return pytree.tree_map(_inner, values, is_leaf=lambda each: isinstance(each, (Array, Numbers, Repeated)))


def _inner(value: Any) -> Any:
    """What torch's NumPy takes: its array, its dtype."""
    if isinstance(value, (Array, Numbers)):
        import torch._numpy as torch_numpy

        return torch_numpy.ndarray(value.tensor)
    if isinstance(value, Repeated):
        return _inner(Array(value.tensor(lambda elements: torch.from_numpy(np.array(elements)))))
    value = plain_type(value)
    is_dtype = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, _SCALARS))
    return np.dtype(value).name if is_dtype else value


_SCALARS = (np.generic, int, float, complex)


def _operands(function: Any, args: Any) -> list[Any]:
    """The arguments in the dtypes that NumPy promotes."""
    arrays = [each for each in args if isinstance(each, (Array, np.ndarray, np.generic))]
    is_whole = all(each.dtype.kind in "iub" for each in arrays)
    return [_operand(each, is_whole=is_whole, as_float=is_whole and function in _OF_FLOATS) for each in args]


_OF_FLOATS = frozenset({np.rint, np.fabs, np.hypot, np.logaddexp, np.heaviside, np.nextafter})
"""What NumPy computes of whole numbers as floats, and torch does not."""


def _operand(value: Any, *, is_whole: bool, as_float: bool) -> Any:
    if isinstance(value, (Array, np.ndarray)) and as_float:
        return value.astype(np.float64)
    if isinstance(value, np.generic):  # no weak number, as Python's own are
        return Array(torch.tensor(value.item(), dtype=getattr(torch, value.dtype.name)))
    if isinstance(value, torch.SymInt):
        return Array(torch.full((), value, dtype=torch.float64 if as_float else torch.int64))
    if isinstance(value, torch.SymFloat) and is_whole:
        return Array(torch.full((), value, dtype=torch.float64))
    return value


def _of_all(name: str) -> Callable[[Any], Callable[..., Any]]:
    """np.median and the like, to which torch's NumPy gives an axis of one element where they are of all elements."""

    def of(torch_numpy: Any) -> Callable[..., Any]:
        function = getattr(torch_numpy, name)
        signature = inspect.signature(function)

        def of_all(*args: Any, **options: Any) -> Any:
            found, given = function(*args, **options), signature.bind(*args, **options).arguments
            is_kept = given.get("axis") is not None or given.get("keepdims")
            return found if is_kept or not isinstance(given.get("q", 0.5), (int, float)) else found[0]

        return of_all

    return of


_WHOLE = frozenset({"int8", "int16", "int32", "int64", "uint8", "bool_"})
_OTHERWISE: dict[Any, Callable[[Any], Callable[..., Any]]] = {
    np.square: lambda _: lambda x: x * x,
    np.trunc: lambda torch_numpy: lambda x: x if x.dtype.name in _WHOLE else torch_numpy.trunc(x),
    np.reciprocal: lambda _: lambda x: 1 // x if x.dtype.name in _WHOLE else 1 / x,
    **{getattr(np, name): _of_all(name) for name in ("median", "quantile", "percentile")},
}
"""what torch's NumPy has other dtypes or shapes for -> what stands for it, of torch's NumPy"""


def _outer(value: Any, refuse: Refuse | None = None) -> Any:
    """A result as the model sees it."""
    if isinstance(value, (list, tuple)):
        return type(value)(_outer(each, refuse) for each in value)
    tensor = value if isinstance(value, torch.Tensor) else getattr(value, "tensor", None)
    if tensor is None:
        return value
    if tensor.dim():
        return Array(tensor, refuse)
    return float64(tensor.item()) if tensor.dtype is torch.float64 else tensor.item()


def listed(tensor: torch.Tensor, refuse: Refuse) -> Any:
    """tolist(), each number asked for: torch would read a weight's memory, which no call tells of."""
    if not tensor.dim():
        return tensor.item()
    if isinstance(tensor.shape[0], torch.SymInt):
        return Array(tensor, refuse)
    return [listed(each, refuse) for each in tensor.unbind()]
