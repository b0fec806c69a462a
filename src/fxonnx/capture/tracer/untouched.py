"""A model's modules as they were, whatever forward assigns to them; what it assigns to buffers is told first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

_TABLES = ("_parameters", "_buffers", "_modules")


@dataclass(slots=True)
class Changes:
    """Buffers that a run replaced by another tensor: (state_dict key, the tensor before, the one after)."""

    buffers: list[tuple[str, torch.Tensor, Any]] = field(default_factory=list)


@contextmanager
def untouched(model: nn.Module) -> Iterator[Changes]:
    """Put every attribute of every module back, after the body has filled in nothing and read what changed."""
    changes = Changes()
    modules = list(model.named_modules())
    before = [_attributes(module) for _, module in modules]
    try:
        yield changes
    finally:
        for (path, module), kept in zip(modules, before, strict=True):
            _note(changes, path, module, kept)
            _restore(module, kept)


def _attributes(module: nn.Module) -> list[dict[str, Any]]:
    return [dict(vars(module)), *(dict(vars(module)[table]) for table in _TABLES)]


def _note(changes: Changes, path: str, module: nn.Module, kept: list[dict[str, Any]]) -> None:
    for name, value in module._buffers.items():
        before = kept[2].get(name)
        if before is not None and value is not before:
            changes.buffers.append((f"{path}.{name}" if path else name, before, value))


def _restore(module: nn.Module, kept: list[dict[str, Any]]) -> None:
    own, *tables = kept
    _put_back(vars(module), own)
    for table, content in zip(_TABLES, tables, strict=True):
        _put_back(vars(module)[table], content)


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    """The dict with its old content; not touched where it still has it."""
    if len(now) == len(before) and all(now.get(name, now) is value for name, value in before.items()):
        return
    now.clear()
    now.update(before)
