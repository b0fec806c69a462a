"""What a container holds, to tell whether it holds something else later, and to put it back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from operator import is_
from types import FunctionType, MemberDescriptorType
from typing import Any, Self, TypeAlias

import torch

Container: TypeAlias = "dict[Any, Any] | list[Any] | set[Any] | deque[Any]"
CONTAINERS = (dict, list, set, deque)
Replaced: TypeAlias = tuple[str, torch.Tensor, torch.Tensor]  # names that lead to it, before, after


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    """A container, the objects that were in it, and a name for it."""

    owner: Any
    before: Any  # a dict, or a list
    name: str

    @classmethod
    def of(cls, owner: Any, name: str) -> Self:
        """What it holds now."""
        return cls(owner, contents(owner), name)

    def now(self) -> Any:
        """What it holds now, a dict or a list."""
        return contents(self.owner)

    def has_changed(self) -> bool:
        """Whether it holds other objects, or in another order."""
        now, before = self.now(), self.before
        if len(now) != len(before) or not all(map(is_, now, before)):
            return True
        return isinstance(now, dict) and not all(map(_is_same, now.values(), before.values()))

    def changed_keys(self) -> Iterator[Any]:
        """The keys of a dict that are new, gone, or of another object; None, once, of what is no dict."""
        now = self.now()
        if not isinstance(now, dict):
            yield None
            return
        for key in now.keys() | self.before.keys():
            if not _is_same(now.get(key, self), self.before.get(key, self)):
                yield key

    def replaced_tensors(self) -> Iterator[tuple[Any, list[Replaced]]]:
        """The tensors of an entry that are others, by its key, where nothing else of it is: `self.hidden = (h, c)`.
        What is no dict is one entry."""
        now = self.now()
        if isinstance(self.owner, set) or not self.has_changed():
            return
        for key in sorted(self.changed_keys(), key=str):
            before, after = (each.get(key) if isinstance(each, dict) else each for each in (self.before, now))
            if found := replaced(before, after):
                yield key, found

    def put_back(self, key: Any) -> None:
        """One entry of a dict, as it was; what is no dict as a whole."""
        if isinstance(self.before, dict):
            self.owner[key] = self.before[key]
        else:
            self.restore()

    def tensors(self) -> Iterator[torch.Tensor]:
        """Those that were in it, in tuples too."""
        waiting = [*self.before.values()] if isinstance(self.before, dict) else [*self.before]
        while waiting:
            each = waiting.pop()
            if isinstance(each, torch.Tensor):
                yield each
            elif isinstance(each, tuple):
                waiting.extend(contents(each))

    def restore(self) -> None:
        """Put it back; what is as it was is not touched."""
        owner, before = self.owner, self.before
        if self.has_changed():
            owner.clear()
            owner.update(before) if isinstance(owner, (dict, set)) else owner.extend(before)
        elif isinstance(owner, dict) and not all(map(is_, owner.values(), before.values())):
            owner.update(before)


@dataclass(frozen=True, slots=True)
class NamedSnapshot(ContainerSnapshot):
    """What an `owner` holds under names, to be read and put back one by one."""

    @staticmethod
    def read(owner: Any, /) -> dict[str, Any]:
        """What it holds now."""
        raise NotImplementedError

    @classmethod
    def of(cls, owner: Any, name: str) -> Self:
        """What it holds now."""
        return cls(owner, cls.read(owner), name)

    def now(self) -> dict[str, Any]:
        """What it holds now."""
        return self.read(self.owner)

    def restore(self) -> None:
        """Put those back that are others."""
        for key in list(self.changed_keys()):
            self.put_back(key)


def contents(value: Any) -> Any:
    """What a container holds, as a dict or a list, by the methods of the base: those of a subclass may do anything."""
    if isinstance(value, dict):
        return dict(dict.items(value)) if dict.__len__(value) else {}  # most are empty: hooks
    base = next(each for each in (list, tuple, set, deque) if isinstance(value, each))
    return [*base.__iter__(value)]


def _is_same(one: Any, other: Any) -> bool:
    """Whether it is the same object, or a list of the same ones: `self.anchors = [each.to(x) for each in …]`."""
    is_list = type(one) is type(other) and type(one) in (list, tuple) and len(one) == len(other)
    return one is other or (is_list and all(map(is_, one, other)))


def replaced(before: Any, after: Any) -> list[Replaced] | None:
    """The tensors of a value that are others in the one that took its place, each with the names that lead to it; None
    where more than tensors has changed."""
    if before is after:
        return []
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        return [("", before, after)]
    one, other = _entries(before), _entries(after)
    if type(before) is not type(after) or one is None or other is None or one.keys() != other.keys():
        return None
    found: list[Replaced] = []
    for key in one:
        inner = replaced(one[key], other[key])
        if inner is None:
            return None
        found += [(f".{key}{path}", *tensors) for path, *tensors in inner]
    return found


def _entries(value: Any) -> dict[Any, Any] | None:
    """What a dict, a list or a tuple holds, by its key or place; None of others."""
    if isinstance(value, dict):
        return contents(value)
    return dict(enumerate(contents(value))) if isinstance(value, (list, tuple)) else None


def closed_over(function: FunctionType) -> dict[str, Any]:
    """The variables of other functions that a function uses, as far as they have been set."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # what is not set yet
            found[name] = cell.cell_contents
    return found


def namespace_of(value: Any) -> dict[str, Any] | None:
    """The dict of an object's attributes, if it has one, without asking the object: that may import or compute."""
    return object.__getattribute__(value, "__dict__") if type(value).__dictoffset__ else None


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object has of its own, those in slots too, without asking it."""
    yield from (namespace_of(value) or {}).items()
    yield from in_slots(value).items()


def in_slots(value: Any) -> dict[str, Any]:
    """What the slots of an object hold, but for empty ones."""
    found: dict[str, Any] = {}
    for name, member in slots_of(type(value)).items():
        with suppress(AttributeError):
            found[name] = member.__get__(value)
    return found


def slots_of(kind: type) -> Mapping[str, Any]:
    """The slots of a class, by name."""
    hashable: Any = kind
    return _slots(hashable)


@cache
def _slots(kind: type) -> Mapping[str, Any]:
    return {
        name: member
        for each in reversed(kind.__mro__) if is_written_in_python(each)
        for name, member in vars(each).items() if isinstance(member, MemberDescriptorType)
    }  # fmt: skip


def is_written_in_python(kind: type) -> bool:
    """Whether a class was made by a class statement, so that what its objects are is in their attributes."""
    return bool(kind.__flags__ & _HEAP_TYPE)


_HEAP_TYPE = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE


@dataclass(frozen=True, slots=True)
class ClosureSnapshot(NamedSnapshot):
    """The variables that a function, the `owner`, closes over."""

    read = staticmethod(closed_over)

    def put_back(self, key: str) -> None:
        """One variable, as it was."""
        cell = self.owner.__closure__[self.owner.__code__.co_freevars.index(key)]
        if key in self.before:
            cell.cell_contents = self.before[key]
        else:
            del cell.cell_contents


@dataclass(frozen=True, slots=True)
class SlotSnapshot(NamedSnapshot):
    """What the slots of an object, the `owner`, hold."""

    read = staticmethod(in_slots)

    def put_back(self, key: str) -> None:
        """One slot, as it was."""
        member = slots_of(type(self.owner))[key]
        if key in self.before:
            member.__set__(self.owner, self.before[key])
        else:
            member.__delete__(self.owner)


__all__ = [
    "CONTAINERS",
    "ClosureSnapshot",
    "Container",
    "ContainerSnapshot",
    "NamedSnapshot",
    "Replaced",
    "SlotSnapshot",
    "attributes_of",
    "closed_over",
    "in_slots",
    "is_written_in_python",
    "namespace_of",
    "replaced",
    "slots_of",
]
