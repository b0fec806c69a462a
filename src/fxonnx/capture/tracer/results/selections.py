"""Results whose sizes, or that themselves, come from data: what is selected, counted, or read as a number.

    x: (n, 4), mask: (n)  ──index──▶  (u0, 4), u0 ≤ n            lengths: (3)  ──max, item──▶  u1

One mask selects as many wherever it is used, until something writes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import torch

from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.results.kernels import view
from fxonnx.capture.tracer.results.meta import CachedTensor, Metas, TensorMeta
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import CONSTANT, DATA
from fxonnx.capture.tracer.sizes.nodes import BoolNode, FloatNode, dim_of, sym_size
from fxonnx.capture.tracer.torch_private import FakeTensorMode
from fxonnx.errors import CaptureRefused
from fxonnx.ir.dims import Dim, Expr, Shape, at_sizes, ceil_divide, maximum, minimum, product

_MASKS = (torch.bool, torch.uint8)
_OTHER = NotImplemented  # a call that is none of these after all


@dataclass(slots=True, eq=False)
class Selections:
    """The results of one trace that come from data. `metas` are the metadata of fake tensors, by id."""

    mode: FakeTensorMode
    guard_log: GuardLog
    metas: Metas
    lookup: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # what any other call returns
    _counts: dict[Any, tuple[Any, Dim]] = field(default_factory=dict)  # id of a mask -> it, and how many it selects
    _slices: dict[Shape, Shape] = field(default_factory=dict)  # size, start, end, step -> how many, and the first
    _sums: dict[Dim, Dim] = field(default_factory=dict)  # of the sizes that an axis was cut into -> its own
    _numbers: dict[Any, tuple[Any, Dim]] = field(default_factory=dict)  # id of a vector, place -> it, and what is there
    _elements: dict[int, tuple[Any, Any, int]] = field(default_factory=dict)  # id -> it, its vector, place

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call, NotImplemented for one that does not depend on data."""
        if (self._counts or self._numbers) and is_mutable(func):
            self._forget(args)
        kernel = _KERNELS.get(str(func))
        return _OTHER if kernel is None else kernel(self, *args, **kwargs)

    def _forget(self, args: Iterable[Any]) -> None:
        """What is written to selects anew, and holds other numbers."""
        written = {storage(each) for each in args if isinstance(each, torch.Tensor)}
        for known in (self._counts, self._numbers):
            for key, (tensor, _) in list(known.items()):
                if storage(tensor) in written:
                    del known[key]

    # ── what is made ──

    def _tensor(self, shape: Sequence[Dim], dtype: torch.dtype, like: Any, order: Sequence[int] = ()) -> Any:
        """A tensor on the device of another, its axes in memory in this order."""
        strides: list[Dim] = [1] * len(shape)
        step: Dim = 1
        for axis in reversed(order or range(len(shape))):
            strides[axis] = step
            step = step * maximum(shape[axis], 1) if isinstance(shape[axis], int) else step * shape[axis]
        self.guard_log.sizes.update(dim for dim in shape if not isinstance(dim, int))
        meta = TensorMeta(dtype, like.device, tuple(shape), tuple(strides), 0, False, torch.is_inference_mode_enabled())
        layout = self._sym_sizes(shape), self._sym_sizes(strides), 0
        return CachedTensor(meta, layout, None).instantiate(self.mode, (), self.metas)

    def _sym_sizes(self, dims: Sequence[Dim]) -> tuple[int | torch.SymInt, ...]:
        return tuple(sym_size(dim, self.guard_log) for dim in dims)

    def _new(self, limit: Dim | None = None) -> Dim:
        return self.guard_log.data.new_size(limit)

    def _count(self, mask: Any) -> Dim:
        """How many elements of a mask are true, or not 0."""
        if id(mask) not in self._counts:
            self._counts[id(mask)] = mask, self._new(product(_shape(mask)))
        return self._counts[id(mask)][1]

    # ── numbers ──

    def item(self, tensor: Any) -> Any:
        """x.item(), which takes for granted that there is one element."""
        if _is_of_data(tensor.numel()):
            _check(tensor.numel() == 1)
        if tensor.numel() != 1:
            return _OTHER
        if tensor.dtype.is_complex:
            raise CaptureRefused(
                "the model reads a complex number as one of Python's",
                cause="torch has symbols for ints, floats and truths that come from data, and none for complex numbers",
                cure="leave it a tensor, x.reshape(()), which computes with others as a number does",
            )
        log = self.guard_log
        if tensor.dtype is torch.bool:
            return torch.SymBool(BoolNode((DATA, log.data.new_value()), True, log))
        if tensor.dtype.is_floating_point:
            return torch.SymFloat(FloatNode((DATA, log.data.new_value()), 0.7310585786300049, log))
        _, vector, place = self._elements.get(id(tensor), (tensor, tensor, None))
        _, dim = self._numbers.setdefault((id(vector), place), (vector, log.data.new_number()))
        return self._sym_sizes([log.data.simplified(dim)])[0]

    def arange(self, start: Any, end: Any, step: Any = 1, *, dtype: Any = None, device: Any = None, **rest: Any) -> Any:
        """From one number up to another, of which one comes from data. Of floats, or by steps that do, there are as
        many as the data say."""
        numbers = [start, end, step]
        if not any(map(_is_of_data, numbers)) or not all(isinstance(each, _NUMBERS) for each in numbers):
            return _OTHER
        if isinstance(step, (int, float)) and step == 0:
            return _OTHER
        is_real = any(isinstance(each, (float, torch.SymFloat)) for each in numbers)
        dtype = dtype or (torch.get_default_dtype() if is_real else torch.int64)
        length = self._new() if is_real or not isinstance(step, int) else self._counted(start, end, step)
        if is_real:  # an op compares floats by the values of this run
            distance, zero = (torch.sym_float((end - start) * step).node, self._zero())
            BoolNode((">=", distance, zero), True, self.guard_log).expect_true()
        elif not isinstance(step, int):
            _check((end - start) * step >= 0)
        return self._tensor((length,), dtype, _On(device or torch.get_default_device()))

    def _zero(self) -> FloatNode:
        return FloatNode((CONSTANT, 0.0), 0.0, self.guard_log, Fraction(0))

    def _counted(self, start: Any, end: Any, step: int) -> Dim:
        """How many whole numbers there are from one to another."""
        _check(end >= start if step > 0 else end <= start)
        first, last = (self.guard_log.data.simplified(dim_of(each)) for each in (start, end))
        return ceil_divide(last - first, step) if step > 0 else ceil_divide(first - last, -step)

    # ── least squares ──

    def least_squares(self, x: Any, b: Any, rcond: Any = None, *, driver: Any = None) -> Any:
        """The solution, and what the driver tells beside it. Only matrices of full rank have residuals: gels takes no
        others, and of one matrix the drivers that find the rank tell as many as there are right sides, or none."""
        (*batch, rows, columns), real = _shape(x), x.dtype.to_real()
        is_vector = b.dim() == 1 or (b.dim() == x.dim() - 1 and _shape(b) == _shape(x)[:-1])
        right = 1 if is_vector else _shape(b)[-1]
        finds_rank = driver in ("gelsd", "gelss")
        residuals: Sequence[Dim] = (0,)
        if driver in _RESIDUALS and not (isinstance(rows, int) and isinstance(columns, int) and rows <= columns):
            if (finds_rank and batch) or not (isinstance(rows, int) and isinstance(columns, int)):
                raise _refused_residuals(driver)
            residuals = (self._new(right),) if finds_rank else (*batch, right)
        return (
            self._tensor((*batch, columns, *(() if is_vector else (right,))), x.dtype, x),
            self._tensor(residuals, real, x),
            self._tensor((0,) if driver == "gels" else batch, torch.int64, x),
            self._tensor((*batch, minimum(rows, columns)) if finds_rank else (0,), real, x),
        )

    # ── selections ──

    def nonzero(self, x: Any) -> Any:
        """The places of all elements that are not 0; the last axis is the outer one in memory."""
        return self._tensor((self._count(x), x.dim()), torch.int64, x, (1, 0))

    def nonzero_numpy(self, x: Any) -> Any:
        """The same, each axis by itself."""
        x = x.unsqueeze(0) if x.dim() == 0 else x
        return [self._tensor((self._count(x),), torch.int64, x) for _ in range(x.dim())]

    def masked_select(self, x: Any, mask: Any) -> Any:
        """The elements that a mask of the same or a smaller shape selects."""
        rank = max(x.dim(), mask.dim())
        shapes = [(*(1,) * (rank - each.dim()), *_shape(each)) for each in (x, mask)]
        is_whole = all(one in (1, size) for one, size in zip(*shapes, strict=True))
        total = self._count(mask) if is_whole else self._new(product(map(self._broadcast, *shapes)))
        return self._tensor((total,), x.dtype, x)

    def _broadcast(self, one: Dim, other: Dim) -> Dim:
        return other if one == 1 else one

    def index(self, x: Any, indices: Sequence[Any]) -> Any:
        """x[mask], x[:, mask, rows]: a mask is as the places that it selects, an index for each of its axes."""
        if not any(each is not None and each.dtype in _MASKS for each in indices):
            return _OTHER
        found: list[Any] = []
        for each in indices:
            is_mask = each is not None and each.dtype in _MASKS
            if is_mask:
                self._agree(each.shape, x.shape[len(found) : len(found) + each.dim()])
            found += self.nonzero_numpy(each) if is_mask else [each]
        return self.lookup(torch.ops.aten.index.Tensor, (x, found), {})

    def _agree(self, one: Iterable[Any], other: Iterable[Any]) -> None:
        for size, known in zip(one, other, strict=True):
            _check(size == known)

    # ── parts of an axis ──

    def slice(self, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
        """x[start:end:step] where data says from where, or to where: how much that is, is data too."""
        ends = [0 if start is None else start, 2**63 - 1 if end is None else end]
        if not any(_is_of_data(each) and not self._is_known_size(dim_of(each)) for each in ends):
            return _OTHER
        shape, strides = list(x.shape), list(x.stride())
        key = dim_of(shape[dim]), *map(dim_of, ends), step
        if key not in self._slices:
            self._slices[key] = self._new(ceil_divide(key[0], step)), self.guard_log.data.new_value()
        shape[dim], begin = self._sym_sizes(self._slices[key])
        offset = x.storage_offset() + begin * strides[dim]
        strides[dim] = strides[dim] * step
        return view(x, shape, strides, offset)

    def _is_known_size(self, dim: Dim) -> bool:
        return self.guard_log.statically_known(">=", dim, 0) is True

    def narrow(self, x: Any, dim: int, start: Any, length: Any) -> Any:
        """`length` elements from `start` on."""
        if not _is_of_data(start) and not _is_of_data(length):
            return _OTHER
        for condition in (start >= 0, length >= 0, start + length <= x.shape[dim]):
            _check(condition)
        start, length = self._sym_sizes([self.guard_log.data.simplified(dim_of(each)) for each in (start, length)])
        shape = list(x.shape)
        shape[dim] = length
        return view(x, shape, x.stride(), x.storage_offset() + start * x.stride()[dim])

    def select(self, x: Any, dim: int, index: Any) -> Any:
        """x[index] where data says which; one that is out of range is the runtime's to refuse. An element of a vector
        is one number, however often it is read."""
        if not _is_of_data(index):
            element = self.lookup(torch.ops.aten.select.int, (x, dim, index), {})
            if x.dim() == 1 and type(index) is int:
                self._elements[id(element)] = element, x, index
            return element
        shape, strides = list(x.shape), list(x.stride())
        del shape[dim], strides[dim]
        return view(x, shape, strides, x.storage_offset() + index * x.stride()[dim])

    def windows(self, x: Any, dimension: int, size: int, step: int) -> Any:
        """x.unfold(): at least one window."""
        if x.dim():
            _check(x.shape[dimension] >= size)
        return _OTHER

    def extremum(self, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """max(), min() and the like, which have no answer for nothing."""
        shape = x.shape or (1,)  # the axis of a scalar
        axes = range(x.dim()) if dim is None or dim == [] else dim if isinstance(dim, (list, tuple)) else [dim]
        for axis in axes:
            if _is_of_data(shape[axis]):
                _check(shape[axis] >= 1)
        return _OTHER

    # ── what is different ──

    def unique(self, x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> Any:
        """torch.unique(x): its elements, the place of each among them, and how often it is there."""
        return self._distinct(x, product(_shape(x)), None, return_inverse, return_counts)

    def unique_without_counts(self, x: Any, sorted: bool = True, return_inverse: bool = False) -> Any:
        """The same but for the counts, as gradients of what is filled in ask for it."""
        return self.unique(x, sorted, return_inverse)[:2]

    def unique_dim(
        self, x: Any, dim: int, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
    ) -> Any:  # fmt: skip
        """The same of the slices along an axis, all of it whether it is asked for or not."""
        return self._distinct(x, _shape(x)[dim], dim % x.dim(), True, True)

    def unique_consecutive(
        self, x: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> Any:  # fmt: skip
        """Runs of equal elements, or slices."""
        if dim is None:
            return self.unique(x, True, return_inverse, return_counts)
        return self.unique_dim(x, dim, True, return_inverse, return_counts)

    def _distinct(self, x: Any, limit: Dim, axis: int | None, inverse: bool, counts: bool) -> Any:
        size, shape = self._new(limit), _shape(x)
        found = (size,) if axis is None else (*shape[:axis], size, *shape[axis + 1 :])
        places: Sequence[Dim] = (0,) if not inverse else shape if axis is None else (limit,)
        return (
            self._tensor(found, x.dtype, x),
            self._tensor(places, torch.int64, x),
            self._tensor((size,) if counts else (0,), torch.int64, x),
        )

    # ── packed sequences ──

    def pack(self, x: Any, lengths: Any, batch_first: bool) -> Any:
        """The steps of all sequences, and how many have each step: all of them the first."""
        batch, steps = _shape(x)[:2] if batch_first else _shape(x)[1::-1]
        self._agree(lengths.shape, self._sym_sizes([batch]))
        total, longest = self._new(batch * steps), self._new(steps)
        for size in (total, longest):
            self.guard_log.data.learn(">=", size - 1)
        data, sizes = self._tensor((total, *_shape(x)[2:]), x.dtype, x), self._tensor((longest,), torch.int64, lengths)
        self._numbers[id(sizes), 0] = sizes, batch
        return data, sizes

    def pad(self, data: Any, batch_sizes: Any, batch_first: bool, padding: Any, total: Any) -> Any:
        """All sequences, as long as the longest one or `total`; and their lengths."""
        (longest,), (rows, *features) = _shape(batch_sizes), _shape(data)
        steps = longest if isinstance(total, int) and total <= 0 else dim_of(total)
        _check(total >= batch_sizes.shape[0] if steps is not longest else True)
        _, batch = self._numbers.setdefault((id(batch_sizes), 0), (batch_sizes, self._new(rows)))
        lengths = self._tensor((batch,), torch.int64, batch_sizes)
        order = tuple(range(len(features) + 2))
        if batch_first:
            return self._tensor((batch, steps, *features), data.dtype, data, (1, 0, *order[2:])), lengths
        return self._tensor((steps, batch, *features), data.dtype, data), lengths

    # ── as often as data says ──

    def repeated(self, repeats: Any, *, output_size: Any = None) -> Any:
        """0, 1, … each as often as `repeats` says."""
        size = self._new() if output_size is None else dim_of(output_size)
        return self._tensor((size,), repeats.dtype, repeats)

    def repeat_interleave(self, x: Any, repeats: Any, dim: int | None = None, *, output_size: Any = None) -> Any:
        """Each slice as often as `repeats` says."""
        shape = (product(_shape(x)),) if dim is None else _shape(x)
        axis = 0 if dim is None else dim % x.dim()
        if _shape(repeats) not in ((), (1,)):
            self._agree(repeats.shape, [x.numel() if dim is None else x.shape[axis]])
        size = self._new() if output_size is None else dim_of(output_size)
        return self._tensor((*shape[:axis], size, *shape[axis + 1 :]), x.dtype, x)

    def one_hot(self, x: Any, num_classes: Any = -1) -> Any:
        """A row for each number, as long as the greatest is great."""
        return self._tensor((*_shape(x), self._new()), torch.int64, x) if num_classes == -1 else _OTHER

    def bincount(self, x: Any, weights: Any = None, minlength: Any = 0) -> Any:
        """How often each number is there, up to the greatest."""
        size = self._new()
        self.guard_log.learn(">=", size, dim_of(minlength))
        if weights is None or x.numel() == 0:  # of nothing there are no weights either
            return self._tensor((size,), torch.int64, x)
        return self._tensor((size,), torch.float32 if weights.dtype is torch.float32 else torch.float64, x)

    def nms(self, boxes: Any, scores: Any, threshold: float) -> Any:
        """The boxes that overlap with no better one."""
        return self._tensor((self._new(_shape(boxes)[0]),), torch.int64, boxes)

    def split(self, x: Any, sizes: Sequence[Any], dim: int = 0) -> Any:
        """Pieces of an axis, of sizes that come from data."""
        if not any(map(_is_of_data, sizes)):
            return _OTHER
        for each in sizes:
            _check(each >= 0)
        _check(reduce(lambda a, b: a + b, sizes) == x.shape[dim])
        self._sums[sum(self._simplified(sizes))] = dim_of(x.shape[dim])
        pieces, shape, strides, offset = [], list(x.shape), x.stride(), x.storage_offset()
        for length in self._sym_sizes(self._simplified(sizes)):
            shape[dim] = length
            pieces.append(view(x, shape, strides, offset))
            offset = offset + length * strides[dim]
        return pieces

    def cat(self, tensors: Sequence[Any], dim: int = 0, *, op: Any) -> Any:
        """Tensors along an axis: all pieces of one together are as long as it."""
        result = self.lookup(op, (tensors, dim), {})
        shape = tuple(self._sums.get(size, size) for size in _shape(result)) if self._sums else _shape(result)
        if self.guard_log.takes_plain and all(each.dim() == len(shape) and _shape(each)[dim] == 1 for each in tensors):
            shape = self._as_many(shape, dim, len(tensors))
        return result if shape == _shape(result) else self._tensor(shape, result.dtype, result)

    def stack(self, tensors: Sequence[Any], dim: int = 0) -> Any:
        """Tensors along a new axis, which counts them."""
        result = self.lookup(torch.ops.aten.stack.default, (tensors, dim), {})
        shape = self._as_many(_shape(result), dim, len(tensors)) if self.guard_log.takes_plain else _shape(result)
        return result if shape == _shape(result) else self._tensor(shape, result.dtype, result)

    def _as_many(self, shape: Shape, axis: int, count: int) -> Shape:
        """The shape where an axis counts tensors. As many as Python goes through for a size are of that size: what the
        model decides by it is noted as what holds for sizes, as it may be otherwise at others. Loops in loops have
        numbers that are equal by accident."""
        log = self.guard_log
        told, sizes = set(log.ranges), list(shape)
        if len(told) == 1 and isinstance(dim := told.pop(), Expr) and at_sizes(dim, log.hints) == count:
            sizes[axis] = dim
        return tuple(sizes)

    def _simplified(self, sizes: Sequence[Any]) -> list[Dim]:
        return [self.guard_log.data.simplified(dim_of(each)) for each in sizes]


@dataclass(frozen=True, slots=True)
class _On:
    """What a result is like that no tensor is given for."""

    device: torch.device


def _shape(x: Any) -> Shape:
    return tuple(map(dim_of, x.shape))


def _is_of_data(size: Any) -> bool:
    return isinstance(size, (torch.SymInt, torch.SymFloat)) and bool(size.node.comes_from_data)


def _check(condition: Any) -> None:
    """What an op checks of its arguments."""
    if isinstance(condition, torch.SymBool):
        condition.node.expect_true()
    elif not condition:
        raise ValueError("sizes do not agree")


def _refused_residuals(driver: str) -> CaptureRefused:
    return CaptureRefused(
        f"the residuals of least squares by driver={driver!r} have a number of axes that is not known",
        cause="there are any only where a matrix has more rows than columns and all of a batch have full rank",
        cure="leave out the driver, and compute them of what that returns: (A @ X - B).abs().square().sum(-2)",
    )


_NUMBERS = (int, float, torch.SymInt, torch.SymFloat)
_RESIDUALS = ("gels", "gelsd", "gelss")  # drivers of least squares that tell them


_EXTREMA = ("max", "min", "amax", "amin", "argmax", "argmin", "aminmax")
_KERNELS: dict[str, Callable[..., Any]] = {
    "aten.item.default": Selections.item,
    "aten._local_scalar_dense.default": Selections.item,
    "aten.arange.default": lambda self, end, **options: self.arange(0, end, **options),
    "aten.arange.start": Selections.arange,
    "aten.arange.start_step": Selections.arange,
    "aten._pack_padded_sequence.default": Selections.pack,
    "aten._pad_packed_sequence.default": Selections.pad,
    **{f"aten.{name}.default": Selections.extremum for name in _EXTREMA},
    "aten.max.dim": Selections.extremum,
    "aten.min.dim": Selections.extremum,
    "aten.unfold.default": Selections.windows,
    "aten.linalg_lstsq.default": Selections.least_squares,
    "aten.nonzero.default": Selections.nonzero,
    "aten.argwhere.default": Selections.nonzero,
    "aten.nonzero_numpy.default": Selections.nonzero_numpy,
    "aten.masked_select.default": Selections.masked_select,
    "aten.index.Tensor": Selections.index,
    "aten._unique.default": Selections.unique_without_counts,
    "aten._unique2.default": Selections.unique,
    "aten.unique_dim.default": Selections.unique_dim,
    "aten.unique_consecutive.default": Selections.unique_consecutive,
    "aten.repeat_interleave.Tensor": Selections.repeated,
    "aten.repeat_interleave.self_Tensor": Selections.repeat_interleave,
    "aten.one_hot.default": Selections.one_hot,
    "aten.bincount.default": Selections.bincount,
    "aten.slice.Tensor": Selections.slice,
    "aten.narrow.default": Selections.narrow,
    "aten.select.int": Selections.select,
    "aten.split_with_sizes.default": Selections.split,
    "aten.cat.default": partial(Selections.cat, op=torch.ops.aten.cat.default),
    "aten.stack.default": Selections.stack,
    "aten.concat.default": partial(Selections.cat, op=torch.ops.aten.concat.default),
    "torchvision.nms.default": Selections.nms,
}
"""op -> its kernel"""


__all__ = ["Selections"]
