"""Views: what shares memory with what, how a view is taken again of a new value, and how a value written into it
reaches the whole.

A view is undone by geometry: what keeps the order of elements by a reshape, what permutes axes by the inverse
permutation, what picks a part by the scatter that puts it back. Any other is undone by positions: the same view, taken
of 0, 1, 2, …, tells where its elements come from. A view that shares memory with itself (`expand`, overlapping
`unfold` or `as_strided`) cannot be written to, but what is picked of it can: the positions go through both.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.errors import CaptureRefused

aten = torch.ops.aten


class NotInvertible(Exception):
    """A view through which nothing can be written back."""


def geometry(value: torch.Tensor) -> tuple[Any, ...]:
    """What tells views of one memory apart.

    Symbolic sizes are compared as expressions: comparing them as numbers would add guards.
    """
    layout = (*value.shape, *value.stride(), value.storage_offset())
    return (
        value.dtype,
        value.is_conj(),
        value.is_neg(),
        tuple(each if isinstance(each, int) else each.node.expr for each in layout),
    )


def storage(value: torch.Tensor) -> int:
    """The identity of the memory behind a fake tensor.

    Fake memory has no address; torch names it by this number (as its StorageWeakRef does).
    """
    try:
        return int(value.untyped_storage()._cdata)
    except NotImplementedError as error:
        raise CaptureRefused(
            "a transform of torch.func is left in the graph",
            cause="its tensors have no memory of their own",
            cure="compute the gradient or the batch with plain operations",
        ) from error


class Emit:
    """Adds calls to a graph before a given node, with that node's place."""

    def __init__(self, graph: fx.Graph, before: fx.Node) -> None:
        self._graph, self._before = graph, before

    def __call__(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> fx.Node:
        """A call whose result is like `value`, a fake tensor or a size."""
        with self._graph.inserting_before(self._before):
            node = self._graph.call_function(target, args, kwargs)
        node.meta = {
            name: self._before.meta[name] for name in ("nn_module_stack", "stack_trace") if name in self._before.meta
        }
        node.meta["val"] = value
        return node

    def sizes(self, node: fx.Node) -> list[Any]:
        """The node's shape as arguments: numbers, and nodes for symbolic ones."""
        return [self.size(node, axis) for axis in range(node.meta["val"].dim())]

    def size(self, node: fx.Node, axis: int) -> Any:
        """One size of the node."""
        size = node.meta["val"].shape[axis]
        return size if isinstance(size, int) else self(aten.sym_size.int, (node, axis), {}, size)

    def total(self, left: Any, right: Any) -> Any:
        """The sum of two sizes, each a number or a node."""
        if isinstance(left, int) and isinstance(right, int):
            return left + right
        return self(operator.add, (left, right), {}, _number(left) + _number(right))

    def product(self, sizes: Sequence[Any]) -> Any:
        """The product of sizes, each a number or a node."""
        result: Any = 1
        for size in sizes:
            both_known = isinstance(result, int) and isinstance(size, int)
            value = _number(result) * _number(size)
            result = value if both_known else self(operator.mul, (result, size), {}, value)
        return result


def _number(size: Any) -> Any:
    return size.meta["val"] if isinstance(size, fx.Node) else size


@dataclass(frozen=True, slots=True)
class View:
    """A call that takes a view (of several results `node` is one), and what it is a view of, among its arguments."""

    node: fx.Node
    source: fx.Node

    @property
    def call(self) -> fx.Node:
        """The call whose result, or one of whose results, the view is."""
        return self.node.args[0] if self.node.target is operator.getitem else self.node


WriteBack: TypeAlias = Callable[[Emit, fx.Node, fx.Node, fx.Node], fx.Node | None]
"""(emit, view, whole, part) -> the whole with the part in the view's place, or None where positions must tell."""


def write_back(emit: Emit, views: Sequence[View], whole: fx.Node, part: fx.Node) -> fx.Node:
    """The base's new value after `part` was written into a view of it; of several, each is a view of the one before.
    Raises NotInvertible."""
    written = _undone(emit, views[0], whole, part) if len(views) == 1 else None
    return _by_positions(emit, views, whole, part) if written is None else written


def _undone(emit: Emit, view: View, whole: fx.Node, part: fx.Node) -> fx.Node | None:
    target = view.call.target
    inverse = _INVERSES.get(target._overloadpacket if isinstance(target, torch._ops.OpOverload) else target)
    return None if inverse is None else inverse(emit, view.node, whole, part)


def replay(emit: Emit, view: View, whole: fx.Node, like: Callable[[Any], Any] = lambda value: value) -> fx.Node:
    """The same view of another value of its base; `like` makes of a fake tensor of the view one of the new view."""
    call = view.call
    args, kwargs = fx.map_arg((call.args, dict(call.kwargs)), lambda each: whole if each is view.source else each)
    if call is view.node:
        return emit(call.target, args, kwargs, like(call.meta["val"]))
    given = call.args[0]  # of several tensors each result is a view of one: broadcast_tensors
    sources = given if isinstance(given, list | tuple) else [given] * len(call.meta["val"])
    pairs = zip(sources, call.meta["val"], strict=True)
    values = [like(each) if source is view.source else each for source, each in pairs]
    results = emit(call.target, args, kwargs, values)
    return emit(operator.getitem, (results, view.node.args[1]), {}, like(view.node.meta["val"]))


def _by_positions(emit: Emit, views: Sequence[View], whole: fx.Node, part: fx.Node) -> fx.Node:
    """Each element of the part put where the views find the element's number. Raises NotInvertible."""
    before, after = whole.meta["val"], views[-1].node.meta["val"]
    if before.dtype is not after.dtype or overlaps_itself(after):
        raise NotInvertible(str(views[-1].call.target))
    places = _numbered(emit, whole)
    for view in views:
        places = replay(emit, view, places, _in_int64)
    return emit(aten.put.default, (whole, places, part), {}, before)


def _numbered(emit: Emit, whole: fx.Node) -> fx.Node:
    """0, 1, 2, … in the shape, and for those who ask, in the memory layout of a tensor."""
    value, sizes = whole.meta["val"], emit.sizes(whole)
    count = emit.product(sizes)
    with value.fake_mode, torch.no_grad():
        flat = torch.arange(_number(count))
    row = emit(aten.arange.default, (count,), {}, flat)
    return emit(aten.reshape.default, (row, sizes), {}, _in_int64(value))


def _in_int64(value: Any) -> Any:
    """A fake tensor in the layout of another one."""
    with value.fake_mode, torch.no_grad():
        return torch.empty_strided(value.shape, value.stride(), dtype=torch.int64)


def overlaps_itself(value: torch.Tensor) -> bool:
    """Whether elements may share memory, at the sizes of this run."""
    extents = sorted((hint_of(stride), hint_of(size)) for size, stride in zip(value.shape, value.stride(), strict=True))
    last = 0  # the farthest element of the axes so far
    for stride, size in extents:
        if size > 1 and stride <= last:
            return True
        last += stride * max(size - 1, 0)
    return False


def hint_of(size: Any) -> int:
    """A size as it is in the run."""
    return size if isinstance(size, int) else int(size.node.hint)


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An argument of an aten call by its name in the schema."""
    if name in node.kwargs:
        return node.kwargs[name]
    for position, each in enumerate(node.target._schema.arguments):
        if each.name == name:
            return (
                node.args[position]
                if position < len(node.args)
                else default
                if each.default_value is None
                else each.default_value
            )
    return default


def _like(whole: fx.Node) -> Any:
    return whole.meta["val"]


def _reshape(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    return emit(aten.reshape.default, (part, emit.sizes(whole)), {}, _like(whole))


def _slice(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    dim, start, end, step = (
        argument(view, name, default) for name, default in (("dim", 0), ("start", None), ("end", None), ("step", 1))
    )
    return emit(aten.slice_scatter.default, (whole, part, dim, start, end, step), {}, _like(whole))


def _narrow(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node | None:
    dim, start, length = view.args[1:4]
    if isinstance(_number(start), torch.Tensor):
        return None
    first = emit.total(emit.size(whole, dim), start) if _number(start) < 0 else start
    return emit(aten.slice_scatter.default, (whole, part, dim, first, emit.total(first, length), 1), {}, _like(whole))


def _select(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    return emit(
        aten.select_scatter.default, (whole, part, argument(view, "dim", 0), argument(view, "index")), {}, _like(whole)
    )


def _diagonal(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    places = [argument(view, name, default) for name, default in (("offset", 0), ("dim1", 0), ("dim2", 1))]
    return emit(aten.diagonal_scatter.default, (whole, part, *places), {}, _like(whole))


def _unbind(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    many, index = view.args
    return emit(aten.select_scatter.default, (whole, part, argument(many, "dim", 0), index), {}, _like(whole))


def _split(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node | None:
    """One of several consecutive parts: it begins where the parts before it end. Those between the cutting points of
    tensor_split need not be consecutive."""
    many, index = view.args
    if many.target is aten.tensor_split.indices:
        return None
    dim = argument(many, "dim", 0)
    before = [value.shape[dim] for value in many.meta["val"][:index]]
    start: Any = sum(before) if all(isinstance(size, int) for size in before) else _begin(emit, many, index, dim)
    end = emit.total(start, emit.size(part, dim))
    return emit(aten.slice_scatter.default, (whole, part, dim, start, end, 1), {}, _like(whole))


def _begin(emit: Emit, many: fx.Node, index: int, dim: int) -> Any:
    start: Any = 0
    for position in range(index):
        each = emit(operator.getitem, (many, position), {}, many.meta["val"][position])
        start = emit.total(start, emit.size(each, dim))
    return start


def _permuted(permutation: Callable[..., Sequence[int]]) -> WriteBack:
    """The write-back of a view that permutes axes; `permutation(rank, *args)` gives for each axis of the view the
    base's axis."""

    def inverse(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
        forward = permutation(whole.meta["val"].dim(), *view.args[1:])
        back = sorted(range(len(forward)), key=forward.__getitem__)
        return emit(aten.permute.default, (part, back), {}, _like(whole))

    return inverse


def _permute(rank: int, axes: Sequence[int]) -> list[int]:
    return [axis % rank for axis in axes]


def _swap(rank: int, first: int = -2, second: int = -1) -> list[int]:
    axes = list(range(rank))
    if rank:
        axes[first], axes[second] = axes[second], axes[first]
    return axes


def _transpose_matrix(rank: int) -> list[int]:
    return _swap(rank) if rank == 2 else list(range(rank))


def _reverse(rank: int) -> list[int]:
    return list(reversed(range(rank)))


def _move(rank: int, source: int | Sequence[int], destination: int | Sequence[int]) -> list[int]:
    sources = [axis % rank for axis in ([source] if isinstance(source, int) else source)]
    places = [axis % rank for axis in ([destination] if isinstance(destination, int) else destination)]
    moved = dict(zip(places, sources, strict=True))
    rest = iter(axis for axis in range(rank) if axis not in sources)
    return [moved[axis] if axis in moved else next(rest) for axis in range(rank)]


def _complex_part(real: bool) -> WriteBack:
    def inverse(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
        other = emit(aten.imag.default if real else aten.real.default, (whole,), {}, part.meta["val"])
        return emit(aten.complex.default, (part, other) if real else (other, part), {}, _like(whole))

    return inverse


def _by(target: Any) -> WriteBack:
    """The write-back of a view that one op undoes."""

    def inverse(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
        return emit(target, (part,), {}, _like(whole))

    return inverse


def _expand(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node | None:
    """An expand that repeats nothing only adds axes of size 1."""
    return _reshape(emit, view, whole, part) if _extents(part) == _extents(whole) else None


def _extents(node: fx.Node) -> list[Any]:
    """The sizes that are not 1, as numbers or expressions."""
    sizes = (size if isinstance(size, int) else size.node.expr for size in node.meta["val"].shape)
    return [size for size in sizes if size != 1]


def _reinterpret(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    return emit(aten.view.dtype, (part, whole.meta["val"].dtype), {}, _like(whole))


def _view(emit: Emit, view: fx.Node, whole: fx.Node, part: fx.Node) -> fx.Node:
    return (_reinterpret if view.target is aten.view.dtype else _reshape)(emit, view, whole, part)


_INVERSES: dict[Any, WriteBack] = {
    **dict.fromkeys(
        (aten.reshape, aten.flatten, aten.unflatten, aten.squeeze, aten.unsqueeze, aten.squeeze_, aten.unsqueeze_,
        aten._unsafe_view,
         aten.view_as, aten.reshape_as, aten.ravel, aten._reshape_alias, aten.atleast_1d, aten.atleast_2d,
         aten.contiguous),
        _reshape,
    ),
    aten.view: _view,
    aten.expand: _expand,
    aten.expand_as: _expand,
    aten.broadcast_tensors: _expand,
    aten.slice: _slice,
    aten.narrow: _narrow,
    aten.select: _select,
    aten.diagonal: _diagonal,
    aten.unbind: _unbind,
    **dict.fromkeys((aten.split, aten.split_with_sizes, aten.chunk, aten.tensor_split), _split),
    **dict.fromkeys((aten.unsafe_split, aten.unsafe_chunk), _split),
    aten.permute: _permuted(_permute),
    **dict.fromkeys((aten.transpose, aten.swapaxes, aten.swapdims, aten.transpose_), _permuted(_swap)),
    **dict.fromkeys((aten.t, aten.t_), _permuted(_transpose_matrix)),
    aten.numpy_T: _permuted(_reverse),
    aten.mT: _permuted(_swap),
    **dict.fromkeys((aten.movedim, aten.moveaxis), _permuted(_move)),
    aten.real: _complex_part(True),
    aten.imag: _complex_part(False),
    aten.view_as_real: _by(aten.view_as_complex.default),
    aten.view_as_complex: _by(aten.view_as_real.default),
    **dict.fromkeys((aten.conj, aten._conj), _by(aten.conj.default)),
    aten._neg_view: _by(aten.neg.default),
}  # fmt: skip
