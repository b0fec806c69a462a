"""What a model's classes and source files keep: attributes of a class, globals, the containers among them, and caches
of functions. A model keeps tables of positions there, and counters."""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import nn

from fxonnx.capture.state.arrays import ArraySnapshot
from fxonnx.capture.state.snapshot import CONTAINERS, ContainerSnapshot

_CODE = (ModuleType, type, FunctionType, BuiltinFunctionType, classmethod, staticmethod, property)
_PLAIN = (*CONTAINERS, defaultdict)  # not what is derived of them, which may do anything
_CACHED = type(functools.cache(len))
_LARGE = 1000  # elements; a container of more is data


@dataclass(slots=True)
class ModuleGlobals:
    """The namespaces of some modules as they were: each class, and the source file that it is in; torch's are not
    looked at. Names of code, which an import adds, are no matter. Values are known by their types, and not asked for
    anything: some are loaded when they are asked."""

    owners: dict[Any, dict[str, Any]] = field(default_factory=dict)
    contents: list[ContainerSnapshot] = field(default_factory=list)
    arrays: list[ArraySnapshot] = field(default_factory=list)
    caches: list[tuple[Any, int]] = field(default_factory=list)  # of functions, and how often it had nothing
    functions: dict[str, FunctionType] = field(default_factory=dict)  # which may keep something, by name

    @staticmethod
    def of(modules: Iterable[nn.Module], functions: Iterable[Any]) -> ModuleGlobals:
        """Those of the classes of modules, and of the files that functions are in."""
        found = ModuleGlobals()
        for owner in dict.fromkeys(_owners(modules, functions)):
            names = found.owners[owner] = dict(vars(owner))
            for name, value in names.items():
                if type(value) in _PLAIN and len(value) <= _LARGE and not name.startswith("__"):
                    found.contents.append(ContainerSnapshot.of(value, f"{owner.__name__}.{name}"))
                elif type(value) is np.ndarray:
                    found.arrays.append(ArraySnapshot.of(value, f"{owner.__name__}.{name}"))
                elif type(value) is _CACHED:
                    found.caches.append((value, value.cache_info().misses))
                elif (function := _function(value)) is not None and not is_torchs(function.__module__):
                    found.functions[f"{owner.__name__}.{name}"] = function
        return found

    def changed(self) -> list[str]:
        """The names of what is another now."""
        names = [f"{owner.__name__}.{name}" for owner, name, _ in self._replaced()]
        return names + [each.name for each in self.contents if each.has_changed()]

    def restore(self) -> None:
        """Put everything back. A cache that was filled is emptied: what is in it belongs to the run."""
        for owner, name, before in list(self._replaced()):
            setattr(owner, name, before) if name in self.owners[owner] else delattr(owner, name)
        for each in self.contents:
            each.restore()
        for array in self.arrays:
            array.restore()
        for cache, misses in self.caches:
            if cache.cache_info().misses != misses:
                cache.cache_clear()

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        """What is another object now: its owner, its name, and what it was."""
        for owner, names in self.owners.items():
            for name, value in list(vars(owner).items()):
                is_code = issubclass(type(value), _CODE) or name.startswith("__")
                if names.get(name, names) is not value and not is_code:
                    yield owner, name, names.get(name)


def _owners(modules: Iterable[nn.Module], functions: Iterable[Any]) -> Iterator[Any]:
    classes = dict.fromkeys(each for module in modules for each in type(module).__mro__)
    for each in classes:
        if not is_torchs(each.__module__):
            yield each
    for name in dict.fromkeys([each.__module__ for each in (*classes, *functions)]):
        if name in sys.modules and not is_torchs(name):
            yield sys.modules[name]


def _function(value: Any) -> FunctionType | None:
    """The function that a name of code stands for, if it has something of its own: defaults, attributes, or variables
    of the function that it was made in."""
    value = value.__func__ if type(value) in (classmethod, staticmethod) else value
    if type(value) is not FunctionType:
        return None
    return value if value.__closure__ or value.__defaults__ or value.__kwdefaults__ or value.__dict__ else None


def is_torchs(name: str | None) -> bool:
    """Whether a module of this name is torch's, Python's or ours."""
    return (name or "").partition(".")[0] in ("torch", "builtins", "fxonnx")
