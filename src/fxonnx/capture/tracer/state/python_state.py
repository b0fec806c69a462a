"""A model's modules as they were, whatever forward does to their attributes; what it assigns to tensors is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from fxonnx.capture.tracer.state.generators import Generator, generators
from fxonnx.capture.tracer.state.module_globals import ModuleGlobals
from fxonnx.capture.tracer.state.snapshot import CONTAINERS, Container, ContainerSnapshot

_CLOSED = (torch.Tensor, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, str, int, float, type(None))
_LARGE = 1000  # elements; a container of more is data, and what is in its elements is not looked at


@dataclass(slots=True)
class StateChanges:
    """What a run has changed: `tensors` that are others now, as (key, the one before, the one after, whether it is a
    buffer), and the names of `others`: attributes that are no tensors or had been none, globals, and generators of
    random numbers that torch does not know."""

    modules: dict[str, nn.Module]
    kept: Snapshot
    namespaces: ModuleGlobals
    generators: list[Generator]
    tensors: list[tuple[str, torch.Tensor, Any, bool]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Take note of what has changed by now."""
        states = set()
        for path, module in self.modules.items():
            for owner, is_buffer in ((vars(module), False), (module._buffers, True)):
                for name, before, after in self.kept.replaced_tensors(owner):
                    self.tensors.append((f"{path}.{name}" if path else name, before, after, is_buffer))
                    states.add((id(owner), name))
        self.others = [name for owner, key, name in self.kept.changed() if (id(owner), key) not in states]
        self.others += self.namespaces.changed()
        self.others += [each.name for each in self.generators if each.has_moved()]

    def put_back_tensors(self) -> None:
        """Exchange the tensors for those before: where they are states, the next call is told of their values."""
        for module in self.modules.values():
            for owner in (vars(module), module._buffers):
                for name, before, _ in list(self.kept.replaced_tensors(owner)):
                    owner[name] = before


@contextmanager
def preserved(model: nn.Module, functions: Iterable[Any] = ()) -> Iterator[StateChanges]:
    """Put back the attributes of every module, and what the containers and plain objects among them hold: hooks,
    caches, flags and counters alike, so that what belongs together stays together. Their classes, the globals of their
    source files and the generators of random numbers too. `functions` are parts of the model that are no
    modules.

    Raises RuntimeError where a tensor of the model was really written to, past the recorder.
    """
    modules = dict(model.named_modules())
    namespaces = ModuleGlobals.of(modules.values(), functions)
    changes = StateChanges(modules, Snapshot(modules), namespaces, generators())
    owned = [each for each in (*model.parameters(), *model.buffers()) if not each.is_inference()]
    versions = [(tensor, tensor._version) for tensor in owned]
    try:
        with torch.random.fork_rng(devices=()):
            yield changes
    finally:
        changes.kept.restore()
        changes.namespaces.restore()
        for generator in changes.generators:
            generator.restore()
    if any(tensor._version != version for tensor, version in versions):
        raise RuntimeError("a parameter or buffer was written to in another thread while the model was captured")


class Snapshot:
    """The attributes of objects, and the contents of the containers and objects among them; each with a name."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._contents: dict[int, ContainerSnapshot] = {}
        waiting: list[tuple[Container, str]] = [(vars(module), path) for path, module in modules.items()]
        self._roots = {id(owner) for owner, _ in waiting}
        while waiting:
            owner, name = waiting.pop()
            if id(owner) in self._contents:
                continue
            self._contents[id(owner)] = ContainerSnapshot.of(owner, name)
            if len(owner) <= _LARGE:
                waiting.extend((inner, self._name(owner, name, key)) for key, inner in _inner(owner))

    def _name(self, owner: Container, name: str, key: Any) -> str:
        """What is called "path.attribute" and holds others gives them its name."""
        return name if id(owner) not in self._roots else f"{name}.{key}" if name else str(key)

    def replaced_tensors(self, owner: Any) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """What was a tensor and is another one."""
        known = self._contents.get(id(owner))
        if known is None or not isinstance(owner, dict) or not known.has_changed():
            return
        for name in known.changed_keys():
            old, value = known.before.get(name), owner.get(name)
            if isinstance(old, torch.Tensor) and isinstance(value, torch.Tensor):
                yield name, old, value

    def changed(self) -> Iterator[tuple[Container, Any, str]]:
        """What is another now: the container, the key if it is a dict, a name. Only dicts are roots."""
        for each in self._contents.values():
            if not each.has_changed():
                continue
            for key in each.changed_keys() if isinstance(each.owner, dict) else (None,):
                yield each.owner, key, self._name(each.owner, each.name, key)

    def restore(self) -> None:
        """Put everything back."""
        for each in self._contents.values():
            each.restore()


def _inner(owner: Container) -> Iterator[tuple[Any, Container]]:
    """The containers among what a container holds, and the attributes of objects, with their keys."""
    values = list(owner.items() if isinstance(owner, dict) else enumerate(owner))
    while values:
        key, value = values.pop()
        if isinstance(value, CONTAINERS):
            yield key, value
        elif isinstance(value, tuple):
            values.extend((key, each) for each in value)
        elif not isinstance(value, _CLOSED) and isinstance(attributes := getattr(value, "__dict__", None), dict):
            yield key, attributes
