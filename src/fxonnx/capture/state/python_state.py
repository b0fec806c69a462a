"""A model's modules as they were, whatever forward does to their attributes; what it assigns to tensors is told."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from logging import Logger
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fxonnx.capture.locate import strip
from fxonnx.capture.scripted import script_attributes
from fxonnx.capture.state.arrays import ArraySnapshot
from fxonnx.capture.state.caches import CACHED, FunctionCache
from fxonnx.capture.state.iterators import Place, holds_iterator, kept
from fxonnx.capture.state.module_globals import ModuleGlobals, is_pythons, is_torchs
from fxonnx.capture.state.opaque import OPAQUE, OpaqueSnapshot, shared_by_all
from fxonnx.capture.state.scripted import ScriptSnapshot
from fxonnx.capture.state.snapshot import (
    CONTAINERS,
    ClosureSnapshot,
    ContainerSnapshot,
    Replaced,
    SlotSnapshot,
    closed_over,
    contents,
    namespace_of,
    slots_of,
)
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location

_CLOSED = (torch.Tensor, type, ModuleType, Logger, str, int, float, type(None))
_PLAIN = frozenset({bool, int, float, str, type(None), torch.Tensor, nn.Parameter, torch.device, torch.dtype})
_CONTENTS = (*CONTAINERS, np.ndarray)
_COMPILED = ("fxonnx.compiled", "fxonnx.saved")  # what calls of other threads keep there is not to be put back
_BOUND = (MethodType, BuiltinFunctionType)
Owner: TypeAlias = Any  # a container, a function, or an object with slots
_LARGE = 1000  # elements; a container of more is data, and what is in its elements is not looked at


@dataclass(slots=True)
class StateChanges:
    """What a run has changed: `tensors` that are others now, as (key, the one before, the one after, whether it is a
    buffer of the same sizes: a table that grows is a cache, wherever it is kept), and the names of `others`: attributes
    that are no tensors or had been none, globals, generators of random numbers that torch does not know, buffers of
    bytes. `arrays` are those of NumPy's among them that were written to. `contents` is what the attributes are now, by
    name; None where others than those have changed."""

    modules: dict[str, nn.Module]
    kept: Snapshot
    namespaces: ModuleGlobals
    shared: list[OpaqueSnapshot]
    tensors: list[tuple[str, torch.Tensor, Any, bool]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    contents: list[tuple[str, Any]] | None = field(default_factory=list)

    @staticmethod
    def of(model: nn.Module, functions: Iterable[Any]) -> StateChanges:
        """A model as it is now, nothing of which has changed."""
        modules = dict(model.named_modules())
        functions = list(functions)
        kept = Snapshot(modules, [(each.__qualname__, each) for each in functions])
        namespaces = ModuleGlobals.of(modules.values(), functions, kept.functions())
        kept.add(namespaces.kept)
        return StateChanges(modules, kept, namespaces, shared_by_all())

    def take_as_before(self, places: Iterable[Place]) -> None:
        """What is at some places now was there from the beginning."""
        for place in places:
            self.kept.take_as_before(place)
            self.namespaces.take_as_before(place)

    def restore(self) -> None:
        """Put everything back."""
        self.kept.restore()
        self.namespaces.restore()
        for each in self.shared:
            each.restore()

    def is_seeded(self, generator: torch.Generator) -> bool:
        """Whether forward has set the state of a generator that it found."""
        return any(each.owner is generator and each.has_changed() for each in self.kept.opaque)

    def look(self) -> None:
        """Take note of what has changed by now."""
        self.tensors, states = [], set()
        for name, each, key, pairs, is_buffer in self._replaced():
            self.tensors += [(f"{name}{path}", before, after, is_buffer) for path, before, after in pairs]
            states.add((id(each.owner), key))
        changed = [each[2:] for each in self.kept.changed() if (id(each[0]), each[1]) not in states]
        self.others = [name for name, _ in changed]
        self.others += self.namespaces.changed()
        self.others += [each.name for each in self.kept.caches if each.has_more()]
        self.others += [each.name for each in (*self.kept.opaque, *self.shared) if each.has_changed()]
        arrays = [each for each in self.kept.arrays if each.has_changed()]
        self.others += [each.name for each in arrays]
        self.arrays = [each.owner for each in arrays]
        self.contents = changed if len(changed) == len(self.others) else None

    def put_back(self, states: Collection[int]) -> None:
        """Exchange the tensors with these ids for those before: where they are states, the next call is told of their
        values."""
        for _, each, key, pairs, _ in list(self._replaced()):
            if any(id(after) in states for _, _, after in pairs):
                each.put_back(key)

    def held(self) -> Iterator[torch.Tensor]:
        """The tensors that the model, as it was found, held anywhere."""
        yield from self.kept.tensors()
        yield from self.namespaces.tensors()

    def _replaced(self) -> Iterator[tuple[str, ContainerSnapshot, Any, list[Replaced], bool]]:
        """The tensors that are others now: a name, who has them, at which key, them, and whether they are a buffer. In
        what a module holds (a tuple, a dict, an object), those of other sizes are caches."""
        for path, module in self.modules.items():
            for each in self.kept.of(module):
                of_buffers = each.owner is vars(module).get("_buffers")
                named = dict(module.named_buffers(recurse=False)) if isinstance(each, ScriptSnapshot) else {}
                for key, pairs in each.replaced_tensors():
                    is_buffer = (of_buffers or key in named) and _are_of_equal_sizes(pairs)
                    if isinstance(each.before[key], torch.Tensor) or _are_of_equal_sizes(pairs):
                        yield f"{path}.{key}" if path else key, each, key, pairs, is_buffer
        for each in self.kept.held:
            for key, pairs in each.replaced_tensors():
                if _are_of_equal_sizes(pairs):
                    yield each.name if key is None else f"{each.name}.{key}", each, key, pairs, False


def _are_of_equal_sizes(pairs: Iterable[Replaced]) -> bool:
    return not any(_has_other_sizes(before, after) for _, before, after in pairs)


def is_of_one_kind(before: torch.Tensor, after: Any) -> bool:
    """Whether a tensor is replaced by one of its dtype and sizes."""
    return getattr(after, "dtype", None) is before.dtype and not _has_other_sizes(before, after)


def _has_other_sizes(before: torch.Tensor, after: Any) -> bool:
    """Whether a tensor is replaced by one of other sizes: symbolic ones are, and are not asked."""
    sizes = [each if isinstance(each, int) else None for each in getattr(after, "shape", ())]
    return sizes != list(before.shape)


@contextmanager
def preserved(model: nn.Module, functions: Iterable[Any] = ()) -> Iterator[StateChanges]:
    """Put back the attributes of every module, and what the containers and plain objects among them hold: hooks,
    caches, flags and counters alike, so that what belongs together stays together. Their classes, the globals of their
    source files and the generators of random numbers too. `functions` are parts of the model that are no
    modules."""
    changes = StateChanges.of(model, functions)
    iterators = [*changes.kept.iterators, *changes.namespaces.iterators]
    with kept(iterators):
        changes.take_as_before(iterators)
        try:
            with torch.random.fork_rng(devices=()):
                yield changes
        finally:
            changes.restore()


def next_call_differs(names: Iterable[str], location: Location) -> CaptureRefused:
    """The error for a model whose next call depends on what the one before left under these names."""
    return CaptureRefused(
        f"forward changes {_listed(names)}, and does something else at its next call",
        cause="a file keeps tensors from call to call, and of everything else what it was at the first one",
        cure="make it an argument and a result; or keep it in a buffer (register_buffer) that __init__ makes, of fixed "
        "sizes, and write to that; draw random numbers with torch.rand; what depends on the inputs, compute at each "
        "call; where only the first call prepares the model, call it once before it is compiled",
        location=location,
    )


def next_call_untold(names: Iterable[str], ways: int, location: Location) -> CaptureRefused:
    """The error for a model whose next call may depend on what the one before left under these names, on one of many
    ways."""
    return CaptureRefused(
        f"forward changes {_listed(names)}, and whether its next call does something else cannot be told",
        cause=f"it has {ways} ways through its decisions by data, too many to try each after each",
        cure="keep what one call needs in variables of forward, and hand it on in arguments, not in attributes",
        location=location,
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = sorted({strip(name) or "the model" for name in names})
    return f"{', '.join(most)}{' and ' if most else ''}{last}"


@contextmanager
def unwritten(model: nn.Module) -> Iterator[None]:
    """Raises RuntimeError where a tensor of the model was really written to by the end."""
    own = (each for each in (*model.parameters(), *model.buffers()) if not is_lazy(each))
    owned = [each for each in own if not each.is_inference()]
    versions = [(tensor, tensor._version) for tensor in owned]
    yield
    if any(tensor._version != version for tensor, version in versions):
        raise RuntimeError("a parameter or buffer was written to in another thread while the model was captured")


class Snapshot:
    """The attributes of modules, and the contents of the containers, objects and functions among them; each with a
    name."""

    def __init__(self, modules: dict[str, nn.Module], others: Iterable[tuple[str, Any]]) -> None:
        self.arrays: list[ArraySnapshot] = []
        self.opaque: list[OpaqueSnapshot] = []
        self.iterators: list[Place] = []
        self.caches: list[FunctionCache] = []
        self._contents: dict[int, ContainerSnapshot] = {}
        self._roots = {id(vars(module)) for module in modules.values()} | {id(module) for module in modules.values()}
        self._waiting: list[tuple[Owner, str]] = [(vars(module), path) for path, module in modules.items()]
        self._open()
        self.held = self._held_by(modules.values())
        self.add(others)
        for path, module in modules.items():
            if script_attributes(module):
                self._contents[id(module)] = ScriptSnapshot.of(module, path)

    def _held_by(self, modules: Iterable[nn.Module]) -> list[ContainerSnapshot]:
        """What modules hold that has a state: no function, and not where they have tensors of their own."""
        own = {id(vars(module).get(name)) for module in modules for name in ("_buffers", "_parameters")}
        own |= self._roots
        return [
            each
            for owner, each in self._contents.items()
            if owner not in own and not isinstance(each.owner, FunctionType)
        ]

    def tensors(self) -> Iterator[torch.Tensor]:
        """Those that there are in all of it."""
        return chain.from_iterable(each.tensors() for each in self._contents.values())

    def add(self, others: Iterable[tuple[str, Any]]) -> None:
        """Look at more values, and at what they hold."""
        for name, value in others:
            for key, inner in _kept([("", value)]):
                self._take(None, key, inner, name)
        self._open()

    def take_as_before(self, place: Place) -> None:
        """What is at a place now was there from the beginning; a function's defaults are not looked at."""
        found = self._contents.get(id(place.owner))
        if found is not None and place.key != "":
            found.before[place.key] = place.now()

    def functions(self) -> Iterator[FunctionType]:
        """The functions among what it has looked at."""
        return (each.owner for each in self._contents.values() if isinstance(each.owner, FunctionType))

    def _open(self) -> None:
        while self._waiting:
            owner, name = self._waiting.pop()
            if id(owner) in self._contents:
                continue
            snapshot = self._contents[id(owner)] = _snapshot(owner, name)
            held = [pair for pair in _held(snapshot) if type(pair[1]) not in _PLAIN]
            for key, inner in _kept(held) if held else ():
                self._take(owner, key, inner, self._name(owner, name, key))

    def _take(self, owner: Any, key: Any, inner: Any, name: str) -> None:
        """Note what an owner has at a key, or lay it up to be opened."""
        if isinstance(inner, np.ndarray):
            self.arrays.append(ArraySnapshot.of(inner, name))
        elif type(inner) in OPAQUE:
            self.opaque.append(OpaqueSnapshot.of(inner, name))
        elif type(inner) is CACHED:
            self._take_cache(inner, name)
        elif holds_iterator(inner):
            self.iterators.append(Place(owner, key, name))
        else:
            self._waiting.append((inner, name))

    def _take_cache(self, cache: Any, name: str) -> None:
        """Note a function's cache, and what can be written to in it; what the function itself holds is looked at."""
        if all(each.cache is not cache for each in self.caches):
            self.caches.append(FunctionCache.of(cache, name))
            self.add([(name, each) for each in (*self.caches[-1].results(), vars(cache))])

    def _name(self, owner: Any, name: str, key: Any) -> str:
        """What is called "path.attribute" and holds others gives them its name; a function's variables have theirs."""
        is_named = id(owner) in self._roots or (isinstance(owner, FunctionType) and key)
        return name if not is_named else f"{name}.{key}" if name else str(key)

    def of(self, module: nn.Module) -> Iterator[ContainerSnapshot]:
        """Where a module has tensors of its own that are no parameters."""
        owners = (vars(module), vars(module).get("_buffers"), module)
        yield from (self._contents[id(owner)] for owner in owners if id(owner) in self._contents)

    def changed(self) -> Iterator[tuple[Any, Any, str, Any]]:
        """What is another now: the container, the key if it is a dict, a name, and what it is."""
        for each in self._contents.values():
            if not each.has_changed():
                continue
            now = each.now()
            for key in each.changed_keys():
                value = each.owner if key is None else now.get(key)
                yield each.owner, key, self._name(each.owner, each.name, key), value

    def restore(self) -> None:
        """Put everything back."""
        for each in self._contents.values():
            if each.before or each.now():  # most are empty: hooks
                each.restore()
        for array in self.arrays:
            array.restore()
        for opaque in self.opaque:
            opaque.restore()
        for cache in self.caches:
            cache.restore()


def _snapshot(owner: Owner, name: str) -> ContainerSnapshot:
    if isinstance(owner, CONTAINERS):
        return ContainerSnapshot.of(owner, name)
    if isinstance(owner, FunctionType):
        return ClosureSnapshot.of(owner, name)
    return SlotSnapshot.of(owner, name)


def _kept(values: list[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The containers, functions, arrays and iterators among some values, and the attributes of objects, with their
    keys."""
    while values:
        key, value = values.pop()
        kind = type(value)  # the object is not asked: one that is loaded when it is used stays as it is
        if issubclass(kind, _CONTENTS) or kind in OPAQUE or kind is CACHED or holds_iterator(value):
            yield key, value
        elif kind is FunctionType:
            if not is_torchs(value.__module__):
                yield key, value
        elif issubclass(kind, tuple):
            values.extend((key, each) for each in contents(value))
        elif kind in _BOUND:
            values.extend((key, each) for each in (value.__self__, getattr(value, "__func__", None)))
        elif kind is partial:
            values.extend((key, each) for each in (value.func, value.args, value.keywords))
        elif issubclass(kind, threading.local):
            yield key, vars(value)
        elif not issubclass(kind, _CLOSED) and not kind.__module__.startswith(_COMPILED):
            if isinstance(attributes := namespace_of(value), dict):
                yield key, attributes
            if slots_of(kind) and not is_pythons(kind.__module__):
                yield key, value


def _held(snapshot: ContainerSnapshot) -> Iterable[tuple[Any, Any]]:
    """What a container holds; of a function the variables that it closes over, its defaults and its attributes."""
    owner, held = snapshot.owner, snapshot.before
    if isinstance(owner, FunctionType):
        own = (*(owner.__defaults__ or ()), owner.__kwdefaults__, vars(owner))
        return [*closed_over(owner).items(), *(("", each) for each in own)]
    if isinstance(owner, CONTAINERS) and len(held) > _LARGE:
        return []
    return held.items() if isinstance(held, dict) else enumerate(held)
