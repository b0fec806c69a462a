"""Whether the shortcuts that a model takes by data, and leaves out where tensors are fake, change what it computes.

    if not isinstance(mask, FakeTensor) and mask.all():
        mask = None                                        # the same numbers, sooner: so they should be

The model is asked itself: it is called for real, once as it is, and once where its tensors pass for fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.next_call import at_sizes, is_there, left_by, with_elements
from fxonnx.capture.tracer.torch_private import as_exporting, passing_for_fake
from fxonnx.errors import Error
from fxonnx.ir.dims import Dim, Expr

_FEW = 4  # elements along what may vary
_EXACT, _ROUNDED = 1e-3, 0.1  # of the largest number; kernels differ by less, a mask that is not kept by more


def change_numbers(example: Example, answers: Sequence[bool]) -> bool:
    """Whether a call with small sizes, of the example's elements and of masks that keep all, returns something else
    with shortcuts than where tensors pass for fake, in the order of these answers. What does not run is not told."""
    if not is_there(example):
        return False
    leaves, plain = _small_call(example)
    kept = [torch.ones_like(leaf) if _is_mask(leaf) else leaf for leaf in leaves]
    is_other = any(not torch.equal(one, other) for one, other in zip(kept, leaves, strict=True))
    return _differ(plain, _without(example, leaves, answers)) or (
        is_other and _differ(_returned(example, kept), _without(example, kept, answers))
    )


def are_exported_alike(example: Example) -> bool:
    """Whether a call of these sizes, of random floats and of ones, returns the same where the model is told that it is
    exported."""
    if not is_there(example):
        return False
    leaves = with_elements(example.leaves)
    plain = _returned(example, leaves)
    with as_exporting(True, lambda: None):
        exported = _returned(example, leaves)
    return plain is not None and exported is not None and not _differ(plain, exported)


def _small_call(example: Example) -> tuple[Sequence[torch.Tensor], list[Any] | None]:
    """The example with few elements along named dims, or along those that tokens and masks have where none is named,
    or as it is where it does not take those; and what the model makes of it."""
    axes = {axis: request.dim for axis, request in example.requests.items() if isinstance(request.dim, Expr)}
    sizes = {dim.name: min(example.size(axis), _FEW) for axis, dim in axes.items() if dim.name is not None}
    if all(dim.symbols <= sizes.keys() for dim in axes.values()):
        small = at_sizes(example, axes or _axes_of_tokens(example.leaves), sizes)
        if (returned := _returned(example, small)) is not None:
            return small, returned
    return example.leaves, _returned(example, example.leaves)


def _axes_of_tokens(leaves: Sequence[torch.Tensor]) -> dict[Axis, Dim]:
    """Few elements for each axis whose size is one of whole numbers' (ids, masks), but for floats' last, which are
    features."""
    sizes = {size for leaf in leaves if not leaf.dtype.is_floating_point for size in leaf.shape if size > _FEW}
    return {
        (number, axis): _FEW
        for number, leaf in enumerate(leaves)
        for axis, size in enumerate(leaf.shape)
        if size in sizes and (axis < leaf.ndim - 1 or not leaf.dtype.is_floating_point)
    }


def _without(example: Example, leaves: Sequence[torch.Tensor], answers: Sequence[bool]) -> list[Any] | None:
    """What a call returns where tensors pass for fake."""
    remaining = iter(answers)
    with passing_for_fake(lambda tensor: next(remaining, True)):
        return _returned(example, leaves)


def _is_mask(leaf: torch.Tensor) -> bool:
    """Whether all elements are 0 or 1, of a dtype that masks have."""
    is_whole = not leaf.dtype.is_floating_point and not leaf.dtype.is_complex
    return is_whole and bool(((leaf == 0) | (leaf == 1)).all())


def _returned(example: Example, leaves: Sequence[torch.Tensor]) -> list[Any] | None:
    """What a call returns and leaves; None where it raises."""
    try:
        return left_by(example.flat, leaves)
    except Error:
        return None


def _differ(results: list[Any] | None, others: list[Any] | None) -> bool:
    """Whether two calls return something else; those that did not run tell nothing."""
    if results is None or others is None:
        return False
    pairs = zip(pytree.tree_leaves(results), pytree.tree_leaves(others), strict=False)
    return len(results) != len(others) or not all(_are_close(*pair) for pair in pairs)


def _are_close(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(one == other)
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if not one.dtype.is_floating_point or not one.numel():
        return torch.equal(one, other)
    share = _ROUNDED if one.dtype.itemsize < torch.float32.itemsize else _EXACT
    largest = other[other.isfinite()].abs().max().item() if bool(other.isfinite().any()) else 0.0
    return torch.allclose(one, other, rtol=0, atol=share * largest, equal_nan=True)


__all__ = ["are_exported_alike", "change_numbers"]
