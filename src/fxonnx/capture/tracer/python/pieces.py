"""What split() and unbind() give along an axis of no fixed size: pieces, as many as there happen to be.

    x.split(2)[0] ──▶ x.narrow(0, 0, min(2, n))        torch.stack(x.unbind(1)) ──▶ x.movedim(1, 0)

A piece that is taken by its place is a view of its own, and all pieces joined again are the tensor with its axes
moved. Only who goes through them, or hands them on, asks how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

aten = torch.ops.aten


class Pieces(tuple[torch.Tensor, ...]):
    """The pieces of a tensor along an axis, of `size` places each; of None, one place each, without the axis."""

    tensor: torch.Tensor
    axis: int
    size: Any
    _all: tuple[torch.Tensor, ...] | None = None

    def __new__(cls, tensor: torch.Tensor, axis: int, size: Any) -> Pieces:
        """None of them is made yet; they are of the tensor as it lies now, whatever t_() makes of it later."""
        self = super().__new__(cls)
        self.tensor, self.axis, self.size = aten.alias.default(tensor), axis % tensor.dim(), size
        return self

    @property
    def all(self) -> tuple[torch.Tensor, ...]:
        """Each of them, by torch's own op, which asks how many there are; once."""
        if self._all is None:
            whole = (self.tensor, self.axis) if self.size is None else (self.tensor, self.size, self.axis)
            self._all = tuple((aten.unbind.int if self.size is None else aten.split.Tensor)(*whole))
            count = self.count
            if isinstance(count, torch.SymInt):
                count.node.guard_log.keep_count(count.node.dim, len(self._all))
        return self._all

    @property
    def count(self) -> Any:
        """How many there are, as a size: of nothing split() makes one piece."""
        length = self.tensor.shape[self.axis]
        return length if self.size is None else torch.sym_max((length + self.size - 1) // self.size, 1)

    def __getitem__(self, place: Any) -> Any:
        if type(place) is not int or self._all is not None:
            return self.all[place]
        if self.size is None:
            return self.tensor.select(self.axis, place)
        length = self.tensor.shape[self.axis]
        start = (place if place >= 0 else self.count + place) * self.size
        if place and not 0 <= start < torch.sym_max(length, 1):
            raise IndexError("tuple index out of range")
        rest = length - start
        return self.tensor.narrow(self.axis, start, rest if place == -1 else torch.sym_min(rest, self.size))

    def joined(self, join: Callable[..., torch.Tensor], dim: int = 0) -> torch.Tensor | None:
        """What torch.stack or torch.cat makes of them, where it is the tensor with its axes moved, else None."""
        tensor, is_cat = self.tensor, join is not torch.stack
        is_single = self.size is None or (type(self.size) is int and self.size == 1)
        if not is_single or tensor.shape[self.axis] == 0 or (tensor.dim() == 1 and is_cat):
            return None
        whole = tensor if self.size is None else tensor.unsqueeze(self.axis + 1)
        axis = dim % (whole.dim() - is_cat)
        moved = whole.movedim(self.axis, axis)
        return (moved.flatten(axis, axis + 1) if is_cat else moved).clone(memory_format=torch.contiguous_format)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def __add__(self, other: Any) -> Any:
        return self.all + other

    def __radd__(self, other: Any) -> Any:
        return other + self.all

    def __mul__(self, times: Any) -> Any:
        return self.all * times

    __rmul__ = __mul__

    def __contains__(self, item: Any) -> bool:
        return item in self.all

    def __eq__(self, other: Any) -> bool:
        return self.all == tuple(other)

    __hash__ = None  # type: ignore[assignment]


# a result that holds them holds a tuple
pytree.register_pytree_node(Pieces, lambda each: (list(each.all), None), lambda children, _: tuple(children))

JOINS = frozenset({torch.stack, torch.cat, torch.concat, torch.concatenate})


def is_from_data(size: Any) -> bool:
    """Whether a size hangs on what a tensor holds."""
    return isinstance(size, torch.SymInt) and size.node.guard_log.data.are_in(size.node.dim)


def check_size(size: Any) -> None:
    """Let each call check that pieces of a size from data have one: torch makes others of nothing only."""
    positive = (size >= 1).node if is_from_data(size) else None
    if positive is not None and positive.statically_known() is None:
        size.node.guard_log.check(positive, "split_size can only be 0 if dimension size is 0")


def pieces(tensor: torch.Tensor, axis: int, size: Any) -> Pieces | None:
    """The pieces, where their number is not fixed, or the axis is so short that it stands for one whose is not."""
    if not isinstance(tensor, torch.Tensor) or not tensor.dim() or not -tensor.dim() <= axis < tensor.dim():
        return None
    check_size(size)
    if size is not None and not is_from_data(size) and (not isinstance(size, (int, torch.SymInt)) or size < 1):
        return None
    length = tensor.shape[axis]
    is_fixed = not isinstance(length, torch.SymInt) and length > 1 and not isinstance(size, torch.SymInt)
    return None if is_fixed else Pieces(tensor, axis, size)


def opened(arguments: Any) -> Any:
    """Arguments for torch, which looks into no class of ours."""
    return tuple(each.all if isinstance(each, Pieces) else each for each in arguments)
