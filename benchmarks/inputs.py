"""The names and dynamic dims of a model's inputs, in the forms that the contestants ask for."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from benchmarks.models.case import Dynamic


def bound(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The given arguments by their names, in the order of forward's signature."""
    return inspect.signature(module.forward).bind(*args, **kwargs).arguments


def named_tensors(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Every tensor among the arguments: `x`, or `past_0`, `past_1` … for those inside a nested argument."""
    named: dict[str, Tensor] = {}
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            named[name] = value
            continue
        leaves = [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
        named.update({f"{name}_{index}": leaf for index, leaf in enumerate(leaves)})
    return named


def shapes(arguments: dict[str, Any], dynamic: Dynamic | None, dim: Callable[[str], Any]) -> dict[str, Any] | None:
    """torch.export's `dynamic_shapes` for all arguments; `dim` makes the entry for a dim's name."""
    if dynamic is None:
        return None
    return {
        name: {axis: dim(label) for axis, label in dynamic[name].items()} if name in dynamic else None
        for name in arguments
    }
