"""Tensor metadata, and cached results: fake tensors with known metadata, views of an argument or over a storage of
their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch

from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
    no_python_dispatcher,
    plain_of,
)
from fxonnx.ir.dims import Dim, Expr, Shape

_ROOM = 2**48  # elements; on the meta device they take no memory
Layout: TypeAlias = tuple[Sequence[Any], Sequence[Any], Any]
"""Sizes, strides and storage offset, as ints and SymInts."""


class Uncacheable(Exception):
    """A call whose result is not cached."""


class TensorMeta(NamedTuple):
    """Everything that a meta kernel can see of a tensor."""

    dtype: torch.dtype
    device: torch.device
    shape: Shape
    strides: Shape
    offset: Dim
    requires_grad: bool
    is_inference: bool

    @staticmethod
    def of(tensor: torch.Tensor) -> TensorMeta:
        """A tensor's. Raises Uncacheable for a sparse one, and for a lazy conjugate or negative."""
        if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
            raise Uncacheable
        shape, strides = (tuple(map(dim_of, sizes)) for sizes in (tensor.shape, tensor.stride()))
        offset = dim_of(tensor.storage_offset())
        return TensorMeta(
            tensor.dtype, tensor.device, shape, strides, offset, tensor.requires_grad, tensor.is_inference()
        )


class Metas(dict[int, TensorMeta]):
    """The metadata of fake tensors, by id. The tensors live as long: another one would have the id of one that is gone,
    as what a call returns is that is made again in other words, or whose exception the model catches."""

    def __init__(self) -> None:
        super().__init__()
        self._tensors: list[torch.Tensor] = []

    def note(self, tensor: torch.Tensor, meta: TensorMeta) -> None:
        """Add a tensor's."""
        self[id(tensor)] = meta
        self._tensors.append(tensor)

    def clear(self) -> None:
        """Forget all of it."""
        super().clear()
        self._tensors.clear()


@dataclass(frozen=True, slots=True)
class CachedTensor:
    """A result that is a tensor: a view of the tensor argument at index `base`, if there is one."""

    meta: TensorMeta
    layout: Layout
    base: int | None

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], metas: Metas) -> Any:
        """The result for these tensor arguments; its metadata joins `metas`.

        A new storage has room for any layout: torch would count in symbols how much it needs.
        """
        meta = self.meta
        with in_kernel_invocation_manager(mode), no_python_dispatcher():
            if self.base is None:
                whole = torch.empty(_ROOM, dtype=meta.dtype, device="meta")
            else:
                whole = plain_of(tensors[self.base])
            result = FakeTensor(mode, whole.as_strided(*self.layout), meta.device)
        metas.note(result, meta)
        return result


@dataclass(frozen=True, slots=True)
class CachedArgument:
    """A result that is one of the tensor arguments itself."""

    index: int

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], metas: Metas) -> Any:
        """The argument."""
        return tensors[self.index]


@dataclass(frozen=True, slots=True)
class CachedTuple:
    """A result that is a tuple or list."""

    kind: type
    parts: tuple[Cached, ...]

    def instantiate(self, mode: FakeTensorMode, tensors: Sequence[Any], metas: Metas) -> Any:
        """All of its parts."""
        return self.kind(each.instantiate(mode, tensors, metas) for each in self.parts)


Cached: TypeAlias = CachedTensor | CachedArgument | CachedTuple


def owns_memory(cached: Cached) -> bool:
    """Whether a result, and all of its parts, are no views of arguments."""
    if isinstance(cached, CachedTuple):
        return all(map(owns_memory, cached.parts))
    return isinstance(cached, CachedTensor) and cached.base is None


def sizes_of(cached: Cached) -> Iterator[Expr]:
    """The sizes of a new result and its parts that vary."""
    if isinstance(cached, CachedTuple):
        for each in cached.parts:
            yield from sizes_of(each)
    elif isinstance(cached, CachedTensor):
        yield from (dim for dim in cached.meta.shape if not isinstance(dim, int))


def base_of(result: torch.Tensor, tensors: Sequence[torch.Tensor]) -> int | None:
    """The index of the first tensor that `result` is a view of. Raises Uncacheable for a view of another dtype."""
    shared = storage(result)
    base = next((index for index, each in enumerate(tensors) if storage(each) == shared), None)
    if base is not None and tensors[base].dtype is not result.dtype:
        raise Uncacheable
    return base


def alias(mode: FakeTensorMode, tensor: FakeTensor) -> FakeTensor:
    """Another fake tensor over the same storage that keeps today's layout."""
    with in_kernel_invocation_manager(mode):
        return FakeTensor(mode, tensor.detach(), tensor.fake_device)
