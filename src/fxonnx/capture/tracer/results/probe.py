"""The concrete meta probe: what an op returns, computed by torch's meta kernel with plain sizes for symbolic ones.

x: (batch, 8·time)  ──▶  concrete: (6060, 49440)  ──meta kernel──▶  (6060, 1)  ──▶  (batch, 1)

Of a tensor with symbolic sizes torch's kernels ask fifty questions; of one with plain sizes, none. A dim's concrete
size is one that no other size of the call has: a size of the result tells by it which dim it is, and sizes that must
agree do so only where they are one and the same. Where that does not tell, torch computes with the symbolic sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import torch

from fxonnx.capture.graph.aliasing import Layouts
from fxonnx.capture.graph.other_sizes import REFUSALS
from fxonnx.capture.tracer.results.layouts import laid_out
from fxonnx.capture.tracer.results.meta import (
    Cached,
    CachedArgument,
    CachedTensor,
    CachedTuple,
    TensorMeta,
    Uncacheable,
    base_of,
)
from fxonnx.capture.tracer.results.shapes import SHAPE_FUNCTIONS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.capture.tracer.sizes.primes import is_prime
from fxonnx.capture.tracer.torch_private import (
    FakeTensorMode,
    in_kernel_invocation_manager,
    no_python_dispatcher,
)
from fxonnx.ir.dims import FUNCTIONS, Algebra, Call, Dim, Shape, fold

_STEP = 60  # concrete sizes divide well: what is right for odd sizes only does not pass
_KEEP_SIZES = frozenset({
    "__and__", "__or__", "__xor__", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "addmm", "affine_grid_generator",
    "argsort", "baddbmm", "batch_norm", "bmm", "clone", "contiguous", "copy_", "cumprod", "cumsum", "dot",
    "dropout", "dropout_", "einsum", "embedding", "expand", "expand_as", "feature_dropout", "fft_fft", "fft_ifft",
    "fill_", "flip", "gather", "glu", "grid_sampler", "group_norm", "hardswish", "hardswish_", "index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "instance_norm", "layer_norm", "linear", "log_softmax",
    "masked_fill", "masked_fill_", "matmul", "mish_", "mm", "mv", "permute", "prelu", "relu6_", "rms_norm", "roll",
    "scaled_dot_product_attention", "scatter", "scatter_add", "scatter_reduce", "softmax", "sort", "squeeze", "t",
    "take_along_dim", "to", "topk", "transpose", "tril", "triu", "type_as", "unsqueeze", "where", "zero_",
})  # fmt: skip


class _Inconclusive(Exception):
    """Concrete sizes do not tell what the symbolic ones are."""


class _ConcreteSizes(Algebra[int]):
    """Dims as concrete sizes: each symbol is one of `free`. So is each min(16, n), which would be 16 at any large n, as
    other sizes are."""

    def __init__(self, free: Iterator[int], names: Iterable[str]) -> None:
        super().__init__()
        self._free = free
        self.symbols = {name: next(free) for name in names}

    def constant(self, value: int) -> int:
        """Itself."""
        return value

    def symbol(self, name: str) -> int:
        """The next one, where it has none."""
        return self.symbols[name] if name in self.symbols else self.symbols.setdefault(name, next(self._free))

    def call(self, atom: Call, left: int, right: int) -> int:
        """A quotient, or the next one."""
        if atom.function in ("min", "max"):
            return next(self._free)
        size = FUNCTIONS[atom.function](left, right)
        assert isinstance(size, int)
        return size


@dataclass(slots=True, eq=False)
class MetaProbe:
    """The concrete sizes and tensors of one trace. `metas` are the metadata of fake tensors, by id; sizes are multiples
    of `step`."""

    mode: FakeTensorMode
    guard_log: GuardLog
    metas: Mapping[int, TensorMeta]
    step: int = _STEP
    _odd: MetaProbe | None = None
    _sizes: _ConcreteSizes = field(init=False)
    _tensors: dict[Any, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        primes = filter(is_prime, count(101 if self.step > 1 else 10007))
        self._sizes = _ConcreteSizes((self.step * prime for prime in primes), self.guard_log.hints)

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cached | None:
        """The result of the call, or None where the probe is inconclusive."""
        if not _is_probed(func) or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled():
            return None
        if func.overloadpacket.__name__ == "squeeze" and any(map(self._may_be_one, self.metas[id(args[0])].shape)):
            return None
        layouts = Layouts(dim_of, self.guard_log.hints, self.guard_log.statically_known)
        if args and isinstance(args[0], torch.Tensor) and not layouts.is_alike(func, args[0], self._sizes.symbols):
            return self._of_primes(func, args, kwargs)
        call = _ConcreteCall(self)
        try:
            concrete = call.concrete(args), call.concrete(kwargs)
            with in_kernel_invocation_manager(self.mode), no_python_dispatcher():
                result = laid_out(func, *concrete, func(*concrete[0], **concrete[1]))
            shape_function = SHAPE_FUNCTIONS.get(func.overloadpacket.__name__)
            if shape_function is not None:
                call.expect(shape_function(*call.shapes(args), **call.shapes(kwargs)))
            return call.cached(result)
        except (_Inconclusive, Uncacheable, *REFUSALS):
            return None

    def _of_primes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cached | None:
        """The result where sizes must not divide: what steps or windows leave out of a row decides how it lies."""
        if self.step == 1:
            return None
        self._odd = self._odd or MetaProbe(self.mode, self.guard_log, self.metas, step=1)
        return self._odd(func, args, kwargs)

    def _may_be_one(self, dim: Dim) -> bool:
        return not isinstance(dim, int) and self.guard_log.statically_known("!=", dim, 1) is not True

    def size(self, dim: Dim) -> int:
        """A dim's concrete size. Raises _Inconclusive for one of 0 or 1."""
        if isinstance(dim, int):
            return dim
        size = fold(dim, self._sizes)
        if size < 2:
            raise _Inconclusive
        return size

    def tensor(self, meta: TensorMeta, occurrence: int) -> torch.Tensor:
        """A concrete tensor; tensors of the same metadata in one call are distinct."""
        key = meta.dtype, meta.shape, meta.strides, occurrence
        known = self._tensors.get(key)
        if known is None:
            shape, strides = (tuple(map(self.size, dims)) for dims in (meta.shape, meta.strides))
            with in_kernel_invocation_manager(self.mode):
                known = self._tensors[key] = torch.empty_strided(shape, strides, dtype=meta.dtype, device="meta")
        return known


@dataclass(slots=True, eq=False)
class _ConcreteCall:
    """One call: its tensors beside their concrete ones, and which dim each concrete size and stride is."""

    probe: MetaProbe
    tensors: list[Any] = field(default_factory=list)
    metas: list[TensorMeta] = field(default_factory=list)
    concretes: list[torch.Tensor] = field(default_factory=list)
    dims: dict[int, Dim] = field(default_factory=dict)
    strides: dict[int, Dim] = field(default_factory=dict)
    is_symbolic: bool = False

    def concrete(self, value: Any) -> Any:
        """An argument of plain sizes."""
        if isinstance(value, torch.Tensor):
            return self._concrete_tensor(value)
        if isinstance(value, (list, tuple)):
            return [self.concrete(each) for each in value]
        if isinstance(value, dict):
            return {name: self.concrete(each) for name, each in value.items()}
        if isinstance(value, torch.SymInt):
            return self._expect(dim_of(value))
        if isinstance(value, torch.device):
            raise _Inconclusive
        return self._expect(value) if type(value) is int and value > 1 else value

    def _concrete_tensor(self, tensor: Any) -> torch.Tensor:
        for known, concrete in zip(self.tensors, self.concretes, strict=True):
            if known is tensor:
                return concrete
        meta = self.probe.metas[id(tensor)]
        if meta.requires_grad or (self.metas and meta.device != self.metas[0].device):
            raise _Inconclusive
        occurrence = sum((each.shape, each.strides) == (meta.shape, meta.strides) for each in self.metas)
        concrete = self.probe.tensor(meta, occurrence)
        self.expect(meta.shape)
        for dim in meta.strides:
            self.strides.setdefault(self.probe.size(dim), dim)
        self.tensors.append(tensor)
        self.metas.append(meta)
        self.concretes.append(concrete)
        return concrete

    def expect(self, shape: Shape) -> None:
        """Sizes that the result may have. Raises _Inconclusive where two dims have one concrete size."""
        for dim in shape:
            self._expect(dim)

    def _expect(self, dim: Dim) -> int:
        size = self.probe.size(dim)
        if self.dims.setdefault(size, dim) != dim:
            raise _Inconclusive
        self.is_symbolic = self.is_symbolic or not isinstance(dim, int)
        return size

    def shapes(self, value: Any) -> Any:
        """An argument as shape functions take it: the shape of a tensor, and sizes as dims."""
        if isinstance(value, torch.Tensor):
            return self.probe.metas[id(value)].shape
        if isinstance(value, (list, tuple)):
            return tuple(map(self.shapes, value))
        if isinstance(value, dict):
            return {name: self.shapes(each) for name, each in value.items()}
        return dim_of(value) if isinstance(value, torch.SymInt) else value

    # ── the result ──

    def cached(self, result: Any) -> Cached:
        """The result with symbolic sizes. Raises _Inconclusive."""
        if isinstance(result, (list, tuple)):
            return CachedTuple(list if type(result) is list else tuple, tuple(map(self.cached, result)))
        for index, concrete in enumerate(self.concretes):
            if result is concrete:
                return CachedArgument(index)
        if not isinstance(result, torch.Tensor) or result.storage_offset() or result.is_conj() or result.is_neg():
            raise _Inconclusive
        base = base_of(result, self.concretes)
        offset = 0 if base is None else self.metas[base].offset
        shape = tuple(map(self._dim, result.shape))
        strides = tuple(self._strides(result, shape, is_view=base is not None))
        self.probe.guard_log.sizes.update(dim for dim in shape if not isinstance(dim, int))
        is_inference = torch.is_inference_mode_enabled()
        meta = TensorMeta(result.dtype, self.metas[0].device, shape, strides, offset, False, is_inference)
        layout = tuple(map(self._sym_size, shape)), tuple(map(self._sym_size, strides)), self._sym_size(offset)
        return CachedTensor(meta, layout, base)

    def _dim(self, size: int) -> Dim:
        if size in self.dims:
            return self.dims[size]
        if self.is_symbolic and size != 1:
            raise _Inconclusive
        return size

    def _sym_size(self, dim: Dim) -> int | torch.SymInt:
        return sym_size(dim, self.probe.guard_log)

    def _strides(self, result: torch.Tensor, shape: Shape, *, is_view: bool) -> Iterator[Dim]:
        """The strides of a result that is dense in some order of its axes, or, as a view, has an argument's strides."""
        sizes = result.stride()
        order = sorted(range(len(sizes)), key=lambda axis: (sizes[axis], result.shape[axis] != 1, -axis))
        stride: Dim = 1
        dense: dict[int, Dim] = {0: 0, 1: 1}
        for axis in order:
            if sizes[axis]:
                dense.setdefault(self.probe.size(stride), stride)
                stride = stride * shape[axis]
        for size in sizes:
            given = self.strides.get(size) if is_view else None
            known = dense.get(size, given)
            if known is None or given not in (None, known):
                raise _Inconclusive  # windows of 2 fill a row of 60, and not one of n
            yield known


@cache
def _is_probed(func: Any) -> bool:
    """Whether the sizes of an op's results are those of its arguments, or numbers, or what a shape function says; and
    its storage is the result's own, or an argument's."""
    name = func.overloadpacket.__name__
    if (torch.Tag.dynamic_output_shape in func.tags and name != "index") or torch.Tag.out in func.tags:
        return False
    keeps_sizes = torch.Tag.pointwise in func.tags or torch.Tag.reduction in func.tags or name in _KEEP_SIZES
    return keeps_sizes or name in SHAPE_FUNCTIONS


__all__ = ["MetaProbe"]
