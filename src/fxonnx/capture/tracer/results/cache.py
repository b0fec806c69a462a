"""What a call returns, on fake tensors: asked of torch once for each kind of call, remembered for the next.

A model repeats itself: 16 layers make the same 60 calls. What torch's meta kernels find (shape, dtype, strides, which
argument the result is a view of) depends on the op and on the geometry of its arguments only, so the second layer
costs a lookup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch

from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.results.branches import branch_matters
from fxonnx.capture.tracer.results.kernels import META_KERNELS
from fxonnx.capture.tracer.results.meta import (
    CachedArgument,
    CachedTensor,
    CachedTuple,
    TensorMeta,
    is_original,
    unaliased,
)
from fxonnx.capture.tracer.results.probe import MetaProbe
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, FakeTensorMode

Key: TypeAlias = Any


class Uncacheable(Exception):
    """A call whose answer is not remembered."""


@dataclass(slots=True, eq=False)
class FakeCache:
    """The memory of one trace."""

    mode: FakeTensorMode
    guard_log: GuardLog
    known: dict[Key, Any] = field(default_factory=dict)
    geometries: dict[int, Key] = field(default_factory=dict)  # id of a living fake tensor -> its geometry
    probe: MetaProbe = field(init=False)

    def __post_init__(self) -> None:
        self.probe = MetaProbe(self.mode, self.guard_log)

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `func` returns for fake arguments."""
        before, self.guard_log.op = self.guard_log.op, str(func)
        try:
            return self._answered(func, args, kwargs)
        finally:
            self.guard_log.op = before

    def _answered(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors: list[Any] = []
        try:
            key = (*_surroundings(func), *(self._key(each, tensors) for each in args), *self._named(kwargs, tensors))
        except Uncacheable:
            result = self._said(func, args, kwargs)
            result = self._torchs(func, args, kwargs) if result is None else result
            if is_mutable(func):
                self.geometries.clear()  # it may have changed what a tensor looks like
            return result
        answer = self.known.get(key)
        if answer is not None:
            return answer.instantiate(self.mode, tensors, self.geometries)
        result, answer = self._found(func, args, kwargs, tensors)
        if answer is not None:
            self.known[key] = answer
        return result

    def _found(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Any]
    ) -> tuple[Any, Any]:  # fmt: skip
        """The result of a call of a new kind, and how to make it again: by a formula of ours, by the arguments' twins,
        or else as torch says."""
        result = self._said(func, args, kwargs)
        if result is None:
            answer = self.probe(func, args, kwargs, {id(each): self.geometries[id(each)] for each in tensors})
            if answer is not None:
                return answer.instantiate(self.mode, tensors, self.geometries), answer
            result = self._torchs(func, args, kwargs)
        try:
            return result, self._note(func, result, tensors)
        except Uncacheable:
            return result, None

    def _said(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        formula = META_KERNELS.get(func)
        return None if formula is None else unaliased(self.mode, args, kwargs).ask(formula)

    def _torchs(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self.guard_log.nested() as taken:
            result = unaliased(self.mode, args, kwargs).ask(func)
            for key, choice in taken.items():
                if branch_matters(choice, func, (args, kwargs), result, self.mode, self.guard_log.hints):
                    taken[key] = replace(choice, inside=False)
        return result

    # ── what a call looks like ──

    def _named(self, kwargs: dict[str, Any], tensors: list[Any]) -> Iterator[Key]:
        for name, value in kwargs.items():
            yield name, self._key(value, tensors)

    def _key(self, value: Any, tensors: list[Any]) -> Key:
        if isinstance(value, FakeTensor):
            if value.constant is not None:
                raise Uncacheable
            tensors.append(value)
            return self.geometry(value)
        if isinstance(value, (list, tuple)):
            return type(value), tuple(self._key(each, tensors) for each in value)
        if isinstance(value, torch.SymInt):
            return value.node.dim, "size"
        if isinstance(value, _PLAIN):
            return type(value), repr(value) if isinstance(value, float) else value
        raise Uncacheable

    def geometry(self, tensor: Any) -> Key:
        """Everything that a meta kernel can see of a tensor."""
        known = self.geometries.get(id(tensor))
        if known is None:
            known = self.geometries[id(tensor)] = _geometry(tensor)
            self.guard_log.sizes.update(dim for dim in known[2] if not isinstance(dim, int))
        return known

    # ── what it returns ──

    def _note(self, func: Any, result: Any, tensors: list[Any]) -> Any:
        if isinstance(result, (list, tuple)):
            return CachedTuple(type(result), tuple(self._note(func, each, tensors) for each in result))
        if not isinstance(result, FakeTensor) or result.constant is not None or result.requires_grad:
            raise Uncacheable
        same = next((index for index, each in enumerate(tensors) if each is result), None)
        if same is not None:
            return CachedArgument(same)
        memory = storage(result)
        shares = next((index for index, each in enumerate(tensors) if storage(each) == memory), None)
        return CachedTensor(TensorMeta.of(result), shares, self.geometry(result), is_original(func))


_PLAIN = (
    int, float, complex, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip
_ODD = frozenset({"set_", "resize_", "resize_as_", "as_strided", "as_strided_", "lift_fresh", "lift", "_lazy_clone"})


def _surroundings(func: Any) -> tuple[Any, ...]:
    """The call, and what besides its arguments its result depends on. Raises Uncacheable."""
    if not isinstance(func, torch._ops.OpOverload) or func.overloadpacket.__name__ in _ODD:
        raise Uncacheable
    if torch.Tag.inplace_view in func.tags:
        raise Uncacheable
    casts = torch.is_autocast_enabled("cpu")
    return (
        func,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_autocast_dtype("cpu") if casts else None,
    )


def _geometry(tensor: Any) -> Key:
    if tensor.layout is not torch.strided:
        raise Uncacheable
    sizes = tuple(map(dim_of, tensor.shape))
    strides = tuple(map(dim_of, tensor.stride()))
    flags = tensor.is_conj(), tensor.is_neg(), tensor.requires_grad, tensor.is_inference()
    if flags[0] or flags[1]:
        raise Uncacheable
    return tensor.dtype, tensor.device, sizes, strides, dim_of(tensor.storage_offset()), flags
