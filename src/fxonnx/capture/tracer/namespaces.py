"""What a model's classes and source files keep: attributes of a class, globals, the containers among them, and caches
of functions. A model keeps tables of positions there, and counters."""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from torch import nn

_CODE = (ModuleType, type, FunctionType, BuiltinFunctionType, classmethod, staticmethod, property)
_CONTAINERS = (dict, list, set, defaultdict)  # not what is derived of them, which may do anything
_LARGE = 1000  # elements; a container of more is data


@dataclass(slots=True)
class Namespaces:
    """The namespaces of some modules as they were: each class, and the source file that it is in; torch's are not
    looked at. Names of code, which an import adds, are no matter."""

    owners: dict[Any, dict[str, Any]] = field(default_factory=dict)
    contents: list[tuple[str, Any, Any]] = field(default_factory=list)  # name, container, a copy
    caches: list[tuple[Any, int]] = field(default_factory=list)  # of functions, and how often it had nothing

    @staticmethod
    def of(modules: Iterable[nn.Module], functions: Iterable[Any]) -> Namespaces:
        """Those of the classes of modules, and of the files that functions are in."""
        found = Namespaces()
        for owner in dict.fromkeys(_owners(modules, functions)):
            names = found.owners[owner] = dict(vars(owner))
            for name, value in names.items():
                if type(value) in _CONTAINERS and len(value) <= _LARGE and not name.startswith("__"):
                    found.contents.append((f"{owner.__name__}.{name}", value, value.copy()))
                elif isinstance(value, functools._lru_cache_wrapper):
                    found.caches.append((value, value.cache_info().misses))
        return found

    def changed(self) -> list[str]:
        """The names of what is another now."""
        names = [f"{owner.__name__}.{name}" for owner, name, _ in self._replaced()]
        return names + [name for name, value, before in self.contents if not _same(value, before)]

    def restore(self) -> None:
        """Put everything back. A cache that was filled is emptied: what is in it belongs to the run."""
        for owner, name, before in list(self._replaced()):
            setattr(owner, name, before) if name in self.owners[owner] else delattr(owner, name)
        for _, value, before in self.contents:
            if not _same(value, before):
                value.clear()
                value.extend(before) if isinstance(value, list) else value.update(before)
        for cache, misses in self.caches:
            if cache.cache_info().misses != misses:
                cache.cache_clear()

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        """What is another object now: its owner, its name, and what it was."""
        for owner, names in self.owners.items():
            for name, value in list(vars(owner).items()):
                if names.get(name, names) is not value and not isinstance(value, _CODE) and not name.startswith("__"):
                    yield owner, name, names.get(name)


def _owners(modules: Iterable[nn.Module], functions: Iterable[Any]) -> Iterator[Any]:
    classes = dict.fromkeys(each for module in modules for each in type(module).__mro__)
    for each in classes:
        if not _is_torchs(each.__module__):
            yield each
    for name in dict.fromkeys([each.__module__ for each in (*classes, *functions)]):
        if name in sys.modules and not _is_torchs(name):
            yield sys.modules[name]


def _is_torchs(name: str) -> bool:
    return name.partition(".")[0] in ("torch", "builtins", "fxonnx")


def _same(value: Any, before: Any) -> bool:
    """Whether a container holds the objects that it held."""
    if len(value) != len(before):
        return False
    if isinstance(value, dict):
        return all(before.get(key, before) is each for key, each in value.items())
    return value == before if isinstance(value, set) else all(map(is_, value, before))
