"""What a graph makes of the shape of its placeholders: `x.unsqueeze_(0)` gives the caller's own x an axis.

Such a call writes no element. Done again to the caller's tensor after a call, it is the same to the caller; a tensor
of the model's own is another one at the next call, for which a graph has no word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.functional_form import is_mutable, reshaped, written_arguments
from fxonnx.capture.graph.views import geometry
from fxonnx.errors import CaptureRefused, raise_all
from fxonnx.location import Location

RETURNS_ITS_ARGUMENT = "returns_its_argument"
"""Says in a node's meta that the call returned its first argument: `x.to(x.dtype)`, `contiguous()` of what is."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """A call that changes the shape of an input of the model: its index, and the op with its arguments behind it."""

    input: int
    target: Any
    arguments: tuple[Any, ...]

    def __call__(self, tensor: torch.Tensor) -> None:
        """Do it to a tensor."""
        self.target(tensor, *self.arguments)


def reshapes(
    graph: fx.Graph, inputs: Sequence[fx.Node], locate: Callable[[fx.Node], Location]
) -> tuple[Reshape, ...]:
    """The calls of a recorded graph that change the shape of an input.

    Raises CaptureRefused for those that change another placeholder for good, whose arguments are computed, or that
    write into an input as out= and resize it.
    """
    found = list(_shape_by_shape(reshaping_calls(graph)))
    last = dict(found)
    changed = {each for each, node in last.items() if geometry(each.meta["val"]) != geometry(node.meta["val"])}
    calls = [(placeholder, node) for placeholder, node in found if placeholder in changed]
    numbers = {node: index for index, node in enumerate(inputs)}
    raise_all([_refused(node, locate) for each, node in calls if each not in numbers or not _can_be_repeated(node)])
    return tuple(Reshape(numbers[each], node.target, (*node.args[1:], *node.kwargs.values())) for each, node in calls)


def reshaping_calls(graph: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """(placeholder, call that may change its shape), in the order of the calls. A call that writes in place returns the
    tensor that it is given, and so do others at times."""
    itself: dict[Any, fx.Node] = {node: node for node in graph.find_nodes(op="placeholder")}
    for node in graph.nodes:
        placeholder = itself.get(_returned(node))
        if placeholder is None or not isinstance(node.meta.get("val"), torch.Tensor):
            continue
        itself[node] = placeholder
        if reshaped(node.target):
            yield placeholder, node


def _returned(node: fx.Node) -> Any:
    """The argument that a call returns, as the tensor that it is."""
    if node.op != "call_function":
        return None
    if not is_mutable(node.target):
        return node.args[0] if RETURNS_ITS_ARGUMENT in node.meta else None
    position, name = written_arguments(node.target)[0]
    written = node.kwargs[name] if name in node.kwargs else node.args[position]
    return written if isinstance(written, fx.Node) else None


def _shape_by_shape(calls: Iterable[tuple[fx.Node, fx.Node]]) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Those that may change it: a place for a result, out=, that has the shape of it keeps that."""
    shapes: dict[fx.Node, torch.Tensor] = {}
    for placeholder, node in calls:
        before = shapes.get(placeholder, placeholder.meta["val"])
        shapes[placeholder] = node.meta["val"]
        if _writes_nothing(node) or geometry(before) != geometry(node.meta["val"]):
            yield placeholder, node


def _can_be_repeated(node: fx.Node) -> bool:
    return _writes_nothing(node) and len(node.all_input_nodes) == 1


def _writes_nothing(node: fx.Node) -> bool:
    return torch.Tag.inplace_view in node.target.tags


def _refused(node: fx.Node, locate: Callable[[fx.Node], Location]) -> CaptureRefused:
    return CaptureRefused(
        f"{node.target} changes the shape of a tensor that outlives the call",
        cause="at the next call it has another shape, and a graph has one for it",
        cure="make a new tensor instead",
        location=locate(node),
    )
