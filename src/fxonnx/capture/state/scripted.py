"""What a TorchScript module keeps: attributes that only its own code sees, which no namespace of Python's has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fxonnx.capture.state.snapshot import ContainerSnapshot


def script_attributes(module: nn.Module) -> dict[str, Any]:
    """Their values now; of lists and dicts copies, whose elements are the module's own. None where it is no script."""
    if not isinstance(module, torch.jit.ScriptModule) or "_c" not in vars(module):
        return {}
    names = torch._C.ConcreteModuleType.from_jit_type(module._c._type()).get_attributes()
    values = {name: module._c.getattr(name) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, torch.ScriptObject)}


@dataclass(frozen=True, slots=True)
class ScriptSnapshot(ContainerSnapshot):
    """The attributes of a module of TorchScript, its `owner`."""

    @staticmethod
    def of(owner: Any, name: str) -> ContainerSnapshot:
        """What they are now."""
        return ScriptSnapshot(owner, script_attributes(owner), name)

    def now(self) -> dict[str, Any]:
        """The attributes; the object of before where it holds the same."""
        found = script_attributes(self.owner)
        return {name: _settled(self.before.get(name), value) for name, value in found.items()}

    def put_back(self, key: str) -> None:
        """One attribute, as it was."""
        self.owner._c.setattr(key, self.before[key])

    def restore(self) -> None:
        """Put those back that are others."""
        for key in self.changed_keys():
            self.put_back(key)


def _settled(before: Any, now: Any) -> Any:
    return before if _is_same(before, now) else now


def _is_same(before: Any, now: Any) -> bool:
    """Whether a value is the same, for values that are made anew of what TorchScript has."""
    if isinstance(before, torch.Tensor) or isinstance(now, torch.Tensor) or type(before) is not type(now):
        return before is now
    if isinstance(before, (list, tuple)):
        return len(before) == len(now) and all(map(_is_same, before, now))
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(_is_same(value, now[key]) for key, value in before.items())
    return bool(before == now)
