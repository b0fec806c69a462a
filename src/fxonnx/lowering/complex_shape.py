"""Complex tensors in ops that move, cut, join or add up elements: the real lowering, told about the trailing axis.

A complex tensor travels as a real one with a last axis of 2, its real and imaginary part. An op that does not compute
with the parts needs no lowering of its own: its axes are counted without the last one, its sizes get a 2 behind them,
and so on. `BEHIND` says for each op what happens to which argument. Some ops work on the last axes; for those
(`IN_FRONT`) the parts go to the first axis, and the other axes are counted from the back. Those that count elements, or
fill in a number, see one part after the other (`PART_BY_PART`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import Promotion
from fxonnx.lowering.registry import Body, Lowering, Unsupported
from fxonnx.lowering.vocabulary import axes_of, axis_of, reshape

Change = Callable[[Builder, Any, int], Any]
"""(op, an argument, the complex tensor's own rank) -> the argument of the real lowering."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What happens to an op's arguments; `pairs` are the tensors and numbers that become complex with the others,
    `flattens` is the argument without which torch works on the vector of all elements."""

    changes: Mapping[str, Change] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()
    flattens: str = ""


def whole(op: Builder, x: Any) -> Any:
    """A real operand (last axis of 1, see `as_pair`) as a complex one: its imaginary part is 0."""
    if isinstance(x, (list, tuple)):
        return [whole(op, item) for item in x]
    return op.Pad(x, [0, 1], None, [-1]) if x.shape[-1] == 1 else x


# ── what happens to an argument ──


def _axis(op: Builder, dim: int, rank: int) -> int:
    return axis_of(dim, rank)


def _new_axis(op: Builder, dim: int, rank: int) -> int:
    return axis_of(dim, rank + 1)


def _axes(op: Builder, dims: int | Sequence[int], rank: int) -> list[int]:
    return [_axis(op, dim, rank) for dim in ([dims] if isinstance(dims, int) else dims)]


def _squeezed(op: Builder, dims: int | Sequence[int] | None, rank: int) -> list[int]:
    return list(range(rank)) if dims is None or rank == 0 else _axes(op, dims, rank)


def _order(op: Builder, dims: Sequence[int], rank: int) -> list[int]:
    return [*axes_of(dims, rank), rank]


def _size(op: Builder, dims: Sequence[Any], rank: int) -> list[Any]:
    return [*dims, 2]


def _times(op: Builder, counts: Sequence[Any], rank: int) -> list[Any]:
    return [*counts, 1]


def _condition(op: Builder, condition: Tensor, rank: int) -> Tensor:
    return op.Unsqueeze(condition, [-1])


def _index(op: Builder, index: Tensor, rank: int) -> Tensor:
    return op.Expand(_condition(op, index, rank), [2])


def _from_back(op: Builder, dim: int, rank: int) -> int:
    return axis_of(dim, rank) - rank


def _each(names: str, shift: Shift) -> dict[str, Shift]:
    return dict.fromkeys(names.split(), shift)


_JOIN = ("tensors",)

BEHIND: dict[str, Shift] = {
    **_each("clone contiguous detach alias lift_fresh lift_fresh_copy lift positive neg resolve_neg", Shift()),
    **_each("index _unsafe_index uniform", Shift()),
    **_each("slice select narrow split split_with_sizes chunk tensor_split unbind index_select", Shift({"dim": _axis})),
    **_each("slice_copy select_copy split_copy unbind_copy unsafe_split unsafe_chunk", Shift({"dim": _axis})),
    **_each("cumsum diff unflatten", Shift({"dim": _axis})),
    "repeat_interleave": Shift({"dim": _axis}, flattens="dim"),
    **_each("transpose transpose_copy swapdims swapaxes", Shift({"dim0": _axis, "dim1": _axis})),
    **_each("view _unsafe_view view_copy reshape _reshape_copy", Shift({"size": _size})),
    **_each("expand expand_copy broadcast_to resize rand", Shift({"size": _size})),
    **_each("zeros empty empty_strided empty_permuted", Shift({"size": _size})),
    **_each("cat concat concatenate", Shift({"dim": _axis}, _JOIN)),
    **_each("movedim moveaxis", Shift({"source": _axes, "destination": _axes})),
    **_each("squeeze squeeze_copy", Shift({"dim": _squeezed})),
    **_each("unsqueeze unsqueeze_copy", Shift({"dim": _new_axis})),
    **_each("permute permute_copy", Shift({"dims": _order})),
    "stack": Shift({"dim": _new_axis}, _JOIN),
    "flip": Shift({"dims": _axes}),
    "roll": Shift({"dims": _axes}, flattens="dims"),
    "repeat": Shift({"repeats": _times}),
    "tile": Shift({"dims": _times}),
    "where": Shift({"condition": _condition}, ("self", "other")),
    "masked_fill": Shift({"mask": _condition}, ("value",)),
    "gather": Shift({"dim": _axis, "index": _index}),
    "scatter": Shift({"dim": _axis, "index": _index}, ("src",)),
    "scatter_add": Shift({"dim": _axis, "index": _index}, ("src",)),
    "index_add": Shift({"dim": _axis}, ("source",)),
    "index_copy": Shift({"dim": _axis}, ("source",)),
    "index_put": Shift({}, ("values",)),
    "select_scatter": Shift({"dim": _axis}, ("src",)),
    "slice_scatter": Shift({"dim": _axis}, ("src",)),
}

IN_FRONT: dict[str, Shift] = {
    **_each("tril triu pixel_shuffle pixel_unshuffle", Shift()),
    **_each("reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d", Shift()),
    **_each(
        "replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward", Shift({}, ("grad_output",))
    ),
    "diagonal": Shift({"dim1": _from_back, "dim2": _from_back}),
    "diagonal_scatter": Shift({"dim1": _from_back, "dim2": _from_back}, ("src",)),
    "unfold": Shift({"dimension": _from_back}),
}


PART_BY_PART: dict[str, tuple[str, ...]] = {
    "constant_pad_nd": ("value",),
    "masked_select": (),
    "take": (),
    "masked_scatter": ("source",),
    "masked_scatter_backward": ("grad_output",),
    "put": ("source",),
    "as_strided": (),
    "as_strided_copy": (),
    "as_strided_scatter": ("src",),
    "scatter.value": ("value",),
    "scatter.value_reduce": ("value",),
    "_unsafe_masked_index": ("fill",),
    "_unsafe_masked_index_put_accumulate": ("values",),
}
_NUMBERS = ("value", "fill")


def as_real(lowering: Lowering, target: str) -> Lowering | None:
    """The lowering of real tensors, for complex ones; None where the op computes with the parts."""
    name = target.split(".")[1]
    names = PART_BY_PART.get(name, PART_BY_PART.get(target.removeprefix("aten.")))
    if names is not None:
        tensors = Promotion(tuple(each for each in names if each not in _NUMBERS))
        return replace(lowering, body=_part_by_part(lowering.body, names), promote=tensors, complex=True)
    shift = BEHIND.get(name) or IN_FRONT.get(name)
    if shift is None:
        return None
    body = _in_front(lowering.body, shift) if name in IN_FRONT else _or_real(lowering.body, _behind(lowering, shift))
    promote = Promotion(shift.pairs) if shift.pairs else None
    return replace(lowering, body=body, promote=promote, complex=True)


def _behind(lowering: Lowering, shift: Shift) -> Body:
    parameters = inspect.signature(lowering.body).parameters
    has_axis = any(change in (_axis, _axes) for change in shift.changes.values())

    def body(op: Builder, **bound: Any) -> Any:
        if "tensors" in bound:
            bound["tensors"] = _without_none(bound["tensors"])
        rank = _rank(bound)
        bound |= _wholes(op, bound, shift.pairs)
        if shift.flattens in parameters and bound.get(shift.flattens) in (None, [], ()):
            return _of_elements(op, bound)
        if rank == 0 and has_axis and "self" in bound:
            return _of_scalar(op, bound)
        _check_reduction(bound)
        for name, change in shift.changes.items():
            if name in parameters:
                bound[name] = change(op, bound.get(name, parameters[name].default), rank)
        return lowering.body(op, **_real_dtypes(bound))

    def _of_scalar(op: Builder, bound: dict[str, Any]) -> Any:
        """A scalar counts as having an axis: as a vector of one element, which the result is again."""
        for name in ("self", *shift.pairs):
            if isinstance(bound.get(name), Tensor) and bound[name].shape == (2,):
                bound[name] = op.Unsqueeze(bound[name], [0])
        index = bound.get("index") if "index" in shift.changes else None
        if index is not None and not index.shape:
            bound["index"] = op.Unsqueeze(index, [0])
        result = body(op, **bound)
        is_gathered = index is not None and len(index.shape) == 1 and not shift.pairs
        is_scalar = isinstance(result, Tensor) and result.shape == (1, 2) and not is_gathered
        return op.Reshape(result, [2]) if is_scalar else result

    def _of_elements(op: Builder, bound: dict[str, Any]) -> Any:
        """The vector of all elements; what is rolled has its shape again."""
        shape, every = bound["self"].shape, op.Reshape(bound["self"], [-1, 2])
        several = shift.flattens == "dims"
        result = body(op, **bound | {"self": every, shift.flattens: [0] if several else 0})
        return reshape(op, result, shape) if several else result

    return body


def _wholes(op: Builder, bound: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The named arguments that there are as complex ones."""
    return {name: whole(op, bound[name]) for name in names if bound.get(name) is not None}


def _or_real(real: Body, behind: Body) -> Body:
    """The real lowering of real parts, where a real dtype is asked for: the tensor is made real first."""

    def body(op: Builder, **bound: Any) -> Any:
        if isinstance(dtype := bound.get("dtype"), DType) and "self" in bound and not dtype.is_complex:
            return real(op, **bound | {"self": _parts(op, bound["self"])[0]})
        return behind(op, **bound)

    return body


def _without_none(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The tensors but for vectors of no elements, which torch joins with tensors of any rank."""
    return [each for each in tensors if len(each.shape) > 2 or each.shape[0] != 0] or tensors


def _part_by_part(real: Body, names: Sequence[str]) -> Body:
    """The real lowering of each part of `self` and of the named tensors and numbers."""

    def body(op: Builder, **bound: Any) -> Any:
        _check_reduction(bound)
        split = {name: _parts(op, bound[name]) for name in ("self", *names) if bound.get(name) is not None}
        made = (real(op, **bound | {name: parts[index] for name, parts in split.items()}) for index in (0, 1))
        return op.Concat(*(op.Unsqueeze(part, [-1]) for part in made), axis=-1)

    return body


def _parts(op: Builder, x: Any) -> list[Any]:
    if not isinstance(x, Tensor):
        return [complex(x).real, complex(x).imag]
    return [op.Gather(whole(op, x), index, axis=-1) for index in (0, 1)]


def _check_reduction(bound: Mapping[str, Any]) -> None:
    if (bound.get("reduce") or "add") not in ("add", "sum", "mean"):
        raise Unsupported(f"scattering complex numbers by {bound['reduce']}: ONNX scatters their parts")


def _in_front(real: Body, shift: Shift) -> Body:
    parameters = inspect.signature(real).parameters

    def body(op: Builder, self: Tensor, **bound: Any) -> Any:
        rank = len(self.shape) - 1
        for name, change in shift.changes.items():
            bound[name] = change(op, bound.get(name, parameters[name].default), rank)
        for name in shift.pairs:
            bound[name] = _parts_first(op, whole(op, bound[name]))
        result = real(op, self=_parts_first(op, self), **bound)
        return op.Transpose(result, perm=[*range(1, len(result.shape)), 0])

    return body


def _parts_first(op: Builder, x: Tensor) -> Tensor:
    rank = len(x.shape) - 1
    return op.Transpose(x, perm=[rank, *range(rank)])


def _rank(bound: Mapping[str, Any]) -> int:
    """The rank of the (first) tensor, without the trailing axis."""
    first = bound.get("self", bound.get("tensors"))
    if isinstance(first, (list, tuple)):
        first = first[0]
    return 0 if first is None else len(first.shape) - 1


def _real_dtypes(bound: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dtypes.to_real(item) if isinstance(item, DType) else item for name, item in bound.items()}
