"""What a model calls its tensors, all names of each, and where it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import filter as filter_names
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.parameter import is_lazy

from fxonnx.capture.call.inputs import owner
from fxonnx.capture.versions import has_memory
from fxonnx.capture.wrappers import unwrapped, without_wrappers
from fxonnx.errors import InvalidOption


class Place(NamedTuple):
    """Where a model keeps a tensor: the dict of its module, and the name there."""

    holder: Any
    name: str


class Owned(NamedTuple):
    """A tensor as the model had it when it was captured: all its names (more than one where it is tied), and its type.

    `persistent` tells whether a state dict has it.
    """

    names: tuple[str, ...]
    dtype: torch.dtype
    shape: torch.Size
    persistent: bool


def places(model: Any) -> dict[str, Place]:
    """Where the model keeps its parameters and buffers, by name; several names may lead to one tensor. What has no
    shape before the first call is none yet."""
    root = root_of(model)
    if isinstance(root, ExportedProgram):
        return {name: Place(root.state_dict, name) for name in root.state_dict}
    modules = root.named_modules(remove_duplicate=False) if isinstance(root, nn.Module) else ()
    return {
        without_wrappers(f"{path}.{name}" if path else name): Place(holder, name)
        for path, module in modules
        for holder in (module._parameters, module._buffers)
        for name, tensor in holder.items()
        if tensor is not None and not is_lazy(tensor)
    }


def owned(model: Any) -> dict[str, Owned]:
    """The model's tensors by the first of their names, which is what a program calls them."""
    root, found = root_of(model), dict[int, list[str]]()
    kept = places(model)
    for name, (holder, local) in kept.items():
        found.setdefault(id(holder[local]), []).append(name)
    saved = {*map(without_wrappers, root.state_dict())} if isinstance(root, nn.Module) else kept.keys()
    tensors = {names[0]: kept[names[0]].holder[kept[names[0]].name] for names in found.values()}
    return {
        names[0]: Owned(tuple(names), tensors[names[0]].dtype, tensors[names[0]].shape, not saved.isdisjoint(names))
        for names in found.values()
    }


def named(names: Mapping[str, Owned], patterns: Sequence[str]) -> frozenset[str]:
    """The tensors that have one of these names, or fit a pattern. Raises InvalidOption for one that fits none."""
    found = {each: {key for key, own in names.items() if filter_names(own.names, each)} for each in patterns}
    if unmet := [each for each in patterns if not found[each]]:
        raise InvalidOption(
            f"adapters has {', '.join(map(repr, unmet))}",
            cause=f"the model's tensors are {', '.join(list(names)[:5])}{', …' * (len(names) > 5)}",
            cure='give names as in model.state_dict(), or patterns of them: adapters=["*.lora_?.*"]',
        )
    return frozenset().union(*found.values())


def lacks_memory(model: Any) -> bool:
    """Whether there is no memory for one of the model's tensors."""
    return any(not has_memory(holder[name]) for holder, name in places(model).values())


def packed(model: Any) -> list[str]:
    """What the model's state dict has and no parameter or buffer is: what is packed for kernels, what modules save of
    their own accord."""
    root = root_of(model)
    if not isinstance(root, nn.Module):
        return []
    kept = places(model)
    return [name for name in map(without_wrappers, root.state_dict()) if name not in kept]


def root_of(model: Any) -> Any:
    """What holds the weights: the module of a method, what stands inside of wrappers."""
    return owner(unwrapped(model))[0]


@contextmanager
def standing_in(model: Any, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """The model with other tensors in the places of its own, as long as this lasts."""
    kept = places(model) if tensors else {}
    own = {name: kept[name].holder[kept[name].name] for name in tensors if name in kept}
    changed = {name: kept[name] for name, tensor in own.items() if tensor is not tensors[name]}
    try:
        for name, (holder, local) in changed.items():
            holder[local] = tensors[name]
        yield
    finally:
        for name, (holder, local) in changed.items():
            holder[local] = own[name]
