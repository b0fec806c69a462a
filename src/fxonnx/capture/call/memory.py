"""How arguments lie in memory: what a model writes into one of them, others that share its would have to show, and
whether a reshape of one is a view, which a write reaches, is told by its strides."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fxonnx.errors import CallMismatch


def memory_order(tensor: torch.Tensor) -> list[int]:
    """The axes as they lie in memory, the outermost first. Of two with one stride the inner one has one element."""
    return sorted(range(tensor.dim()), key=lambda axis: (-tensor.stride(axis), tensor.shape[axis] < 2, axis))


def check_memory(names: Sequence[str], leaves: Sequence[torch.Tensor], written: Sequence[int]) -> None:
    """Raises CallMismatch where an argument shares memory with one of those, by index, that the model writes into: the
    file reads its inputs as they were, each by itself."""
    for index in written:
        for other, leaf in enumerate(leaves):
            if other != index and overlap(leaf, leaves[index]):
                raise CallMismatch(
                    f"{names[other]} shares memory with {names[index]}, into which the model writes",
                    cause="a file reads its inputs as they were: what is written to one does not show in another",
                    cure=f"give a {names[other]}.clone()",
                )


def check_layout(name: str, leaf: torch.Tensor, strides: Sequence[int]) -> None:
    """Raises CallMismatch where an argument has other strides than these, along axes of more than one element."""
    axes = zip(leaf.shape, leaf.stride(), strides, strict=False)  # another rank is refused for its shape
    if leaf.numel() and any(size > 1 and given != wanted for size, given, wanted in axes):
        raise CallMismatch(
            f"{name} has strides {tuple(leaf.stride())}, and the model was compiled for {tuple(strides)}",
            cause="the model asks for its strides, or writes into a reshape or flatten of it, which is a view of some "
            "layouts and a copy of others, or reads its memory with as_strided()",
            cure="bring the argument in the layout of the example: .contiguous() for the usual one; or compile the "
            "model for an example laid out like this",
        )


def overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
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
