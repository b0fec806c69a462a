"""torch.associative_scan, step by step: torch's own halves its input until one element is left, as often as the size
allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree


def associative_scan(
    operator: Callable[..., Any], leaves: Sequence[torch.Tensor], dim: int = 0, additional_inputs: Sequence[Any] = ()
) -> list[torch.Tensor]:
    """The running results of an operator of two slices, each with a first axis of 1, along the first axis of `leaves`.

    The same as `generic_associative_scan` of torch._higher_order_ops, which knows no other axis either.
    """

    def step(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        so_far, elements = arguments[: len(leaves)], arguments[len(leaves) :]
        found = pytree.tree_leaves(operator(*so_far, *(each.unsqueeze(0) for each in elements), *additional_inputs))
        return (*found, *(each.squeeze(0) for each in found))

    if isinstance(leaves[0].shape[0], int) and leaves[0].shape[0] < 2:
        return list(leaves)
    first = [each[:1] for each in leaves]
    found = torch.ops.higher_order.scan(step, first, [each[1:] for each in leaves], ())
    return [torch.cat(pair) for pair in zip(first, found[len(leaves) :], strict=True)]
