"""What counts as a container of arguments and results, and how each kind is taken apart and put together again.

By isinstance, so that what is derived of a dict or a list is one too and comes back as what it was. Nothing is
registered anywhere on the user's behalf; what is registered with `torch.utils._pytree` (transformers' ModelOutput) is
opened in the way that it was registered with.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import torch

# the face of torch's pytrees that other libraries register with; torch.export takes the same registry
from torch.utils import _pytree as pytree

from fxonnx.capture.state.snapshot import attributes_of, is_written_in_python

Rebuild: TypeAlias = "Callable[[list[Any]], Any]"


@dataclass(frozen=True, slots=True)
class Parts:
    """A container, taken apart: its type, a name for each child, the children, and what puts others in their place.

    `about` is what else such a container is known by, such as the context that a registered type brings along.
    """

    kind: type
    keys: tuple[Any, ...]
    children: list[Any]
    rebuild: Rebuild
    about: Any = None


_LEAVES = (type(None), bool, int, float, str, bytes, torch.Tensor, torch.dtype, torch.device)
CLOSED = (
    torch.nn.Module, torch.Generator, torch.ScriptObject, FunctionType, BuiltinFunctionType, MethodType, type,
    ModuleType, enum.Enum,
)  # fmt: skip


def parts(value: Any) -> Parts | None:
    """A container's parts; None for a leaf."""
    kind = type(value)
    if is_on_steps(value):
        return _floats(value)
    if isinstance(value, _LEAVES):
        return None
    if kind in (tuple, list, torch.Size):  # pytrees make a tuple of a Size
        return Parts(kind, tuple(range(len(value))), list(value), kind)
    if kind is dict:
        return _plain_dict(value) if _nameable(value) else None
    for opened in (_registered, _view, _derived, _dataclass, _object):
        found = opened(value)
        if found is not None:
            return found
    return None


def is_on_steps(value: Any) -> bool:
    """Whether it is a quantized tensor with one scale, which is opened as the floats that it stands for; what stands
    for one while a model is captured has those alone."""
    return type(value) is torch.Tensor and value.is_quantized and value.qscheme() in _ONE_SCALE


IS_ARGUMENT = "_is_argument"  # of a quantized tensor that the caller holds
_ONE_SCALE = (torch.per_tensor_affine, torch.per_tensor_symmetric)


def _floats(value: torch.Tensor) -> Parts:
    """Those floats; the steps that they are on belong to the structure of a call."""
    scale, zero, dtype = steps = value.q_scale(), value.q_zero_point(), value.dtype

    def rebuild(children: list[Any]) -> Any:
        made = torch.quantize_per_tensor(children[0], scale, zero, dtype)
        setattr(made, IS_ARGUMENT, True)
        return made

    return Parts(torch.Tensor, ("floats",), [value.dequantize()], rebuild, steps)


def _nameable(value: Mapping[Any, Any]) -> bool:
    """Whether the keys of a dict can be a part of a structure: tensors are none."""
    return not any(isinstance(key, torch.Tensor) for key in value)


def _plain_dict(value: Mapping[Any, Any], kind: type = dict, wrap: Callable[[Any], Any] = lambda made: made) -> Parts:
    keys = tuple(value)
    return Parts(kind, keys, list(value.values()), lambda children: wrap(dict(zip(keys, children, strict=True))))


def _registered(value: Any) -> Parts | None:
    """One level of a type that torch's pytree registry knows."""
    children, spec = pytree.tree_flatten(value, is_leaf=lambda node: node is not value)
    if len(children) == 1 and children[0] is value:
        return None
    if isinstance(value, Mapping) and not _nameable(value):
        return None
    keys = _registered_keys(value, len(children))
    return Parts(type(value), keys, children, lambda others: pytree.tree_unflatten(others, spec), spec.context)


def _registered_keys(value: Any, count: int) -> tuple[Any, ...]:
    """Names for the children of a registered type, as far as it tells them."""
    keys = tuple(value) if isinstance(value, Mapping) else getattr(value, "_fields", ())
    return keys if len(keys) == count else tuple(range(count))


# ── views of dicts ──

_VALUES: dict[type, Callable[[list[Any]], Any]] = {
    type({}.values()): lambda children: dict(enumerate(children)).values(),
    type(OrderedDict[Any, Any]().values()): lambda children: OrderedDict(enumerate(children)).values(),
}
_ITEMS: dict[type, Callable[[Any], Any]] = {
    type({}.items()): lambda made: made.items(),
    type(OrderedDict[Any, Any]().items()): lambda made: OrderedDict(made).items(),
}


VIEWS = (*_VALUES, *_ITEMS, MappingProxyType)


def _view(value: Any) -> Parts | None:
    """What shows the inside of a dict: values, items, a mapping proxy."""
    kind = type(value)
    if kind in _VALUES:
        return Parts(kind, tuple(range(len(value))), list(value), _VALUES[kind])
    if kind in _ITEMS and _nameable(dict(value)):
        return _plain_dict(dict(value), kind, _ITEMS[kind])
    if kind is MappingProxyType and _nameable(value):
        return _plain_dict(value, kind, MappingProxyType)
    return None


# ── what is derived of a container of Python's ──

_BASES = (OrderedDict, defaultdict, dict, list, deque, tuple)


def base_of(value: Any) -> type | None:
    """Which of Python's containers a value is, or is derived of; None for what is none."""
    return next((each for each in _BASES if isinstance(value, each)), None)


def _derived(value: Any) -> Parts | None:
    """A subclass of a dict, a list or a tuple: its items, and its own attributes."""
    base = base_of(value)
    if base is None or (isinstance(value, dict) and not _nameable(value)):
        return None
    named = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    attributes = dict(attributes_of(value))
    # ModelOutputs and the like have each item as an attribute too
    mirrored = [name for name, each in attributes.items() if name in named and named[name] is each]
    own = [name for name in attributes if name not in mirrored]
    keys = (*named, *own)

    def rebuild(children: list[Any]) -> Any:
        items = dict(zip(named, children[: len(named)], strict=True))
        made = _MAKE[base](value, items)
        _set_attributes(made, own, children[len(named) :])
        _set_attributes(made, mirrored, [items[name] for name in mirrored])
        return made

    return Parts(type(value), keys, [*named.values(), *(attributes[name] for name in own)], rebuild, len(named))


def _make_dict(base: Any) -> Callable[[Any, dict[Any, Any]], Any]:
    """Makes another one like a dict, by the methods of the base: those of a subclass may do anything."""

    def make(like: Any, items: dict[Any, Any]) -> Any:
        made = base.__new__(type(like))
        if isinstance(like, defaultdict):
            made.default_factory = like.default_factory
        for key, item in items.items():
            base.__setitem__(made, key, item)
        return made

    return make


def _make_list(like: list[Any], items: dict[Any, Any]) -> list[Any]:
    made = list.__new__(type(like))
    list.extend(made, items.values())
    return made


def _make_deque(like: deque[Any], items: dict[Any, Any]) -> deque[Any]:
    made = deque.__new__(type(like))
    deque.__init__(made, items.values(), like.maxlen)
    return made


def _make_tuple(like: tuple[Any, ...], items: dict[Any, Any]) -> Any:
    new = torch.Size.__new__ if isinstance(like, torch.Size) else tuple.__new__
    return new(type(like), tuple(items.values()))


_MAKE: dict[Any, Callable[[Any, dict[Any, Any]], Any]] = {
    **{base: _make_dict(base) for base in (OrderedDict, defaultdict, dict)},
    list: _make_list,
    deque: _make_deque,
    tuple: _make_tuple,
}


# ── objects ──


def _dataclass(value: Any) -> Parts | None:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    declared = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if hasattr(value, each.name)}
    return _of_attributes(value, declared | dict(attributes_of(value)))


def _object(value: Any) -> Parts | None:
    """An object whose class is written in Python; what can be called is code. Where no tensor is in it, it is opened
    only if it is surely nothing but its attributes."""
    kind = type(value)
    if isinstance(value, CLOSED) or callable(value) or _base(kind) is None:
        return None
    attributes = dict(attributes_of(value))
    if not _is_made_plainly(kind) and not holds_tensor(attributes):
        return None
    return _of_attributes(value, attributes)


def _base(kind: type) -> type | None:
    """The class that makes objects of a kind, if it is one that puts nothing into them but attributes."""
    base = next(each for each in kind.__mro__ if not is_written_in_python(each))
    return base if base in (object, SimpleNamespace) else None


def _is_made_plainly(kind: type) -> bool:
    made = kind.__new__ in (object.__new__, SimpleNamespace.__new__)
    return made and kind.__reduce_ex__ is object.__reduce_ex__


def _of_attributes(value: Any, attributes: Mapping[str, Any]) -> Parts:
    kind, names = type(value), tuple(attributes)
    make: Any = (_base(kind) or object).__new__

    def rebuild(children: list[Any]) -> Any:
        made = make(kind)
        _set_attributes(made, names, children)
        return made

    return Parts(kind, names, list(attributes.values()), rebuild)


def _set_attributes(made: Any, names: Iterable[str], values: Iterable[Any]) -> None:
    for name, child in zip(names, values, strict=True):
        object.__setattr__(made, name, child)  # a frozen dataclass refuses plain assignment


# ── tensors in what cannot be opened ──


def holds_tensor(value: Any) -> bool:
    """Whether a tensor is anywhere in what a value holds, however it holds it; models and classes are not looked
    into."""
    waiting, seen = [value], set[int]()
    while waiting:
        each = waiting.pop()
        kind = type(each)  # what is loaded when it is used is not asked, not even for its class
        if issubclass(kind, torch.Tensor):
            return True
        if id(each) in seen or issubclass(kind, (torch.nn.Module, type, ModuleType)):
            continue
        seen.add(id(each))
        waiting.extend(_held(each, kind))
    return False


def _held(value: Any, kind: type) -> Iterator[Any]:
    if issubclass(kind, (dict, MappingProxyType)):
        yield from value
        yield from value.values()
    elif issubclass(kind, (list, tuple, set, frozenset, deque, *_DICT_VIEWS)):
        yield from value
    elif kind is FunctionType:
        yield from (cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell))
        yield from value.__defaults__ or ()
    elif kind is functools.partial:
        yield from (value.func, *value.args, *value.keywords.values())
    elif kind is MethodType:
        yield value.__self__
    yield from (each for _, each in attributes_of(value))


_DICT_VIEWS = (type({}.keys()), type(OrderedDict[Any, Any]().keys()), *_VALUES, *_ITEMS)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (asking raises)
    except ValueError:
        return False
    return True


__all__ = ["CLOSED", "VIEWS", "Parts", "Rebuild", "base_of", "holds_tensor", "parts"]
