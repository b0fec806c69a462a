"""Inputs that share memory: a write to one is a write to the other, and a file has them as two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch


def overlapping(written: Iterable[int], tensors: Sequence[torch.Tensor]) -> tuple[int, int] | None:
    """The positions of a tensor that is written to and of another that lies in the same memory, if there are two."""
    for one in written:
        for other, tensor in enumerate(tensors):
            if other != one and _overlap(tensors[one], tensor):
                return one, other
    return None


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the ranges of bytes that two tensors span have some in common."""
    (start, end), (other_start, other_end) = _span(one), _span(other)
    return max(start, other_start) < min(end, other_end)


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Where the elements of a tensor begin and end; nowhere for one that has no memory."""
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
        return 0, 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size()
