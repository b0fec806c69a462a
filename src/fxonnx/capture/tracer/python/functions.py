"""Functions of Python, `math` and NumPy that would make a plain number of a size, said so that it keeps its expression.

Each takes what the original takes, and is that for whatever has no size in it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fxonnx.capture.tracer.python.arrays import from_numpy, of_ufunc
from fxonnx.capture.tracer.python.generators import NewGenerator
from fxonnx.capture.tracer.python.repeated import Repeated
from fxonnx.capture.tracer.python.sized_arrays import ARRAYS, FREQUENCIES
from fxonnx.capture.tracer.python.types import SizeFloat, SizeInt, SizeRange, SizeType, float64, is_instance, plain_type

_NUMBER = (torch.SymInt, torch.SymFloat)
_SEQUENCES = (list, tuple, dict, str)


def _length(value: Any, /) -> Any:
    """len(x): of a tensor its first size, and whatever a class of the model's says."""
    if isinstance(value, _SEQUENCES):
        return value.length if isinstance(value, Repeated) else len(value)
    if isinstance(value, torch.Tensor) and value.dim():
        return value.shape[0]
    asked = getattr(type(value), "__len__", None)
    return len(value) if asked is None else asked(value)


def _extremum(original: Callable[..., Any], choose: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """max(n, m) is a size: which of the two it is decides nothing."""

    def extremum(*args: Any, **kwargs: Any) -> Any:
        alone = len(args) == 1 and not isinstance(args[0], torch.Tensor)
        values = tuple(args[0]) if alone else args  # at once: a generator can be gone through only once
        has_size = not kwargs.keys() - {"default"} and any(isinstance(each, torch.SymInt) for each in values)
        if has_size and all(isinstance(each, (torch.SymInt, int)) for each in values):
            return functools.reduce(choose, values)
        return original(values, **kwargs) if alone else original(*args, **kwargs)

    return extremum


def _of_float(name: str) -> Callable[[Any], Any]:
    """A function of a real number, by the name that float nodes have for it."""
    return lambda number: torch.SymFloat(torch.sym_float(number).node.function(name))


def _logarithm(number: Any, *base: Any) -> Any:
    parts = [_of_float("log")(each) if isinstance(each, _NUMBER) else math.log(each) for each in (number, *base)]
    return functools.reduce(operator.truediv, parts)


def _float_of(rounding: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """NumPy rounds to floats."""
    return lambda number: torch.sym_float(rounding(number))


_REAL = {name: _of_float(name) for name in ("sqrt", "exp", "log2", "log10", "sin", "cos")}
_OF_MATH: dict[str, Callable[..., Any]] = {
    **_REAL,
    "log": _logarithm,
    "fabs": lambda number: abs(torch.sym_float(number)),
    "isqrt": lambda number: math.floor(_REAL["sqrt"](number)),
    "pow": lambda base, exponent: torch.sym_float(base) ** torch.sym_float(exponent),
}
_OF_NUMPY: dict[str, Callable[..., Any]] = {
    **_REAL,
    "log": _logarithm,
    "ceil": _float_of(math.ceil),
    "floor": _float_of(math.floor),
    "trunc": _float_of(math.trunc),
    "rint": _float_of(round),
    "round": _float_of(round),
}


def _where_sizes(original: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function where a size is among the arguments, else the original."""

    @functools.wraps(original)
    def either(*args: Any, **kwargs: Any) -> Any:
        has_size = not kwargs and any(isinstance(each, _NUMBER) for each in args)
        return function(*args) if has_size else original(*args, **kwargs)

    return either


PYTHON: dict[str, Any] = {
    "int": SizeInt,
    "float": SizeFloat,
    "range": SizeRange,
    "type": SizeType,
    "isinstance": is_instance,
    "len": _length,
    "max": _extremum(max, torch.sym_max),
    "min": _extremum(min, torch.sym_min),
    "divmod": _where_sizes(divmod, lambda left, right: (left // right, left % right)),
}
"""name of a builtin -> what the model's files see in its place"""

MATH = {name: _where_sizes(getattr(math, name), function) for name, function in _OF_MATH.items()}
NUMPY = {"round": _where_sizes(np.round, _OF_NUMPY["round"]), **ARRAYS}
FFT = FREQUENCIES
TORCH = {"from_numpy": from_numpy, "Generator": NewGenerator}
"""name of a function of the module -> what stands for it"""


def _as_object(value: Any) -> Any:
    """A size as an array of objects, of no axis."""
    if not isinstance(value, _NUMBER):
        return value
    found = np.ndarray((), object)
    found[()] = value
    return found


def _as_scalar_of(number: Any, dtype: Any, **_: Any) -> Any:
    """`astype` of the number that NumPy gives for one of a size: np.ceil(n / 2).astype(int)."""
    kind = np.dtype(plain_type(dtype))
    if kind.kind in "iu":
        return math.trunc(number)
    return torch.sym_float(number) if kind == np.float64 else kind.type(float(number))


def of_size(self: Any, function: Any, method: str, *args: Any, **options: Any) -> Any:
    """`__array_ufunc__` of sizes: np.ceil(n) is a number, n * np.arange(4) an array; among objects it is one."""
    if any(isinstance(each, np.ndarray) and each.dtype == object for each in args):
        return getattr(function, method)(*map(_as_object, args), **options)
    scalar = _OF_NUMPY.get(function.__name__)
    is_scalar = scalar is not None and not options and all(isinstance(each, (int, float, *_NUMBER)) for each in args)
    if scalar is None or not is_scalar:
        return of_ufunc(function, method, *args, **options)
    return float64(scalar(*args))


def _count(shape: torch.Size) -> Any:
    """`x.shape.numel()`, which asks plain numbers of its sizes in C."""
    has_size = any(isinstance(each, torch.SymInt) for each in shape)
    return functools.reduce(operator.mul, shape) if has_size else _COUNT(shape)


_COUNT = torch.Size.numel
SHAPE: dict[str, Callable[..., Any]] = {"numel": _count}
"""name of a method of shapes -> what they have for it"""
SCALAR: dict[str, Callable[..., Any]] = {
    "__array_ufunc__": of_size,
    "astype": _as_scalar_of,
    "item": lambda number: number,
}
"""name of a method of NumPy's numbers -> what sizes have for it"""


def _power(base: torch.SymFloat, exponent: Any) -> Any:
    """f ** g. torch checks that f is not negative, which where iterations are counted is an answer by one of them;
    where the sizes in f say so it is none."""
    quotient = getattr(base.node, "quotient", None)
    if quotient is None or all(isinstance(each, int) for each in quotient) or not isinstance(exponent, (int, float)):
        return _POWER(base, exponent)
    log, (above, below) = base.node.guard_log, quotient
    is_natural = all(log.statically_known(">=", each, 0) for each in (above, below))
    return base.__float_pow__(exponent) if log.counts and is_natural else _POWER(base, exponent)


_POWER = torch.SymFloat.__pow__
POWERS = {"__pow__": _power}
"""name of a method of floats -> what they have for it"""
