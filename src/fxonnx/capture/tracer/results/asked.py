"""What torch's kernels refuse and its meta kernels let pass: dtypes that do not go together, a number that its dtype
does not hold, an extremum of nothing.

    x.index_add(0, index, source)      source: float64, x: float32      asked of the kernel, which raises
    torch.full((n,), 300, dtype=torch.uint8)                            asked
    x.gather(0, index)                 x: float32, index: int64         as usual, and not asked

An unusual call is computed once by the op's own kernel, on zeros of the sizes of this run. What `sample` computes on a
few elements is asked by that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import no_dispatch, no_python_dispatcher

_MOST = 2**24  # elements of all tensors of a call
_INDEX, _MASK, _ALONE = frozenset({torch.int64}), frozenset({torch.bool}), frozenset[torch.dtype]()
_BESIDE: dict[str, frozenset[torch.dtype]] = {
    **dict.fromkeys((
        "cross_entropy_loss", "embedding_bag", "gather", "index_add", "index_copy", "index_fill", "index_select",
        "nll_loss", "nll_loss2d", "nll_loss_nd", "put", "scatter", "scatter_add", "scatter_reduce", "take",
        "take_along_dim",
    ), _INDEX),
    "index_put": _INDEX | _MASK,
    **dict.fromkeys(("masked_scatter", "masked_select"), _MASK),
    **dict.fromkeys((
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
        "avg_pool2d", "avg_pool3d", "binary_cross_entropy", "bincount", "conv1d", "conv2d", "conv3d",
        "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fill", "full", "full_like", "group_norm",
        "instance_norm", "kthvalue", "max", "max_pool1d", "max_pool2d", "max_pool3d", "median", "min", "mode",
        "new_full", "one_hot", "pad", "sort", "topk", "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d",
        "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    ), _ALONE),
}  # fmt: skip
"""op -> the dtypes that may stand beside one of floating point"""


def ask_kernel(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], guard_log: GuardLog) -> None:
    """Raise what the op's own kernel raises for an unusual call on fake tensors, if it is asked."""
    beside = _beside(func)
    if beside is None or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled():
        return
    leaves = pytree.tree_leaves((args, kwargs))
    tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
    if any(each.device.type != "cpu" for each in tensors) or _is_usual(tensors, leaves, kwargs, beside):
        return
    value = guard_log.data.value
    sizes = [[value(dim_of(size)) for size in each.shape] for each in tensors]
    if sum(map(math.prod, sizes)) > _MOST:
        return

    def concrete(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return torch.zeros([value(dim_of(size)) for size in leaf.shape], dtype=leaf.dtype)
        if isinstance(leaf, torch.SymInt):
            return value(dim_of(leaf))
        return leaf.node.hint if isinstance(leaf, (torch.SymFloat, torch.SymBool)) else leaf

    with no_dispatch(), no_python_dispatcher():
        given = pytree.tree_map(concrete, (args, kwargs))
        func(*given[0], **given[1])


@cache
def _beside(func: Any) -> frozenset[torch.dtype] | None:
    """The dtypes that may stand beside one of floating point; None for an op that is not asked."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten" or torch.Tag.out in func.tags:
        return None
    return _BESIDE.get(func.overloadpacket.__name__.rstrip("_"))


def _is_usual(
    tensors: list[Any], leaves: list[Any], kwargs: dict[str, Any], beside: frozenset[torch.dtype]
) -> bool:  # fmt: skip
    """Whether a call has tensors of one floating dtype, some elements in each, and numbers that this dtype holds."""
    dtypes = {each.dtype for each in tensors} or {kwargs.get("dtype") or torch.get_default_dtype()}
    values = dtypes - beside
    if (
        len(values) != 1
        or (beside and not dtypes & beside)
        or any(isinstance(size, int) and size == 0 for each in tensors for size in each.shape)
    ):
        return False
    return all(each.is_floating_point and _holds(each, leaves) for each in values)


def _holds(dtype: torch.dtype, leaves: Iterable[Any]) -> bool:
    """Whether a floating dtype holds all numbers."""
    greatest = torch.finfo(dtype).max
    return all(abs(each) <= greatest or not math.isfinite(each) for each in leaves if type(each) in (int, float))

