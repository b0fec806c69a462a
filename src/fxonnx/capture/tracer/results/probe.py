"""What an op returns, asked of torch with plain sizes: for the ops whose results are as long as their arguments.

    x: (batch, 8·time)  ──▶  twin: (6060, 49440)  ──torch's kernel──▶  (6060, 1)  ──▶  (batch, 1)

Of a tensor with symbolic sizes torch's kernels ask fifty questions; of one with plain sizes, none. A dim's number is
one that no other size of the call has: a size of the result tells by it which dim it is, and sizes that must agree do
so in the twins only where they are one and the same. What does not fit is torch's to say, of the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import torch

from fxonnx.capture.tracer.fake_inputs import is_prime
from fxonnx.capture.tracer.results.meta import CachedArgument, CachedTensor, CachedTuple, TensorMeta, is_original
from fxonnx.capture.tracer.results.shapes import SHAPE_FUNCTIONS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_int
from fxonnx.capture.tracer.torch_private import (
    REFUSALS,
    FakeTensorMode,
    in_kernel_invocation_manager,
    no_python_dispatcher,
)
from fxonnx.ir.dims import Dim, evaluate

_STEP = 60  # sizes of twins divide well: what is right for odd sizes only does not pass
_NAMED = frozenset({
    "__and__", "__or__", "__xor__", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "addmm", "affine_grid_generator", "argsort",
    "baddbmm", "batch_norm", "bmm", "clone", "contiguous", "copy_", "cumprod", "cumsum", "dot", "dropout", "dropout_",
    "einsum", "embedding", "expand", "expand_as", "feature_dropout", "fft_fft", "fft_ifft", "fill_", "flip", "gather",
    "glu", "grid_sampler", "group_norm", "index", "index_add", "index_copy", "index_fill", "index_put", "index_select",
    "instance_norm", "layer_norm", "linear", "log_softmax", "masked_fill", "masked_fill_", "matmul", "mm", "mv",
    "permute", "prelu", "rms_norm", "roll", "scaled_dot_product_attention", "scatter", "scatter_add", "scatter_reduce",
    "softmax", "sort", "squeeze", "t", "take_along_dim", "to", "topk", "transpose", "tril", "triu", "type_as",
    "unsqueeze", "where", "zero_",
})  # fmt: skip


class _Unsure(Exception):
    """The twins do not tell."""


@dataclass(slots=True, eq=False)
class MetaProbe:
    """The twins of one trace, and what torch answers for them."""

    mode: FakeTensorMode
    guard_log: GuardLog
    _sizes: dict[str, int] = field(default_factory=dict)  # of each symbol in the twins
    _numbers: dict[Dim, int] = field(default_factory=dict)
    _tensors: dict[Any, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        primes = filter(is_prime, count(101))
        self._sizes.update({name: _STEP * next(primes) for name in self.guard_log.hints})

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], looks: dict[int, Any]) -> Any:
        """What the call makes, or None. `looks` are the geometries of the tensors among the arguments, by id."""
        if not _keeps_sizes(func) or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled():
            return None
        call = _Call(self, looks)
        try:
            given = call.twin(args), call.twin(kwargs)
            with in_kernel_invocation_manager(self.mode), no_python_dispatcher():
                result = func(*given[0], **given[1])
            rule = SHAPE_FUNCTIONS.get(func.overloadpacket.__name__)
            if rule is not None:
                call.learn(rule(*call.sizes(args), **call.sizes(kwargs)))
            return call.made(result)
        except (_Unsure, *REFUSALS):  # torch is asked, of the tensors themselves
            return None

    def number(self, dim: Dim) -> int:
        """A dim's size in the twins."""
        if isinstance(dim, int):
            return dim
        known = self._numbers.get(dim)
        if known is None:
            known = self._numbers[dim] = evaluate(dim, self._sizes)
        if known < 2:
            raise _Unsure
        return known

    def tensor(self, look: Any, occurrence: int) -> torch.Tensor:
        """The twin of a tensor; those of one look in one call are told apart."""
        key = look[0], look[2], look[3], occurrence
        known = self._tensors.get(key)
        if known is None:
            sizes, strides = (tuple(map(self.number, dims)) for dims in look[2:4])
            with in_kernel_invocation_manager(self.mode):
                known = self._tensors[key] = torch.empty_strided(sizes, strides, dtype=look[0], device="meta")
        return known


@dataclass(slots=True, eq=False)
class _Call:
    """One call: its tensors and their twins, and which dim each number is."""

    probe: MetaProbe
    looks: dict[int, Any]
    tensors: list[Any] = field(default_factory=list)
    doubles: list[torch.Tensor] = field(default_factory=list)
    dims: dict[int, Dim] = field(default_factory=dict)
    steps: dict[int, Dim] = field(default_factory=dict)  # strides
    varies: bool = False

    def twin(self, value: Any) -> Any:
        """An argument of plain sizes."""
        if isinstance(value, torch.Tensor):
            return self._double(value)
        if isinstance(value, (list, tuple)):
            return [self.twin(each) for each in value]
        if isinstance(value, dict):
            return {name: self.twin(each) for name, each in value.items()}
        if isinstance(value, torch.SymInt):
            return self._number(dim_of(value))
        if isinstance(value, torch.device):
            raise _Unsure
        return self._number(value) if type(value) is int and value > 1 else value

    def _double(self, tensor: Any) -> torch.Tensor:
        for known, double in zip(self.tensors, self.doubles, strict=True):
            if known is tensor:
                return double
        look = self.looks[id(tensor)]
        if look[5][2] or (self.tensors and look[1] != self.looks[id(self.tensors[0])][1]):
            raise _Unsure  # gradients, or another device
        alike = sum(self.looks[id(each)][2:4] == look[2:4] for each in self.tensors)
        double = self.probe.tensor(look, alike)
        for dim in look[2]:
            self._number(dim)
        for dim in look[3]:
            self.steps.setdefault(self.probe.number(dim), dim)
        self.tensors.append(tensor)
        self.doubles.append(double)
        return double

    def _number(self, dim: Dim) -> int:
        number = self.probe.number(dim)
        if self.dims.setdefault(number, dim) != dim:
            raise _Unsure
        self.varies = self.varies or not isinstance(dim, int)
        return number

    def sizes(self, value: Any) -> Any:
        """An argument as rules take it: the dims of a tensor, and those of sizes."""
        if isinstance(value, torch.Tensor):
            return self.looks[id(value)][2]
        if isinstance(value, (list, tuple)):
            return tuple(map(self.sizes, value))
        if isinstance(value, dict):
            return {name: self.sizes(each) for name, each in value.items()}
        return dim_of(value) if isinstance(value, torch.SymInt) else value

    def learn(self, sizes: Iterable[Dim]) -> None:
        """Take note of what else can be a size of the result."""
        for dim in sizes:
            self._number(dim)

    # ── the result ──

    def made(self, result: Any) -> Any:
        """How to make the result, again and again."""
        if isinstance(result, (list, tuple)):
            return CachedTuple(type(result) if type(result) in (list, tuple) else tuple, tuple(map(self.made, result)))
        for index, double in enumerate(self.doubles):
            if result is double:
                return CachedArgument(index)
        if not isinstance(result, torch.Tensor) or result.storage_offset() or result.is_conj() or result.is_neg():
            raise _Unsure
        shares = next((index for index, each in enumerate(self.doubles) if _storage(each) == _storage(result)), None)
        sizes = tuple(map(self._dim, result.shape))
        strides = tuple(self._strides(result, sizes))
        device = self.looks[id(self.tensors[0])][1]
        offset = 0 if shares is None else self.looks[id(self.tensors[shares])][4]
        torchs = tuple(map(self._size, sizes)), tuple(map(self._size, strides)), self._size(offset)
        look = TensorMeta(*torchs, result.dtype, device)
        flags = False, False, False, torch.is_inference_mode_enabled()
        self.probe.guard_log.sizes.update(dim for dim in sizes if not isinstance(dim, int))
        return CachedTensor(look, shares, (result.dtype, device, sizes, strides, offset, flags), False)

    def _dim(self, number: int) -> Dim:
        if number in self.dims:
            return self.dims[number]
        if self.varies and number != 1:
            raise _Unsure
        return number

    def _size(self, dim: Dim) -> int | torch.SymInt:
        guard_log = self.probe.guard_log
        return dim if isinstance(dim, int) else sym_int(dim, evaluate(dim, guard_log.hints), guard_log)

    def _strides(self, result: torch.Tensor, sizes: Sequence[Dim]) -> Iterator[Dim]:
        """The strides of a result, whose elements lie in a row in some order of its axes, or as an argument's do."""
        numbers = result.stride()
        order = sorted(range(len(numbers)), key=lambda axis: (numbers[axis], result.shape[axis] != 1, -axis))
        step: Dim = 1
        found: dict[int, Dim] = {0: 0, 1: 1}
        for axis in order:
            if numbers[axis]:
                found.setdefault(self.probe.number(step), step)
                step = step * sizes[axis]
        for number in numbers:
            known = found.get(number, self.steps.get(number))
            if known is None:
                raise _Unsure
            yield known


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@cache
def _keeps_sizes(func: Any) -> bool:
    """Whether the sizes of a call's results are among the sizes of its arguments, or numbers; and its storage is the
    result's own, or an argument's."""
    name = func.overloadpacket.__name__
    tags = func.tags
    if is_original(func) or (torch.Tag.dynamic_output_shape in tags and name != "index") or torch.Tag.out in tags:
        return False
    return torch.Tag.pointwise in tags or torch.Tag.reduction in tags or name in _NAMED or name in SHAPE_FUNCTIONS


__all__ = ["MetaProbe"]
