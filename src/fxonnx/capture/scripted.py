"""TorchScript modules: the attributes that only their own code sees, which no namespace of Python's has, and the
modules that they were made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def script_attributes(module: nn.Module) -> dict[str, Any]:
    """Their values now; of lists and dicts copies, whose elements are the module's own. None where it is no script."""
    if not isinstance(module, torch.jit.ScriptModule) or "_c" not in vars(module):
        return {}
    names = torch._C.ConcreteModuleType.from_jit_type(module._c._type()).get_attributes()
    values = {name: module._c.getattr(name) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, torch.ScriptObject)}


def scripted_of(module: nn.Module) -> nn.Module | None:
    """The module that torch.jit.script made a module of, as long as tensors, attributes and modes are the same."""
    if not isinstance(module, torch.jit.ScriptModule):
        return None
    original = getattr(getattr(vars(module).get("forward"), "__wrapped__", None), "__self__", None)
    return original if isinstance(original, nn.Module) and _is_same_module(module, original) else None


def _is_same_module(module: nn.Module, original: nn.Module) -> bool:
    """Whether it is; hooks in Python may have come after TorchScript was made."""
    known = dict(original.named_modules())
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in known.values())
    return not hooked and all(
        path in known and is_same(getattr(known[path], name, None), value)
        for path, each in module.named_modules()
        for name, value in script_attributes(each).items()
    )


def is_same(before: Any, now: Any) -> bool:
    """Whether a value is the same, for values that are made anew of what TorchScript has."""
    if isinstance(before, torch.Tensor) or isinstance(now, torch.Tensor) or type(before) is not type(now):
        return before is now
    if isinstance(before, (list, tuple)):
        return len(before) == len(now) and all(map(is_same, before, now))
    if isinstance(before, dict):
        return before.keys() == now.keys() and all(is_same(value, now[key]) for key, value in before.items())
    return bool(before == now)
