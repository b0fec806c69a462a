"""`dynamic_shapes` in every form users write it, as one table: (leaf, axis) -> what was asked for.

Forms: torch.export's (nested like the arguments, by name or position, with `Dim`, `Dim.DYNAMIC`, `Dim.AUTO`), the
short one (`{"x": {0: "batch"}}`, by argument, leaf or input name, an expression like "2*n" included), and "auto", for
all dims or for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.export import Dim as TorchDim

from fxonnx.capture.call.tree import Branch, Slot, Tree
from fxonnx.errors import InvalidDynamicShapes
from fxonnx.ir.dims import Dim, linear, parse_dim, symbols_of


@dataclass(frozen=True, slots=True)
class Request:
    """One dim that may vary: as the given dim (a name, or an expression of names) or under a name of our choice;
    `required` means it must not freeze, `may_tie` that its name is a label: the model may make it another dim."""

    dim: Dim | None = None
    minimum: int = 0
    maximum: int | None = None
    required: bool = True
    may_tie: bool = False

    def admits(self, size: int) -> bool:
        """Whether a size is not above what was asked for; small ones are captured at others."""
        return self.maximum is None or size <= self.maximum

    @property
    def name(self) -> str | None:
        """The user's name, when the dim is one."""
        return None if self.dim is None or isinstance(self.dim, int) else self.dim.name


class Label(str):
    """A name that promises nothing, as torch.onnx takes names: where the model makes two such dims one, they are one
    by the name of the first."""

    __slots__ = ()


Axis: TypeAlias = "tuple[int, int]"  # leaf, axis
Requests: TypeAlias = "dict[Axis, Request]"

_FORMS = "it is a dict by name, or a tuple with an entry for each argument; for a tensor a dict from axes to dims"
_FORM = 'write it as {"x": {0: "batch", 1: "time"}}, with names of arguments or inputs as keys'


def requests(
    shapes: Any, arguments: Sequence[tuple[str, Tree]], names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> Requests:
    """The table for the user's `dynamic_shapes`. Raises InvalidDynamicShapes where it does not fit the inputs."""
    if shapes is None:
        return {}
    if isinstance(shapes, str):
        return _everything(shapes, leaves)
    spread = _Spread(leaves, names)
    if isinstance(shapes, Mapping):
        _by_name(shapes, arguments, names, spread)
    elif isinstance(shapes, (tuple, list)):
        _by_position(shapes, arguments, spread)
    else:
        raise InvalidDynamicShapes(f"dynamic_shapes is a {type(shapes).__name__}", cause=_FORMS, cure=_FORM)
    _refuse_untold(spread.table, names)
    return spread.table


def _refuse_untold(table: Requests, names: Sequence[str]) -> None:
    """Raise InvalidDynamicShapes for a name that is nowhere alone: of "past + time" no call tells `past`."""
    dims = [request.dim for request in table.values() if request.dim is not None]
    told = {found[0] for dim in dims if (found := linear(dim)) is not None}
    for (leaf, axis), request in table.items():
        for name in sorted(symbols_of([request.dim]) - told) if request.dim is not None else ():
            raise InvalidDynamicShapes(
                f"dynamic_shapes names {name!r}, which no size of an input tells",
                cause=f"{names[leaf]}, axis {axis} is {request.dim!s}, and no axis is {name} or a multiple of it",
                cure='give that axis a name of its own, "total": what it has to do with others is found by running',
            )


def _everything(shapes: str, leaves: Sequence[torch.Tensor]) -> Requests:
    if shapes != "auto":
        raise InvalidDynamicShapes(f"dynamic_shapes={shapes!r}", cause='the only word it takes is "auto"', cure=_FORM)
    free = Request(required=False)
    return {(index, axis): free for index, leaf in enumerate(leaves) for axis in range(leaf.dim())}


def _by_name(
    shapes: Mapping[Any, Any], arguments: Sequence[tuple[str, Tree]], names: Sequence[str], spread: _Spread
) -> None:
    numbered = {name: (tree, indices) for name, tree, indices in _numbered(arguments)}
    for key, spec in shapes.items():
        if key in numbered:
            tree, indices = numbered[key]
            spread.tree(tree, spec, iter(indices), str(key))
        elif key in names:
            spread.leaf(spec, names.index(key), str(key))
        elif isinstance(spec, Mapping) and key in ("args", "kwargs"):
            _by_name(spec, arguments, names, spread)
        elif spec is not None:
            known = ", ".join(dict.fromkeys([*numbered, *names]))
            raise InvalidDynamicShapes(
                f"dynamic_shapes names {key!r}, which is no input", cause=f"the inputs are {known}", cure=_FORM
            )


def _by_position(shapes: Sequence[Any], arguments: Sequence[tuple[str, Tree]], spread: _Spread) -> None:
    if len(arguments) == 1 != len(shapes) and _parts(arguments[0][1]) == len(shapes):
        shapes = [shapes]  # one for each of *args
    if len(shapes) != len(arguments):
        raise InvalidDynamicShapes(
            f"dynamic_shapes has {len(shapes)} entries for {len(arguments)} arguments", cause=_FORMS, cure=_FORM
        )
    for (name, tree, indices), spec in zip(_numbered(arguments), shapes, strict=True):
        spread.tree(tree, spec, iter(indices), name)


def _numbered(arguments: Sequence[tuple[str, Tree]]) -> Iterator[tuple[str, Tree, range]]:
    """Each argument with the numbers of its leaves."""
    start = 0
    for name, tree in arguments:
        stop = start + slots(tree)
        yield name, tree, range(start, stop)
        start = stop


def _parts(tree: Tree) -> int:
    """How many a structure has, as it is built."""
    return len(tree.parts) if isinstance(tree, Branch) else 0


def slots(tree: Tree) -> int:
    """How many leaves a structure takes."""
    if isinstance(tree, Branch):
        return sum(map(slots, tree.parts))
    return int(isinstance(tree, Slot))


class _Spread:
    """Lays specifications over structures and fills the table."""

    def __init__(self, leaves: Sequence[torch.Tensor], names: Sequence[str]) -> None:
        self.table: Requests = {}
        self._leaves, self._names = leaves, names

    def tree(self, tree: Tree, spec: Any, indices: Iterator[int], place: str) -> None:
        """One specification for a structure: nested like it, or one for all tensors in it."""
        if not isinstance(tree, Branch):
            for index in [next(indices)] if isinstance(tree, Slot) else []:
                self.leaf(spec, index, place)
            return
        specs = self._per_part(tree, spec, place)
        for part, each, key in zip(tree.parts, specs, tree.keys, strict=True):
            self.tree(part, each, indices, f"{place}.{key}")

    def _per_part(self, tree: Branch, spec: Any, place: str) -> list[Any]:
        count_ = len(tree.parts)
        if spec is None or _names_axes(spec):
            return [spec] * count_
        if isinstance(spec, Mapping) and all(key in tree.keys for key in spec):
            return [spec.get(key) for key in tree.keys]
        if isinstance(spec, (list, tuple)) and len(spec) == count_:
            return list(spec)
        filled = [index for index, part in enumerate(tree.parts) if slots(part)]
        # an object: only the parts that hold tensors are counted
        if isinstance(spec, (list, tuple)) and len(spec) == len(filled):
            return [spec[filled.index(index)] if index in filled else None for index in range(count_)]
        if len(filled) == 1:
            return [spec if index in filled else None for index in range(count_)]
        raise InvalidDynamicShapes(
            f"dynamic_shapes for {place} is not built like that argument",
            cause=f"it is a {tree.type.__name__} of {count_}",
            cure=_FORM,
        )

    def leaf(self, spec: Any, index: int, place: str) -> None:
        """One tensor's specification: {axis: dim}, or one dim for each axis."""
        rank = self._leaves[index].dim()
        if spec is None:
            return
        if isinstance(spec, (list, tuple)) and len(spec) == rank:
            spec = dict(enumerate(spec))
        if not isinstance(spec, Mapping):
            raise InvalidDynamicShapes(
                f"dynamic_shapes for {place} is {spec!r}, for a tensor of rank {rank}", cause=_FORMS, cure=_FORM
            )
        for axis, wanted in spec.items():
            if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
                raise InvalidDynamicShapes(f"{place} has no axis {axis!r}", cause=f"its rank is {rank}", cure=_FORM)
            if isinstance(wanted, int) and (isinstance(wanted, bool) or wanted != self._leaves[index].shape[axis]):
                raise InvalidDynamicShapes(
                    f"dynamic_shapes for {place}, axis {axis} is {wanted!r}",
                    cause=f"a number is a static size, which is {self._leaves[index].shape[axis]} in the example",
                    cure=_FORM,
                )
            request = _request(wanted, f"{place}, axis {axis}")
            size = self._leaves[index].shape[axis]
            if request is not None and not request.admits(size):
                raise InvalidDynamicShapes(
                    f"the example has size {size} for {place}, axis {axis}",
                    cause=f"dynamic_shapes asks for at most {request.maximum}",
                    cure="give an example within the range, or another range",
                )
            if request is not None:
                self.table[index, axis % rank] = request


def _names_axes(spec: Any) -> bool:
    """Whether a specification is {axis: dim}, meant for tensors."""
    return (
        isinstance(spec, Mapping)
        and all(isinstance(key, int) for key in spec)
        and all(_is_dim(value) for value in spec.values())
    )


def _is_dim(value: Any) -> bool:
    return isinstance(value, (str, int, TorchDim)) or _hint(value) is not None


def _hint(value: Any) -> str | None:
    """ "AUTO", "DYNAMIC" or "STATIC" for torch's hints, whose class has no public name."""
    return getattr(getattr(value, "type", None), "name", None)


def _request(wanted: Any, place: str) -> Request | None:
    if wanted is None or isinstance(wanted, int):  # torch.export's words for a static dim
        return None
    if wanted == "auto":  # no name: two such dims are two
        return Request(required=False)
    if isinstance(wanted, str):
        return Request(_parsed(wanted, place), may_tie=isinstance(wanted, Label))
    if isinstance(wanted, TorchDim):
        return _from_torch(wanted, place)
    hint = _hint(wanted)
    if hint not in ("AUTO", "DYNAMIC", "STATIC"):
        raise InvalidDynamicShapes(
            f"dynamic_shapes for {place} is {wanted!r}", cause="not a name, a torch.export.Dim or a hint", cure=_FORM
        )
    return None if hint == "STATIC" else Request(None, wanted.min or 0, wanted.max, required=hint == "DYNAMIC")


def _from_torch(wanted: TorchDim, place: str) -> Request:
    """A torch.export.Dim; a derived one (2*n + 1) has its range from its root, which is asked for where it stands
    alone."""
    dim = _parsed(wanted.__name__, place)
    # torch writes "no bound" as its own infinity
    maximum = int(wanted.max) if hasattr(wanted, "max") and wanted.max < 2**60 else None
    return Request(dim, int(getattr(wanted, "min", 0)), maximum)


def _parsed(text: str, place: str) -> Dim:
    try:
        dim = parse_dim(text)
    except ValueError as error:
        raise InvalidDynamicShapes(
            f"{text!r} is no name for a dim ({place})",
            cause="it is neither an identifier nor an expression of identifiers and numbers",
            cure='a name is an identifier, "batch"; an expression like "2*n" is fine',
        ) from error
    if isinstance(dim, int):
        raise InvalidDynamicShapes(
            f"{text!r} is no name for a dim ({place})", cause="it is a number", cure="leave static dims out"
        )
    return dim
