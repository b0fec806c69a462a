"""The fake cache: what a call returns on fake tensors, computed once for each kind of call.

A model repeats itself: 16 layers make the same 60 calls. What torch's meta kernels find (shape, dtype, strides, which
argument the result is a view of) depends on the op and on the metadata of its arguments only, so the second layer
costs a lookup.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch.utils._pytree import tree_leaves

from fxonnx.capture.graph.functional_form import functional_form, is_mutable, reshaped
from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.results.asked import as_kernel_has_them, ask_kernel
from fxonnx.capture.tracer.results.branches import branch_matters, data_matters
from fxonnx.capture.tracer.results.kernels import META_KERNELS
from fxonnx.capture.tracer.results.layouts import laid_out
from fxonnx.capture.tracer.results.meta import (
    Cached,
    CachedArgument,
    CachedTensor,
    CachedTuple,
    Metas,
    TensorMeta,
    Uncacheable,
    base_of,
    owns_memory,
    sizes_of,
)
from fxonnx.capture.tracer.results.probe import MetaProbe
from fxonnx.capture.tracer.results.required import require_sizes
from fxonnx.capture.tracer.results.sample import sample
from fxonnx.capture.tracer.results.selections import Selections
from fxonnx.capture.tracer.results.shapes import RESIZES
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, FakeTensorMode

Key: TypeAlias = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class FakeCache:
    """The results of one trace's calls; those `before_data`, when nothing had a size from data yet, are the same in all
    ways of a model, but for what was found by answers of one way."""

    mode: FakeTensorMode
    guard_log: GuardLog
    before_data: dict[Key, Cached] = field(default_factory=dict)
    entries: dict[Key, Cached] = field(default_factory=dict)
    metas: Metas = field(default_factory=Metas)
    probe: MetaProbe = field(init=False)
    selections: Selections = field(init=False)

    def __post_init__(self) -> None:
        self.probe = MetaProbe(self.mode, self.guard_log, self.metas)
        self.selections = Selections(self.mode, self.guard_log, self.metas, self._lookup)

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What `func` returns for fake arguments."""
        before, self.guard_log.op = self.guard_log.op, str(func)
        try:
            dtypes = ask_kernel(func, args, kwargs, self.guard_log)
            result = self.selections(func, args, kwargs)
            result = self._in_place(func, args, kwargs) if result is NotImplemented else result
            result = self._lookup(func, args, kwargs) if result is NotImplemented else result
            result = as_kernel_has_them(result, (args, kwargs), dtypes) if dtypes else result
            if func.overloadpacket.__name__ in RESIZES:
                self.guard_log.learn_positive(map(dim_of, result.shape))
            require_sizes(func, args, kwargs, result, self.guard_log)
            return result
        finally:
            self.guard_log.op = before

    def _in_place(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The place, `out=`, of what has its dtype and its sizes, some of which vary: several of torch's kernels want
        plain ones to compare both. Where it shares memory, with what is read or in itself, torch's look at that."""
        place = kwargs.get("out") if torch.Tag.out in func.tags else None
        if not isinstance(place, FakeTensor) or all(isinstance(size, int) for size in place.shape):
            return NotImplemented
        form, given = functional_form(func), {name: each for name, each in kwargs.items() if name != "out"}
        read = [each for each in tree_leaves((args, given)) if isinstance(each, FakeTensor)]
        is_shared = 0 in map(dim_of, place.stride()) or storage(place) in map(storage, read)
        if form is None or form.made or is_shared:
            return NotImplemented
        result = self(form.target, args, given)
        is_alike = isinstance(result, FakeTensor) and result.dtype is place.dtype and _sizes(result) == _sizes(place)
        return place if is_alike else NotImplemented

    def _lookup(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors: list[Any] = []
        answers = self.guard_log.answers_of_way
        try:
            keys = self._key(args, tensors), *kwargs, self._key(tuple(kwargs.values()), tensors)
            key = (*_context(func), *keys, _in_one_memory(tensors))
        except Uncacheable:
            result = _by_kernel(func, args, kwargs)
            result = self._by_torch(func, args, kwargs) if result is None else result
            if is_mutable(func):
                self.metas.clear()  # it may have changed a tensor's own metadata
            return result
        cached = self._known(key) or self._elsewhere(key)
        if cached is not None:
            self.guard_log.sizes.update(sizes_of(cached))
        cached = cached or sample(func, args, kwargs, self.guard_log, self.metas)
        result = _by_kernel(func, args, kwargs) if cached is None else None
        if cached is None and result is None:
            cached = self.probe(func, args, kwargs)
        if cached is None:
            result = self._by_torch(func, args, kwargs) if result is None else result
            with suppress(Uncacheable):
                self._keep(key, self._cached(result, tensors), answers)
            return result
        self._keep(key, cached, answers)
        return cached.instantiate(self.mode, tensors, self.metas)

    def _keep(self, key: Key, cached: Cached, answers: int) -> None:
        is_of_way = self.guard_log.data or self.guard_log.answers_of_way > answers
        entries = self.entries if is_of_way else self.before_data
        entries[key] = cached
        if owns_memory(cached):
            entries.setdefault(_anywhere(key), cached)

    def _known(self, key: Key) -> Cached | None:
        return self.entries.get(key) or self.before_data.get(key)

    def _elsewhere(self, key: Key) -> Cached | None:
        """The same call of tensors that stand elsewhere in their memory: x[:, 3] for x[:, 2]. Only what a view returns
        depends on that."""
        cached = self._known(_anywhere(key))
        return cached if cached is not None and owns_memory(cached) else None

    def _by_torch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result by torch's meta kernel, of the symbolic sizes. What took a plain number of one is noted, and says
        nothing of others."""
        plain = len(self.guard_log.plain)
        with self.guard_log.nested() as guards, self.guard_log.asking() as asked:
            result = laid_out(func, args, kwargs, func(*args, **kwargs))
            for each in asked:
                if data_matters(each, func, (args, kwargs), result, self.mode, self.guard_log.data.values):
                    raise self.guard_log.refusal_of_data(f"whether {each}")
            for key, guard in guards.items() if len(self.guard_log.plain) == plain else ():
                if branch_matters(guard, func, (args, kwargs), result, self.mode, self.guard_log.data.values):
                    guards[key] = replace(guard, inside=False)
        return result

    # ── keys ──

    def _key(self, value: Any, tensors: list[Any]) -> Key:
        """What a result can depend on of an argument; its tensors join `tensors`. Raises Uncacheable."""
        if isinstance(value, FakeTensor):
            if value.constant is not None:
                raise Uncacheable
            tensors.append(value)
            return self.meta(value)
        if isinstance(value, (list, tuple)):
            return type(value), tuple(self._key(each, tensors) for each in value)
        if isinstance(value, torch.SymInt):
            return value.node.dim, "size"
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            return value.node, "number"
        if isinstance(value, _PLAIN):
            return type(value), repr(value) if isinstance(value, float) else value
        raise Uncacheable

    def meta(self, tensor: Any) -> TensorMeta:
        """A fake tensor's metadata. Raises Uncacheable."""
        known = self.metas.get(id(tensor))
        if known is None:
            known = TensorMeta.of(tensor)
            self.metas.note(tensor, known)
            self.guard_log.sizes.update(dim for dim in known.shape if not isinstance(dim, int))
        return known

    # ── results ──

    def _cached(self, result: Any, tensors: list[Any]) -> Cached:
        if isinstance(result, (list, tuple)):
            return CachedTuple(type(result), tuple(self._cached(each, tensors) for each in result))
        if not isinstance(result, FakeTensor) or result.constant is not None or result.requires_grad:
            raise Uncacheable
        for index, each in enumerate(tensors):
            if each is result:
                return CachedArgument(index)
        if result.layout is not torch.strided:
            raise Uncacheable
        layout = tuple(result.shape), result.stride(), result.storage_offset()
        return CachedTensor(self.meta(result), layout, base_of(result, tensors))


_PLAIN = (
    int, float, complex, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip
_UNCACHEABLE = frozenset({
    "set_", "resize_", "resize_as_", "as_strided", "as_strided_", "lift_fresh", "lift", "_lazy_clone",
})  # fmt: skip


def _sizes(tensor: Any) -> list[Any]:
    return [dim_of(size) for size in tensor.shape]


def _in_one_memory(tensors: list[Any]) -> tuple[int, ...]:
    """For each tensor the first one in its memory: a result is a view of one of two, and which does not show where both
    are one. Empty where all have memories of their own."""
    if len(tensors) < 2:
        return ()
    memories = [storage(each) for each in tensors]
    return tuple(map(memories.index, memories)) if len(set(memories)) < len(memories) else ()


def _anywhere(key: Any) -> Any:
    """A key without where in their memory tensors begin."""
    if isinstance(key, TensorMeta):
        return key._replace(offset=0) if key.offset != 0 else key
    return tuple(map(_anywhere, key)) if type(key) is tuple else key


def _by_kernel(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result by a meta kernel of ours, or None."""
    kernel = META_KERNELS.get(func)
    return None if kernel is None else kernel(*args, **kwargs)


def _context(func: Any) -> Key:
    """The op, and what its result depends on besides its arguments. Raises Uncacheable."""
    if not isinstance(func, torch._ops.OpOverload) or func.overloadpacket.__name__ in _UNCACHEABLE:
        raise Uncacheable
    if reshaped(func):
        raise Uncacheable
    return (
        func,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None,
    )
