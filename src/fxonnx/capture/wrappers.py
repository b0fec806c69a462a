"""What stands around a model without computing anything: torch.compile, torch.jit.script, the data-parallel modules."""

from __future__ import annotations

from typing import Any

from torch import nn

from fxonnx.capture.scripted import scripted_of

COMPILED = "_orig_mod"
"""The name under which the module that `torch.compile` returns holds the one it was given."""


def unwrapped(model: Any) -> Any:
    """The model inside of `torch.compile(model)`, `torch.jit.script(model)`, `nn.DataParallel(model)` and
    DistributedDataParallel, nested or not; another model as it is."""
    while (inner := _inner(model)) is not None:
        model = inner
    return model


def _inner(model: Any) -> Any:
    if not isinstance(model, nn.Module):
        return getattr(model, "_torchdynamo_orig_callable", None)  # of a function, or a module's method
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return model.module
    return getattr(model, COMPILED, None) if COMPILED in model._modules else scripted_of(model)


def without_wrappers(path: str) -> str:
    """A path of modules or a weight's key without the levels that `torch.compile` adds to it."""
    if COMPILED not in path:
        return path
    return ".".join(level for level in path.split(".") if level != COMPILED)
