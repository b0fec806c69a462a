"""An ExportedProgram as a module, which is captured like any other: its graph is run call by call.

What the program takes for granted (its guards, ranges and fixed sizes) it checks itself when it runs, as its own
`module()` does; its dims are those that it was exported with.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree as pytree

from fxonnx.capture.call.dynamic import Request, Requests
from fxonnx.capture.call.inputs import bind
from fxonnx.capture.call.tree import Path, flatten, name_of
from fxonnx.errors import Error, FrozenDimension, InputMismatch, raise_all
from fxonnx.ir.dims import Dim, parse_dim, substitute, symbol, symbols_of

_LEAST = 2  # what torch says of a size that may be anything
_UNBOUNDED = 2**60  # torch has several infinities


def as_module(exported: ExportedProgram) -> fx.GraphModule:
    """A module that computes what a program does, with the program's own tensors, and checks its guards."""
    own = copy.copy(exported)
    own.example_inputs = own_example(exported)  # torch makes no guards for a program without one
    module = own.module()
    assert isinstance(module, fx.GraphModule)
    module.validate_inputs = False
    module.forward = _Forward(module, inspect.signature(module.forward), exported.call_spec)
    return module


class _Forward:
    """Runs the graph of a program's module for arguments in the structure that it was exported with."""

    def __init__(self, module: fx.GraphModule, parameters: inspect.Signature, call: Any) -> None:
        self._nodes, self._call = NodeByNode(module), call
        self.__signature__ = parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the program returns."""
        given = list(bind(self.__signature__, args, kwargs).values.items())
        positional = self._call.in_spec.child(0).num_children
        structured = tuple(value for _, value in given[:positional]), dict(given[positional:])
        results = self._nodes.run(*pytree.tree_leaves(structured), enable_io_processing=False)
        return pytree.tree_unflatten(results, self._call.out_spec)


class NodeByNode(fx.Interpreter):
    """Runs a graph node by node. The innermost frame of `run_node` on the stack tells which node is run."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        """One node."""
        return super().run_node(n)

    def fetch_attr(self, target: str) -> Any:
        """What a node reads by name. The body of a higher-order op is run node by node, too."""
        found = super().fetch_attr(target)
        return NodeByNode(found).run if isinstance(found, fx.GraphModule) else found


def own_example(exported: ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that a program was exported for; zeros of their dtypes and sizes where it has only those."""
    if exported.example_inputs is not None:
        args, kwargs = exported.example_inputs
        return tuple(args), dict(kwargs)
    args, kwargs = pytree.tree_map_only(torch.Tensor, _zeros, _arguments(exported))
    return args, kwargs


def _zeros(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros([_size(each) for each in like.shape], dtype=like.dtype)


def _size(size: int | torch.SymInt) -> int:
    """The size that an axis had in the example, without making it static."""
    hint = size if isinstance(size, int) else size.node.hint
    assert isinstance(hint, int)
    return hint


def _arguments(exported: ExportedProgram) -> Any:
    """The program's args and kwargs, with fake tensors, and numbers that vary, in the structure of a call."""
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    specs = (spec.arg for spec in exported.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT)
    leaves = [each.value if isinstance(each, ConstantArgument) else nodes[each.name].meta["val"] for each in specs]
    return pytree.tree_unflatten(leaves, exported.call_spec.in_spec)


# ── dims ────────────────────────────────────────


def dims_of(
    exported: ExportedProgram, parameters: inspect.Signature, given: Mapping[Path, torch.Tensor], asked: Requests
) -> Requests:
    """The dims of its inputs that vary in a program, by the names that are asked for, or by names of ours: d0, d1, …

    `given` are the tensors of an example, in order, by the way to them in its arguments. Raises InputMismatch where the
    program was not exported for them; FrozenDimension for a dim that is asked for, and is static in the program or
    another one.
    """
    likes = _inputs(exported, parameters)
    raise_all([_mismatch(*each) for each in _unlike(likes, given)])
    shapes = [likes[path].shape for path in given]
    sizes = {
        (leaf, axis): str(size)
        for leaf, shape in enumerate(shapes)
        for axis, size in enumerate(shape)
        if not isinstance(size, int)
    }
    names = _names(list(sizes.values()), {sizes[axis]: each.dim for axis, each in asked.items() if axis in sizes})
    dims = {axis: _dim(text, names) for axis, text in sizes.items()}
    paths = list(given)
    raise_all(
        [
            _frozen(f"axis {axis} of {name_of(paths[leaf])}", dims.get((leaf, axis), shapes[leaf][axis]))
            for (leaf, axis), request in asked.items()
            if request.required and not _is_asked_for(request, dims.get((leaf, axis)))
        ]
    )
    ranges = {str(each): values for each, values in exported.range_constraints.items()}
    unasked = Request(required=False)  # a guard of the program's may pin it
    return {axis: _request(dim, ranges.get(sizes[axis]), asked.get(axis, unasked)) for axis, dim in dims.items()}


def _inputs(exported: ExportedProgram, parameters: inspect.Signature) -> dict[Path, torch.Tensor]:
    """The fake tensors that a program was exported for, by the way to them in its arguments."""
    args, kwargs = _arguments(exported)
    leaves, paths, _ = flatten(bind(parameters, args, kwargs).values)
    return {path: leaf for path, leaf in zip(paths, leaves, strict=True) if isinstance(leaf, torch.Tensor)}


def _unlike(likes: Mapping[Path, torch.Tensor], given: Mapping[Path, torch.Tensor]) -> Iterator[tuple[Path, Any, Any]]:
    """What a program was exported for and what is given, where that is another tensor, or none."""
    for path in dict.fromkeys((*likes, *given)):
        like, leaf = likes.get(path), given.get(path)
        if like is None or leaf is None or like.dtype is not leaf.dtype or not _fits(leaf.shape, like.shape):
            yield path, like, leaf


def _fits(shape: Sequence[int], like: Sequence[Any]) -> bool:
    pairs = zip(shape, like, strict=False)
    return len(shape) == len(like) and all(not isinstance(each, int) or size == each for size, each in pairs)


def _names(sizes: Sequence[str], asked: Mapping[str, Dim | None]) -> dict[str, Dim]:
    """What torch's symbols in sizes are called."""
    names: dict[str, Dim] = {text: dim for text, dim in asked.items() if text.isidentifier() and dim is not None}
    taken = symbols_of(dim for dim in asked.values() if dim is not None)
    fresh = (f"d{number}" for number in count() if f"d{number}" not in taken)
    for text in sizes:
        for each in sorted(symbols_of([_parsed(text)]) - names.keys()):
            names[each] = symbol(next(fresh))
    return names


def _parsed(text: str) -> Dim:
    """A size as torch prints it; a symbol of its own for what no dim says."""
    try:
        return parse_dim(text)
    except ValueError:
        return symbol(text)


def _dim(text: str, names: Mapping[str, Dim]) -> Dim:
    return substitute(_parsed(text), names)


def _is_asked_for(request: Request, dim: Dim | None) -> bool:
    return dim is not None and request.dim in (None, dim)


def _request(dim: Dim, values: Any, asked: Request) -> Request:
    """The request for a dim that torch knows these values of."""
    low, high = (0, None) if values is None else (_number(values.lower), _number(values.upper))
    highs = [each for each in (high, asked.maximum) if each is not None]
    low = low if low is not None and low > _LEAST else 0
    return replace(asked, dim=dim, minimum=max(low, asked.minimum), maximum=min(highs, default=None))


def _number(bound: Any) -> int | None:
    """A bound, or None for one of torch's infinities."""
    return int(bound) if bound.is_Integer and abs(bound) < _UNBOUNDED else None


# ── errors ────────────────────────────────────────


def _mismatch(path: Path, like: torch.Tensor | None, leaf: torch.Tensor | None) -> Error:
    return InputMismatch(
        f"{name_of(path)} is {_said(leaf)}, and this ExportedProgram was exported for {_said(like)}",
        cause="a program takes what it was exported for: other sizes only where its dims are dynamic",
        cure="give inputs of this kind, or none, for the program's own; or export the model again, for these",
    )


def _said(tensor: torch.Tensor | None) -> str:
    return "no tensor" if tensor is None else f"{tensor.dtype} of [{', '.join(map(str, tensor.shape))}]"


def _frozen(place: str, dim: Dim) -> Error:
    return FrozenDimension(
        f"{place} is {dim} in this ExportedProgram", cure="export it with this dim in dynamic_shapes"
    )
