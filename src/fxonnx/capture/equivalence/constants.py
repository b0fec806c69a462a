"""Small tensors that a graph computes of nothing but numbers, known by what is in them.

Where a size is fixed a model makes them in another way: torch.tensor([n, 2]) of a plain n is one constant, and of a
symbolic one it is two, that are stacked.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.ir.dims import Dim

_MOST = 2**16  # elements
_UNINITIALIZED = frozenset({"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"})
_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError)


def key_of(tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """What a small tensor is known by: equal for tensors of one dtype and shape that hold the same. None for others."""
    is_plain = tensor.layout is torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"
    if not is_plain or tensor.numel() > _MOST:
        return None
    content = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).reshape(-1)
    return "constant", tensor.dtype, tensor.shape, content.view(torch.uint8).numpy().tobytes()


def computed(
    node: fx.Node, shape: tuple[Any, ...], known: Mapping[fx.Node, Any], fixed: Callable[[torch.SymInt], Dim]
) -> torch.Tensor | None:
    """What a call of aten returns, a tensor of this shape, or one of several that it returns, where all its arguments
    are `known`; sizes are `fixed`. None where that is much, random or what lay in memory, or the call writes to
    something, or cannot be made."""
    call, place = (node.args[0], node.args[1]) if node.target is operator.getitem else (node, None)
    if not isinstance(call, fx.Node) or not _is_steady(call) or node.meta["val"].device.type != "cpu":
        return None
    if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) > _MOST:
        return None  # a size below 0 is that of a way which is not taken at these sizes
    args, kwargs = fx.map_arg((call.args, call.kwargs), known.__getitem__)
    args, kwargs = pytree.tree_map_only(torch.SymInt, fixed, (args, kwargs))
    try:
        result = call.target(*args, **kwargs)
        found = result if place is None else result[place]  # at other sizes there are fewer chunks
    except _REFUSALS:
        return None
    return found if isinstance(found, torch.Tensor) and found.shape == shape else None


def _is_steady(call: fx.Node) -> bool:
    """Whether a call of aten returns the same for the same arguments, and writes to none."""
    target = call.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten" or is_mutable(target):
        return False
    is_drawn = torch.Tag.nondeterministic_seeded in target.tags
    return not is_drawn and target.overloadpacket.__name__ not in _UNINITIALIZED
