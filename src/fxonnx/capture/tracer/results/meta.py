"""Results of calls, made again: fake tensors of known geometry, which share memory with an argument or have their own.

Making a tensor with symbolic sizes costs torch fifty questions about them; a copy of one that is there costs none. A
copy shares the storage of what it is copied of, though, so it carries the number of the memory that it stands for
(`views.storage`), and a call that could confuse two copies gets tensors with storages of their own (`unaliased`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import torch

from fxonnx.capture.graph.views import MEMORY, storage
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from fxonnx.ir.dims import Dim

_numbers = count(1)
_ROOM = 2**48  # elements; on the meta device they take no memory


@dataclass(slots=True, eq=False)
class CachedTensor:
    """A result: what it looks like, and the number of the tensor argument whose memory it shares. The first one that
    is made again becomes the `template` of the rest."""

    look: TensorMeta
    shares: int | None
    key: Any  # its geometry, for the calls that take it
    original: bool  # torch copies it before it hands it out, and forgets the number on it
    template: torch.Tensor | None = None

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], geometries: dict[int, Any]) -> Any:
        """Another one, for these arguments."""
        if self.original and self.shares is None:
            made = FakeTensor(mode, self.look.on_meta(mode), self.look.device)
            geometries[id(made)] = self.key
            return made
        if self.template is None:
            self.template = self.look.on_meta(mode)
        made = FakeTensor(mode, self.template, self.look.device)
        shared = None if self.shares is None else storage(tensors[self.shares])
        setattr(made, MEMORY, shared or -next(_numbers))
        geometries[id(made)] = self.key
        return made


@cache
def is_original(func: Any) -> bool:
    """Whether a call is one of those that make a tensor of a dtype and a device (`torch.zeros_like`), of which torch
    hands out copies."""
    return any(each.name == "pin_memory" for each in func._schema.arguments)


@dataclass(frozen=True, slots=True)
class CachedArgument:
    """A result that is one of the tensor arguments itself."""

    argument: int

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], geometries: dict[int, Any]) -> Any:
        """The argument."""
        return tensors[self.argument]


@dataclass(frozen=True, slots=True)
class CachedTuple:
    """A tuple or list of results."""

    kind: type
    parts: tuple[Any, ...]

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], geometries: dict[int, Any]) -> Any:
        """All of them."""
        return self.kind(each.instantiate(mode, tensors, geometries) for each in self.parts)


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """The geometry of a tensor, in torch's own sizes."""

    shape: tuple[Any, ...]
    strides: tuple[Any, ...]
    offset: Any
    dtype: torch.dtype
    device: torch.device

    @staticmethod
    def of(tensor: torch.Tensor) -> TensorMeta:
        """A tensor's."""
        return TensorMeta(tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.device)

    def on_meta(self, mode: FakeTensorMode) -> torch.Tensor:
        """A tensor that looks so, over a storage of its own: one with room for any, as torch would count in symbols
        what it needs."""
        with in_kernel_invocation_manager(mode):
            memory = torch.empty(_ROOM, dtype=self.dtype, device="meta")
            return memory.as_strided(self.shape, self.strides, self.offset)


def contiguous(like: Any, shape: Sequence[Any]) -> Any:
    """A tensor of this shape and of another one's kind, its elements in a row, over a memory of its own."""
    mode = like.fake_mode
    key = like.dtype, tuple(map(dim_of, shape))
    template = mode.templates.get(key)
    if template is None:
        look = TensorMeta(tuple(shape), _steps(shape), 0, like.dtype, like.device)
        template = mode.templates[key] = look.on_meta(mode)
    made = FakeTensor(mode, template, like.device)
    setattr(made, MEMORY, -next(_numbers))
    return made


def _steps(shape: Sequence[Any]) -> tuple[Any, ...]:
    """The strides of elements in a row; an axis of none counts as one of 1."""
    steps: list[Any] = []
    step: Any = 1
    for size in reversed(shape):
        steps.append(step)
        step = step if isinstance(size, int) and size == 0 else step * size
    return tuple(reversed(steps))


def in_a_row(tensor: Any) -> bool:
    """Whether a tensor's elements are in a row, for all sizes of its dims alike; torch takes longer to tell."""
    step: Dim = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        dim = dim_of(size)
        if dim == 0:
            return True
        if dim != 1 and dim_of(stride) != step:
            return False
        step = step * dim
    return True


def alias(mode: FakeTensorMode, tensor: Any) -> Any:
    """Another tensor over the same memory that looks the same."""
    made = FakeTensor(mode, TensorMeta.of(tensor).on_meta(mode), tensor.device)
    setattr(made, MEMORY, storage(tensor))
    return made


@dataclass(slots=True)
class Unaliased:
    """Arguments of a call that share no storage unless they share memory, and what stands for what."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    tensors: list[Any] = field(default_factory=list)  # as the call gets them
    originals: list[Any] = field(default_factory=list)

    def ask(self, function: Callable[..., Any]) -> Any:
        """The result of the call, with the numbers of the memory it is in."""
        return self._told(function(*self.args, **self.kwargs))

    def _told(self, result: Any) -> Any:
        if isinstance(result, (list, tuple)):
            parts = [self._told(each) for each in result]
            return parts if isinstance(result, list) else tuple(parts)
        if not isinstance(result, FakeTensor):
            return result
        for given, original in zip(self.tensors, self.originals, strict=True):
            if result is given:
                return original
        if hasattr(result, MEMORY):  # ours, with its number
            return result
        for given, original in zip(self.tensors, self.originals, strict=True):
            if _same_storage(given, result):
                setattr(result, MEMORY, storage(original))
                return result
        return result


def unaliased(mode: FakeTensorMode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Unaliased:
    """A call's arguments; tensors that share a storage but not the memory they stand for have storages of their own."""
    apart = Unaliased((), {})
    apart.args = tuple(_replaced(mode, each, apart) for each in args)
    apart.kwargs = {name: _replaced(mode, each, apart) for name, each in kwargs.items()}
    return apart


def _replaced(mode: FakeTensorMode, value: Any, apart: Unaliased) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)([_replaced(mode, each, apart) for each in value])
    if not isinstance(value, FakeTensor):
        return value
    for given, original in zip(apart.tensors, apart.originals, strict=True):
        if original is value:
            return given
    confused = any(
        _same_storage(given, value) and storage(original) != storage(value)
        for given, original in zip(apart.tensors, apart.originals, strict=True)
    )
    apart.tensors.append(alias(mode, value) if confused else value)
    apart.originals.append(value)
    return apart.tensors[-1]


def _same_storage(one: Any, other: Any) -> bool:
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)


__all__ = [
    "CachedArgument",
    "CachedTensor",
    "CachedTuple",
    "TensorMeta",
    "Unaliased",
    "alias",
    "contiguous",
    "in_a_row",
    "is_original",
    "unaliased",
]
