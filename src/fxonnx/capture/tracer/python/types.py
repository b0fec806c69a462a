"""`int`, `float`, `range` and `type` as the model's files see them while it runs.

int(n / 2) is the size n // 2, not a number; isinstance(n, int) is true; for whatever is no size they are what they are.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

SIZES = (torch.SymInt, torch.SymFloat, torch.SymBool)
_PLAIN_TYPES = {torch.SymInt: int, torch.SymFloat: float, torch.SymBool: bool}


def _plain_type_of(value: Any) -> type | None:
    """What Python has in the place of a size, or None."""
    return next((plain for kind, plain in _PLAIN_TYPES.items() if builtins.isinstance(value, kind)), None)


class _Likeness(type):
    """A class that is taken for the `original`: equal to it, with the same instances and subclasses."""

    original: type

    @property
    def dtype(cls) -> Any:
        """What NumPy takes it for, as a dtype."""
        import numpy

        return numpy.dtype(cls.original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __instancecheck__(cls, instance: object) -> bool:
        return is_instance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.original(*args, **kwargs)

    def __repr__(cls) -> str:
        return repr(cls.original)


def _held(value: Any) -> Any:
    """A number; of a tensor the one that it holds, which may be a size."""
    return value.item() if isinstance(value, torch.Tensor) else value


class _Int(_Likeness):
    """int(n)"""

    original = int

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) != 1 or kwargs:
            return int(*args, **kwargs)
        number = _held(args[0])
        return math.trunc(number) if isinstance(number, (torch.SymInt, torch.SymFloat)) else int(number)


class _Float(_Likeness):
    """float(n)"""

    original = float

    def __call__(cls, *args: Any) -> Any:
        number = _held(*args) if args else 0
        if isinstance(number, Float64):
            return torch.SymFloat(number.node)
        return torch.sym_float(number) if isinstance(number, (torch.SymInt, torch.SymFloat)) else float(number)


class _Range(_Likeness):
    """range(n, n + 4)"""

    original = range

    def __call__(cls, *args: Any) -> Any:
        args = tuple(map(_held, args))
        has_size = any(isinstance(each, torch.SymInt) for each in args)
        return _numbers(*args) if has_size else range(*args)


class _Type(_Likeness):
    """type(n)"""

    original = type

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) != 1 or kwargs:
            return type(*args, **kwargs)
        found = _plain_type_of(args[0]) or type(args[0])
        return _SEEN.get(found, found)


def _as_dtype(func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """torch takes the very types int and float for dtypes: `x.to(int)`."""
    named = {name: plain_type(value) for name, value in (kwargs or {}).items()}
    return func(*map(plain_type, args), **named)


class SizeInt(int, metaclass=_Int):
    """int"""

    __torch_function__ = staticmethod(_as_dtype)


class SizeFloat(float, metaclass=_Float):
    """float"""

    __torch_function__ = staticmethod(_as_dtype)


class SizeRange(metaclass=_Range):
    """range"""


class SizeType(type, metaclass=_Type):
    """type"""


_SEEN: dict[type, type] = {int: SizeInt, float: SizeFloat}
for _kind in (SizeInt, SizeFloat, SizeRange, SizeType):
    _kind.__name__ = _kind.__qualname__ = type(_kind).original.__name__


def plain_type(value: Any) -> Any:
    """Python's own type where a value is one that stands for it."""
    return int if value is SizeInt else float if value is SizeFloat else value


def is_instance(value: Any, kinds: Any) -> bool:
    """isinstance(n, int), isinstance(n, numbers.Number), isinstance(n, (float, str))"""
    if builtins.isinstance(value, kinds) or (builtins.isinstance(value, Numbers) and kinds is range):
        return True
    plain = _plain_type_of(value)
    return plain is not None and builtins.isinstance(plain(), kinds)


class Float64(torch.SymFloat):
    """A number that NumPy has computed, np.sqrt(n), and what is computed of it: a tensor made of it has 64 bits."""


def float64(number: Any) -> Any:
    """A number as NumPy's, where sizes or data say it."""
    return Float64(number.node) if isinstance(number, torch.SymFloat) else number


def _of_numpy(name: str) -> Callable[..., Any]:
    return lambda *args: float64(getattr(torch.SymFloat, name)(*args))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _method in (f"__{_name}__", f"__r{_name}__"):
        setattr(Float64, _method, _of_numpy(_method))
for _method in ("__neg__", "__abs__"):
    setattr(Float64, _method, _of_numpy(_method))


class Numbers(Sequence[int]):
    """range(n) of as many numbers as a size says. Who goes through them asks how many there are, which may be the same
    for many sizes: range(0, n, 64). NumPy and torch make one `tensor` of all."""

    def __init__(self, *args: Any) -> None:
        self._args = args

    @property
    def tensor(self) -> torch.Tensor:
        """The numbers."""
        return torch.arange(*self._args)

    @property
    def _plain(self) -> range:
        found, trips = range(*self._args), _trips(*self._args)
        if isinstance(trips, torch.SymInt):
            trips.node.guard_log.keep_count(trips.node.dim, len(found))
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)

    def __getitem__(self, place: Any) -> Any:
        return self._plain[place]

    def __contains__(self, number: object) -> bool:
        return number in self._plain

    def __eq__(self, other: object) -> bool:
        return self._plain == (other._plain if isinstance(other, Numbers) else other)

    def __hash__(self) -> int:
        return hash(self._plain)


# a model that returns range(n) returns one of what n is at a call
pytree.register_pytree_node(Numbers, lambda numbers: ([*numbers._args], None), lambda args, _: range(*args))


def _numbers(*args: Any) -> Any:
    """range(n, n + 4) as its four numbers; where how many there are varies, those that are asked for."""
    start, _, step = _ends(*args)
    trips = _trips(*args)
    if isinstance(trips, torch.SymInt):
        trips = trips.node.maybe_as_int()
    return Numbers(*args) if trips is None else [start + index * step for index in range(max(trips, 0))]


def _ends(*args: Any) -> tuple[Any, Any, Any]:
    """The start, stop and step that a range is called with."""
    return (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]


def _trips(*args: Any) -> Any:
    """How many numbers a range has; negative where it has none."""
    start, stop, step = _ends(*args)
    return -((start - stop) // step)
