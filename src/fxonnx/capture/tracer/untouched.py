"""A model's modules as they were, whatever forward does to their attributes; what it assigns to tensors is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import torch
from torch import nn

Container: TypeAlias = "dict[Any, Any] | list[Any] | set[Any] | deque[Any]"
_CONTAINERS = (dict, list, set, deque)
_CLOSED = (torch.Tensor, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, str, int, float, type(None))
_LARGE = 1000  # elements; a container of more is data, and what is in its elements is not looked at


@dataclass(slots=True)
class Changes:
    """Tensors that a run replaced by others: (key, the tensor before, the one after, whether it is a buffer)."""

    tensors: list[tuple[str, torch.Tensor, Any, bool]] = field(default_factory=list)


@contextmanager
def untouched(model: nn.Module) -> Iterator[Changes]:
    """Put back the attributes of every module, and what the containers and plain objects among them hold: hooks,
    caches, flags and counters alike, so that what belongs together stays together. The random number generator too.

    Raises RuntimeError where a tensor of the model was really written to, past the recorder.
    """
    changes = Changes()
    modules = dict(model.named_modules())
    kept = Kept(modules.values())
    owned = [each for each in (*model.parameters(), *model.buffers()) if not each.is_inference()]
    versions = [(tensor, tensor._version) for tensor in owned]
    try:
        with torch.random.fork_rng(devices=()):
            yield changes
    finally:
        for path, module in modules.items():
            _note(changes, path, module, kept)
        kept.restore()
    if any(tensor._version != version for tensor, version in versions):
        raise RuntimeError("a parameter or buffer was written to in another thread while the model was captured")


def _note(changes: Changes, path: str, module: nn.Module, kept: Kept) -> None:
    """Note tensors among a module's attributes and buffers that are others now."""
    for owner, is_buffer in ((vars(module), False), (module._buffers, True)):
        before = kept.before(owner)
        for name, value in owner.items() if isinstance(owner, dict) else ():
            old = before.get(name)
            if isinstance(old, torch.Tensor) and isinstance(value, torch.Tensor) and value is not old:
                changes.tensors.append((f"{path}.{name}" if path else name, old, value, is_buffer))


class Kept:
    """The attributes of objects, and the contents of the containers and objects among them."""

    def __init__(self, roots: Any) -> None:
        self._contents: dict[int, tuple[Container, list[Any]]] = {}
        waiting: list[Any] = [vars(each) for each in roots]
        while waiting:
            owner = waiting.pop()
            if id(owner) in self._contents:
                continue
            content = _content(owner)
            self._contents[id(owner)] = owner, content
            if len(content) <= _LARGE:
                waiting.extend(_inner(owner))

    def before(self, owner: Any) -> dict[Any, Any]:
        """What a dict held."""
        known = self._contents.get(id(owner))
        return {} if known is None else dict(known[1])

    def restore(self) -> None:
        """Put everything back; what is as it was is not touched."""
        for owner, content in self._contents.values():
            if not _same(_content(owner), content):
                owner.clear()
                owner.update(content) if isinstance(owner, (dict, set)) else owner.extend(content)


def _inner(owner: Container) -> Iterator[Container]:
    """The containers among what a container holds, and the attributes of objects."""
    values = list(owner.values() if isinstance(owner, dict) else owner)
    while values:
        value = values.pop()
        if isinstance(value, _CONTAINERS):
            yield value
        elif isinstance(value, tuple):
            values.extend(value)
        elif not isinstance(value, _CLOSED) and isinstance(attributes := getattr(value, "__dict__", None), dict):
            yield attributes


def _content(owner: Container) -> list[Any]:
    return list(owner.items()) if isinstance(owner, dict) else list(owner)


def _same(now: list[Any], before: list[Any]) -> bool:
    """Whether two contents are of the same objects; a dict's are pairs, made anew each time."""
    if len(now) != len(before):
        return False
    return all(
        a is b or (type(a) is tuple is type(b) and len(a) == len(b) and all(map(is_, a, b)))
        for a, b in zip(now, before, strict=True)
    )
