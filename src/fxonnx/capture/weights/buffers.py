"""Buffers that no state dict has, for a model that was made without memory: computed by their own modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from fxonnx.capture.weights.binding import mismatch
from fxonnx.capture.weights.names import root_of
from fxonnx.errors import Error, raise_all


def computed(model: Any, keys: Sequence[str]) -> dict[str, torch.Tensor]:
    """The buffers of these names as their modules initialize them, or the model around: `reset_parameters` by torch's
    convention, `_init_weights` by that of transformers.

    Raises WeightsMismatch for those that nothing computes, or not twice the same.
    """
    found, failures = dict[str, torch.Tensor](), list[Error]()
    modules = dict.fromkeys(key.rpartition(".")[0] for key in keys)
    for path in modules:
        module, initialize = root_of(model).get_submodule(path), _initializer(root_of(model), path)
        local = [key.rpartition(".")[2] for key in keys if key.rpartition(".")[0] == path]
        one, other = (_initialized(module, local, initialize, filler) for filler in (0, 1))
        for name in local:
            key = f"{path}.{name}" if path else name
            if torch.equal(one[name], other[name]):
                found[key] = one[name]
            else:
                failures.append(_unknown(key))
    raise_all(failures)
    return found


def _initializer(root: nn.Module, path: str) -> Callable[[nn.Module], object] | None:
    """What initializes a module; None where nothing does."""
    module, levels = root.get_submodule(path), path.split(".")
    if hasattr(module, "reset_parameters"):
        return type(module).reset_parameters
    above = (root.get_submodule(".".join(levels[:depth])) for depth in range(len(levels) - 1, -1, -1))
    return next((each._init_weights for each in above if hasattr(each, "_init_weights")), None)


def _initialized(
    module: nn.Module, names: Sequence[str], initialize: Callable[[nn.Module], object] | None, filler: int
) -> dict[str, Any]:
    """The buffers of a copy of a module that is initialized; what is not written to is `filler`."""
    twin = copy.copy(module)
    buffers = {name: torch.full(module._buffers[name].shape, filler, dtype=module._buffers[name].dtype)
               for name in names}  # fmt: skip
    twin._buffers = {**module._buffers, **buffers}
    if initialize is not None:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            initialize(twin)
    return {name: twin._buffers[name] for name in names}


def _unknown(key: str) -> Error:
    return mismatch(
        f"the buffer {key} has no contents",
        "the model was made without memory, its state dict does not have it, and its module has no reset_parameters()",
        [key],
        f"give it its contents before compiling: model.{key} = tensor",
    )
