"""What an op returns, computed by its own kernel on a few elements, whose sizes stand for the dims.

    x: (batch, 768), weight: (3072, 768)  ──▶  (2, 3), (5, 3)  ──linear──▶  (2, 5)  ──▶  (batch, 3072)

Most of torch's meta kernels are in Python: they take a hundred times longer, and the first one that promotes a dtype or
checks a size loads torch._dynamo and sympy. Sampled are ops whose arguments name no sizes, other than those that are
normalized over, and whose results are new tensors or an argument itself; for all others the meta kernels are probed.
What the kernel refuses and the meta kernel takes, eager refuses: dtypes that do not go together, a number beyond one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from fxonnx.capture.graph.other_sizes import REFUSALS
from fxonnx.capture.tracer.results.meta import Cached, CachedArgument, CachedTensor, CachedTuple, TensorMeta
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.capture.tracer.torch_private import no_dispatch, no_python_dispatcher
from fxonnx.ir.dims import Dim, Shape

_PRIMES = (2, 3, 5, 7, 11, 13, 17)
_MOST = 2**16  # elements of one tensor
_SIZELESS = frozenset({
    "addmm", "baddbmm", "batch_norm", "bmm", "dot", "embedding", "index", "linear", "log_softmax", "matmul", "mm", "mv",
    "prelu", "scaled_dot_product_attention", "softmax", "where",
})  # fmt: skip
_NORMALIZING = frozenset({"layer_norm", "rms_norm"})  # their second argument is a shape


class _Inconclusive(Exception):
    """A few elements do not tell."""


def sample(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], guard_log: GuardLog, metas: Mapping[int, TensorMeta]
) -> Cached | None:
    """The result of a call on fake tensors, whose metadata are `metas` by id; None where a few elements do not tell."""
    if (
        not is_sampled(func)
        or _draws(func, args, kwargs)
        or torch.is_autocast_enabled("cpu")
        or torch.is_grad_enabled()
    ):
        return None
    call = _SampledCall(guard_log, metas, torch.Tag.pointwise in func.tags)
    try:
        with no_dispatch(), no_python_dispatcher():
            given = [call.concrete(each) for each in args]
            if func.overloadpacket.__name__ in _NORMALIZING:
                given[1] = [call.size(dim_of(each)) for each in args[1]]
            named = {name: call.concrete(each) for name, each in kwargs.items()}
            if not call.metas:
                return None  # of numbers alone
            return call.cached(_by_kernel(func, given, named, call.metas[0].device))
    except _Inconclusive:
        return None


def _by_kernel(func: Any, args: list[Any], kwargs: dict[str, Any], device: torch.device) -> Any:
    """What the op's own kernel returns. Raises what it raises, and _Inconclusive where that may be for the sizes: the
    meta kernel refuses them as well, or the tensors are on another device, whose kernel is another."""
    try:
        return func(*args, **kwargs)
    except REFUSALS as error:
        if device.type != "cpu" or not _takes_sizes(func, args, kwargs):
            raise _Inconclusive from error
        raise


def _takes_sizes(func: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether torch's meta kernel takes the arguments."""
    on_meta = tree_map_only(torch.Tensor, lambda each: each.to("meta"), (args, kwargs))
    try:
        func(*on_meta[0], **on_meta[1])
    except REFUSALS:
        return False
    return True


@cache
def is_sampled(func: Any) -> bool:
    """Whether an op's arguments name no sizes, and its results' sizes depend on no values."""
    name, tags = func.overloadpacket.__name__, frozenset(func.tags)
    if func.namespace != "aten":  # whose kernel may want sizes that few elements have not
        return False
    if torch.Tag.out in tags or (torch.Tag.dynamic_output_shape in tags and name != "index"):  # masks are selections
        return False
    return bool(tags & {torch.Tag.pointwise, torch.Tag.reduction}) or name in _SIZELESS | _NORMALIZING


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call draws random numbers: the user's are not to be moved. Attention without dropout draws none."""
    if func is torch.ops.aten.scaled_dot_product_attention.default:
        return kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0) != 0
    return torch.Tag.nondeterministic_seeded in func.tags


@dataclass(slots=True, eq=False)
class _SampledCall:
    """One call: the metadata of its tensors beside their concrete ones, and the concrete size of each dim."""

    guard_log: GuardLog
    known: Mapping[int, TensorMeta]
    is_pointwise: bool
    concretes: dict[int, torch.Tensor] = field(default_factory=dict)  # by the id of the fake tensor
    metas: list[TensorMeta] = field(default_factory=list)
    sizes: dict[Dim, int] = field(default_factory=lambda: {1: 1})

    def concrete(self, value: Any) -> Any:
        """An argument of a few elements."""
        if isinstance(value, torch.Tensor):
            if id(value) not in self.concretes:
                self.concretes[id(value)] = self._tensor(self.known[id(value)])
            return self.concretes[id(value)]
        if isinstance(value, (list, tuple)):
            return [self.concrete(each) for each in value]
        if isinstance(value, torch.SymInt) and self.is_pointwise:
            return self.guard_log.data.value(dim_of(value))  # a number, on which no size depends
        if isinstance(value, (torch.SymInt, torch.device)):
            raise _Inconclusive
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            return value.node.hint
        return value

    def _tensor(self, meta: TensorMeta) -> torch.Tensor:
        """Ones, or zeros where they may be indices, in memory as the tensor's elements are. Raises _Inconclusive where
        those have gaps."""
        if meta.requires_grad or (self.metas and meta.device != self.metas[0].device):
            raise _Inconclusive
        order = _order(meta.shape, [self.guard_log.data.value(stride) for stride in meta.strides])
        sizes = [self.size(meta.shape[axis]) for axis in order]
        if not _is_dense(meta.shape, meta.strides, order) or math.prod(sizes) > _MOST:
            raise _Inconclusive
        self.metas.append(meta)
        made = torch.ones if self.is_pointwise or meta.dtype.is_floating_point else torch.zeros
        return made(sizes, dtype=meta.dtype).permute(sorted(range(len(order)), key=order.__getitem__))

    def size(self, dim: Dim) -> int:
        """A dim's concrete size, which no other dim has. Raises _Inconclusive for 0, and where there are too many."""
        if dim not in self.sizes:
            if dim == 0 or len(self.sizes) > len(_PRIMES):
                raise _Inconclusive
            self.sizes[dim] = _PRIMES[len(self.sizes) - 1]
        return self.sizes[dim]

    def cached(self, result: Any) -> Cached:
        """The result with the dims that its sizes stand for. Raises _Inconclusive for a view."""
        if isinstance(result, (list, tuple)):
            return CachedTuple(list if type(result) is list else tuple, tuple(map(self.cached, result)))
        concretes = list(self.concretes.values())
        if result is concretes[0]:  # what writes in place returns its first argument
            return CachedArgument(0)
        if not isinstance(result, torch.Tensor) or _storage(result) in map(_storage, concretes):
            raise _Inconclusive
        dims = {size: dim for dim, size in self.sizes.items()}
        order = _order(result.shape, result.stride())
        if not dims.keys() >= set(result.shape) or not _is_dense(result.shape, result.stride(), order):
            raise _Inconclusive
        shape = tuple(dims[size] for size in result.shape)
        strides = _strides(shape, order)
        self.guard_log.sizes.update(dim for dim in shape if not isinstance(dim, int))
        meta = TensorMeta(
            result.dtype, self.metas[0].device, shape, strides, 0, False, torch.is_inference_mode_enabled()
        )
        return CachedTensor(meta, (self._sym_sizes(shape), self._sym_sizes(strides), 0), None)

    def _sym_sizes(self, dims: Shape) -> tuple[int | torch.SymInt, ...]:
        return tuple(sym_size(dim, self.guard_log) for dim in dims)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _order(shape: Sequence[Dim], strides: Sequence[int]) -> list[int]:
    """The axes as they lie in memory, the outermost first."""
    return sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1, axis))


def _is_dense(shape: Sequence[Dim], strides: Sequence[Dim], order: Sequence[int]) -> bool:
    """Whether the elements lie in a row, the axes in this order. The stride of an axis of 1 may be any."""
    dense = _strides(shape, order)
    return all(shape[axis] == 1 or strides[axis] == dense[axis] for axis in order)


def _strides(shape: Sequence[Dim], order: Sequence[int]) -> Shape:
    """The strides of elements in a row."""
    strides: list[Dim] = [1] * len(shape)
    step: Dim = 1
    for axis in reversed(order):
        strides[axis] = step
        step = step * shape[axis]
    return tuple(strides)


__all__ = ["is_sampled", "sample"]
