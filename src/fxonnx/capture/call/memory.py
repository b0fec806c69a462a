"""Arguments that share memory: what a model writes into one of them, the others would have to show."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fxonnx.errors import CallMismatch


def check_memory(names: Sequence[str], leaves: Sequence[torch.Tensor], written: Sequence[int]) -> None:
    """Raises CallMismatch where an argument shares memory with one of those, by index, that the model writes into: the
    file reads its inputs as they were, each by itself."""
    for index in written:
        for other, leaf in enumerate(leaves):
            if other != index and _overlap(leaf, leaves[index]):
                raise CallMismatch(
                    f"{names[other]} shares memory with {names[index]}, into which the model writes",
                    cause="a file reads its inputs as they were: what is written to one does not show in another",
                    cure=f"give a {names[other]}.clone()",
                )


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the memory from the first to the last element of one has any of the other's."""
    (begin, end), (start, stop) = map(_extent, (one, other))
    return begin < stop and start < end


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The addresses of the first byte and behind the last."""
    if tensor.numel() == 0 or tensor.is_meta:
        return 0, 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    begin = tensor.data_ptr()
    return begin, begin + (last + 1) * tensor.element_size()
