"""Squeezes of axes whose size comes from data, or is a number that no dim says: with one element left, torch drops
the axis.

    nonzero(m).squeeze()      2 hits: [2]      1 hit: []      no hit: [0]

A graph has one rank for each value. Where nothing but pointwise calls, picked rows and the result come after it,
the runtime squeezes what turns out to be of size 1, and the rank is what it is; elsewhere an assertion refuses the one
element.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.checks import ONE_LEFT
from fxonnx.capture.graph.views import hint_of

aten = torch.ops.aten
_CONVERSIONS = frozenset({aten.to, aten._to_copy, aten.clone, aten.detach, aten.alias})


def keep_squeezes(graph: fx.Graph) -> None:
    """Let squeezes of such sizes be as torch has them, or be refused where they drop an axis. Linear time."""
    for node in list(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "overloadpacket", None) is aten.squeeze:
            _keep(graph, node)


def _keep(graph: fx.Graph, node: fx.Node) -> None:
    source = node.args[0]
    shape = source.meta["val"].shape
    axes = _axes(node, len(shape))
    open_axes = [axis for axis in axes if _may_be_one(shape[axis])]
    if not open_axes:
        _by_sizes(graph, node, [axis for axis in axes if hint_of(shape[axis]) == 1])
        return
    gone = [axis for axis in axes if _is_one(shape[axis])]
    if _takes_either_rank(node):
        node.target, node.args, node.kwargs = aten.squeeze.dims, (source, sorted([*gone, *open_axes])), {}
        return
    with graph.inserting_before(node):
        for axis in open_axes:
            size = _call(graph, aten.sym_size.int, (source, axis), shape[axis])
            differs = _call(graph, operator.ne, (size, 1), shape[axis] != 1)
            check = graph.call_function(aten._assert_scalar.default, (differs, ONE_LEFT))
            check.meta = {name: value for name, value in node.meta.items() if name != "val"}
    node.target, node.args, node.kwargs = aten.squeeze.dims, (source, gone), {}


def _by_sizes(graph: fx.Graph, node: fx.Node, gone: list[int]) -> None:
    """Reshape where one of the axes without which the result is has a size that a comparison said to be 1, as `n % 2`
    is where n is odd: the size itself does not say so."""
    source, result = node.args[0], node.meta["val"]
    shape = source.meta["val"].shape
    if len(shape) - len(gone) != result.dim() or not any(isinstance(shape[axis], torch.SymInt) for axis in gone):
        return
    left = [axis for axis in range(len(shape)) if axis not in gone]
    with graph.inserting_before(node):
        sizes: list[Any] = [shape[axis] for axis in left]
        for place, axis in enumerate(left):
            if isinstance(shape[axis], torch.SymInt):
                sizes[place] = _call(graph, aten.sym_size.int, (source, axis), shape[axis])
    node.target, node.args, node.kwargs = aten.reshape.default, (source, sizes), {}


def _axes(node: fx.Node, rank: int) -> list[int]:
    """The axes that are asked for."""
    if rank == 0 or (len(node.args) == 1 and not node.kwargs):
        return list(range(rank))
    asked: Any = node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
    return [axis % rank for axis in (asked if isinstance(asked, (list, tuple)) else [asked])]


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _may_be_one(size: Any) -> bool:
    """Whether a size that no input has may be 1."""
    if not isinstance(size, torch.SymInt) or not size.node.is_opaque():
        return False
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # which loads sympy

    return not statically_known_true(size != 1)


def _takes_either_rank(node: fx.Node) -> bool:
    """Whether a value of either rank goes through pointwise calls, picks rows, or is broadcast to more axes, and
    nothing else, on its way to the results."""
    waiting, seen = [node], {node}
    while waiting:
        for user in waiting.pop().users:
            if user.op == "output" or user in seen:
                continue
            picks = user.target is aten.index.Tensor and user.args[0] not in seen and len(user.args[1]) == 1
            if not picks and not _is_pointwise(user.target):
                return False
            seen.add(user)
            if picks or not any(_rank(each) > 0 for each in user.all_input_nodes if each not in seen):
                waiting.append(user)
    return True


def _is_pointwise(target: Any) -> bool:
    return torch.Tag.pointwise in getattr(target, "tags", ()) or getattr(target, "overloadpacket", None) in _CONVERSIONS


def _rank(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.dim() if isinstance(value, torch.Tensor) else 0


def _call(graph: fx.Graph, target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
    node = graph.call_function(target, args)
    node.meta["val"] = value
    return node
