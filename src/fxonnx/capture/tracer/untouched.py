"""A model's modules as they were, whatever forward does to their attributes; what it assigns to buffers is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import is_
from typing import Any

import torch
from torch import nn


@dataclass(slots=True)
class Changes:
    """Buffers that a run replaced by another tensor: (state_dict key, the tensor before, the one after)."""

    buffers: list[tuple[str, torch.Tensor, Any]] = field(default_factory=list)


@contextmanager
def untouched(model: nn.Module) -> Iterator[Changes]:
    """Put the attributes of every module back, and what the dicts, lists and sets among them hold: hooks, caches,
    flags and counters alike, so that what belongs together stays together."""
    changes = Changes()
    kept = [(path, module, Kept(vars(module))) for path, module in model.named_modules()]
    try:
        yield changes
    finally:
        for path, module, each in kept:
            _note_buffers(changes, path, module, each)
            each.restore()


def _note_buffers(changes: Changes, path: str, module: nn.Module, kept: Kept) -> None:
    before = next(dict(content) for owner, content in kept.contents if owner is module._buffers)
    for name, value in module._buffers.items():
        if before.get(name) is not None and value is not before[name]:
            changes.buffers.append((f"{path}.{name}" if path else name, before[name], value))


class Kept:
    """The attributes of one object, and the contents of the containers among them."""

    __slots__ = ("attributes", "contents")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        containers = [value for value in attributes.values() if isinstance(value, (dict, list, set))]
        self.contents: list[tuple[Any, list[Any]]] = [(each, _content(each)) for each in (attributes, *containers)]

    def restore(self) -> None:
        """Put everything back; what is as it was is not touched."""
        for owner, content in self.contents:
            if not _same(_content(owner), content):
                owner.clear()
                owner.extend(content) if isinstance(owner, list) else owner.update(content)


def _content(owner: Any) -> list[Any]:
    return list(owner.items()) if isinstance(owner, dict) else list(owner)


def _same(now: list[Any], before: list[Any]) -> bool:
    """Whether two contents are of the same objects; a dict's are pairs, made anew each time."""
    if len(now) != len(before):
        return False
    return all(
        a is b or (type(a) is tuple is type(b) and len(a) == len(b) and all(map(is_, a, b)))
        for a, b in zip(now, before, strict=True)
    )
