"""What a model's classes and source files keep: attributes of a class, globals, the containers among them, and caches
of functions. A model keeps tables of positions there, and counters."""

from __future__ import annotations

import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from fxonnx.capture.locate import is_users
from fxonnx.capture.state.caches import CACHED, FunctionCache, SharedCache
from fxonnx.capture.state.iterators import Place, holds_iterator
from fxonnx.capture.state.opaque import OPAQUE
from fxonnx.capture.state.said import Names, names_said
from fxonnx.capture.state.snapshot import CONTAINERS, is_written_in_python

_CODE = (ModuleType, type, FunctionType, BuiltinFunctionType, classmethod, staticmethod, property)
_PLAIN = (*CONTAINERS, defaultdict, OrderedDict, Counter)  # not what else is derived, which may do anything
_KEPT = frozenset((*_PLAIN, *OPAQUE, np.ndarray, threading.local))


@dataclass(slots=True)
class ModuleGlobals:
    """The namespaces of some modules as they were: each class, and of the source file that it is in the names that the
    model's code says; torch's are not looked at. Names of code, which an import adds, are no matter. Values are known
    by their types, and not asked for anything: some are loaded when they are asked."""

    said: Names
    owners: dict[Any, dict[str, Any]] = field(default_factory=dict)
    caches: list[FunctionCache] = field(default_factory=list)
    kept: list[tuple[str, Any]] = field(default_factory=list)  # containers, functions and objects, by name
    iterators: list[Place] = field(default_factory=list)

    @staticmethod
    def of(modules: Iterable[nn.Module], functions: Iterable[Any], called: Iterable[Any] = ()) -> ModuleGlobals:
        """Those of the classes of modules, and of the files that functions are in; `called` are functions that the
        model keeps, such as hooks."""
        owners = list(dict.fromkeys(_owners(modules, functions)))
        classes = [owner for owner in owners if isinstance(owner, type)]
        files = [vars(owner) for owner in owners if not isinstance(owner, type)]
        found = ModuleGlobals(names_said([*classes, *functions, *called], files))
        for owner in owners:
            names = found.owners[owner] = dict(vars(owner))
            for name, value in names.items():
                if found._is_looked_at(owner, name):
                    found._note(owner, name, value)
        noted = {id(each.cache) for each in found.caches}
        found.caches += (SharedCache.of(each, name) for name, each in _loaded() if id(each) not in noted)
        return found

    def _is_looked_at(self, owner: Any, name: str) -> bool:
        return not name.startswith("__") and (isinstance(owner, type) or name in self.said)

    def _note(self, owner: Any, name: str, value: Any) -> None:
        path = f"{owner.__name__}.{name}"
        if type(value) is CACHED:
            self.caches.append(FunctionCache.of(value, path))
            self.kept += [(path, each) for each in self.caches[-1].results()]
        elif holds_iterator(value):
            self.iterators.append(Place(owner, name, path))
        elif (function := _function(value)) is not None and not is_torchs(function.__module__):
            self.kept.append((path, function))
        elif type(value) in _KEPT or _is_of_the_house(owner, value):
            self.kept.append((path, value))

    def tensors(self) -> Iterator[torch.Tensor]:
        """Those that had a name of their own."""
        for owner, names in self.owners.items():
            for name, value in names.items():
                if issubclass(type(value), torch.Tensor) and self._is_looked_at(owner, name):
                    yield value

    def changed(self) -> list[str]:
        """The names of what is another now; a cache that was filled with what can be written to, which only the next
        call tells."""
        filled = [each.name for each in self.caches if each.has_more()]
        return [*filled, *(f"{owner.__name__}.{name}" for owner, name, _ in self._replaced())]

    def take_as_before(self, place: Place) -> None:
        """What is at a place now was there from the beginning."""
        if isinstance(place.owner, (type, ModuleType)) and place.owner in self.owners:
            self.owners[place.owner][place.key] = place.now()

    def restore(self) -> None:
        """Put everything back."""
        for owner, name, before in list(self._replaced()):
            setattr(owner, name, before) if name in self.owners[owner] else delattr(owner, name)
        for each in self.caches:
            each.restore()

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        """What is another object now: its owner, its name, and what it was."""
        for owner, names in self.owners.items():
            for name, value in vars(owner).copy().items():
                is_replaced = names.get(name, names) is not value and not issubclass(type(value), _CODE)
                if is_replaced and self._is_looked_at(owner, name):
                    yield owner, name, names.get(name)


_LOOKED_THROUGH = set[str]()  # names of modules
_LOADED: list[tuple[str, Any]] = []


def _loaded() -> list[tuple[str, Any]]:
    """The functions with caches in all loaded files, by name: the model's files call those of others. Each file is
    looked through once."""
    modules = sys.modules.copy()  # at once: other threads import
    for file in modules.keys() - _LOOKED_THROUGH:
        _LOOKED_THROUGH.add(file)
        if modules[file] is not None and not is_pythons(file):
            names = vars(modules[file]).copy()
            _LOADED.extend((f"{file}.{name}", value) for name, value in names.items() if type(value) is CACHED)
    return _LOADED


def _owners(modules: Iterable[nn.Module], functions: Iterable[Any]) -> Iterator[Any]:
    """The classes, the source files that they are in, other classes of those, and modules of the user's that those
    name."""
    classes = dict.fromkeys(each for module in modules for each in type(module).__mro__)
    for each in classes:
        if not is_torchs(each.__module__):
            yield each
    for name in dict.fromkeys([each.__module__ for each in (*classes, *functions)]):
        if name in sys.modules and not is_torchs(name):
            yield sys.modules[name]
            yield from (each for each in vars(sys.modules[name]).copy().values() if _is_at_home(each, name))


def _is_at_home(value: Any, name: str) -> bool:
    """Whether a value that a source file names is a class of its own, or a module that is no library."""
    if type(value) is ModuleType:
        return is_users(getattr(value, "__file__", None) or "<>") and "-packages" not in (value.__file__ or "")
    return issubclass(type(value), type) and value.__module__ == name


def _is_of_the_house(owner: Any, value: Any) -> bool:
    """Whether a value is an object of a class of the same package."""
    kind = type(value)
    package = (owner.__module__ if isinstance(owner, type) else owner.__name__).partition(".")[0]
    is_object = is_written_in_python(kind) and not issubclass(kind, (type, nn.Module, torch.Tensor, *CONTAINERS))
    return is_object and (kind.__module__ or "").partition(".")[0] == package


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


def is_pythons(name: str | None) -> bool:
    """Whether a module of this name is torch's, ours or of the standard library."""
    return is_torchs(name) or (name or "").partition(".")[0] in sys.stdlib_module_names
