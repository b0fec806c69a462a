"""View or copy: whether the result of an op shares its argument's memory, where that depends on sizes.

reshape() of every second row copies, unless there is one row only. It makes no difference until something is written
into the one or the other; where something is, the graph holds for sizes at which torch takes the same way.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture.assumption import OPPOSITE, RELATIONS, Guard
from fxonnx.capture.graph.functional_form import memories_written
from fxonnx.capture.graph.other_sizes import REFUSALS, at_sizes, other_branch
from fxonnx.capture.graph.views import storage
from fxonnx.capture.locate import Locator
from fxonnx.errors import CaptureRefused
from fxonnx.ir.dims import Dim, evaluate, symbols_of

Known: TypeAlias = Callable[[str, Dim, Dim], "bool | None"]
"""what a comparison is for all sizes alike, or None"""

_VIEW_OR_COPY = frozenset(
    getattr(torch.ops.aten, name) for name in ("contiguous", "flatten", "ravel", "reshape", "reshape_as", "to")
)
"""ops whose result is the one or the other by how their argument lies in memory"""


@dataclass(frozen=True, slots=True)
class Layouts:
    """How tensors lie in memory: the `dim` of a size or a stride, the sizes of the run by name, and what is known of
    all sizes."""

    dim: Callable[[Any], Dim]
    hints: Mapping[str, int]
    known: Known

    def guards(self, graph: fx.Graph) -> Iterator[Guard]:
        """What sizes must be so that each view of memory that is written to is one, and each copy a copy.

        Raises CaptureRefused where one is not at the sizes of the run.
        """
        locate = Locator()
        for node in _choices(graph) if self.hints else ():
            yield from self._guards(node, locate)

    def _guards(self, node: fx.Node, locate: Locator) -> Iterator[Guard]:
        is_view = storage(node.meta["val"]) == storage(node.args[0].meta["val"])
        comparisons = list(self._comparisons(node.args[0].meta["val"]))
        if comparisons and self._is_view(node, self.hints) is (not is_view):
            raise CaptureRefused(
                f"{node.target} is {'a copy' if is_view else 'a view'} at the sizes of the example",
                cause="it is the other at most sizes, and what is written into it reaches another tensor or does not",
                cure="write into a clone(), or leave the dims static",
                location=locate(node),
            )
        for relation, left, right in comparisons:
            guard = Guard(left, relation, right, locate(node))
            if any(self._is_view(node, sizes) is (not is_view) for sizes in other_branch(guard, self.hints)):
                yield guard

    def is_alike(self, func: Any, source: torch.Tensor, sizes: Mapping[str, int]) -> bool:
        """Whether an op that returns a view of this argument or a copy returns at these sizes what it does here; not
        where they are sizes of no such tensor."""
        comparisons = self._comparisons(source) if func.overloadpacket in _VIEW_OR_COPY else ()
        try:
            return all(RELATIONS[each](evaluate(left - right, sizes), 0) for each, left, right in comparisons)
        except ZeroDivisionError:
            return False

    def _comparisons(self, source: torch.Tensor) -> Iterator[tuple[str, Dim, Dim]]:
        """What tells how a tensor lies in memory, as it is in this run where other sizes may have it otherwise: whether
        an axis is one element long, and whether one continues the next."""
        shape, strides = ([self.dim(each) for each in numbers] for numbers in (source.shape, source.stride()))
        ones = ((">", size, 1) for size in shape)
        ends = (size * stride for size, stride in zip(shape[1:], strides[1:], strict=True))
        gaps = (("!=", stride, end) for stride, end in zip(strides, ends, strict=False))
        for relation, left, right in (*ones, *gaps):
            if symbols_of([left, right]) <= self.hints.keys() and self.known(relation, left, right) is None:
                holds = RELATIONS[relation](evaluate(left - right, self.hints), 0)
                yield (relation if holds else OPPOSITE[relation]), left, right

    def _is_view(self, node: fx.Node, sizes: Mapping[str, int]) -> bool | None:
        """Whether the result is a view at these sizes; None where the op refuses them."""
        values = fx.map_arg((node.args, node.kwargs), lambda each: each.meta["val"])
        try:
            args, kwargs = at_sizes(values, self.dim, sizes)
            return storage(node.target(*args, **kwargs)) == storage(args[0])
        except REFUSALS:
            return None


def read_by_layout(graph: fx.Graph) -> set[fx.Node]:
    """The placeholders that what is computed depends on by how they lie in memory: through a view or a copy that is
    written to, or as_strided(). Linear time."""
    return _behind([node.args[0] for node in (*_choices(graph), *filter(_is_strided, graph.nodes))], frozenset())


def laying_out(asked: Iterable[fx.Node]) -> set[fx.Node]:
    """The placeholders by whose layout these nodes have theirs, of which the model's Python has asked x.stride()."""
    return _behind(asked, _IN_ORDER)


_IN_ORDER = frozenset(
    getattr(torch.ops.aten, name)
    for name in ("contiguous", "embedding", "layer_norm", "linear", "mm", "bmm", "matmul", "addmm", "index_select")
)
"""ops whose result lies in the order of its axes, whatever layout their arguments have"""


def _behind(nodes: Iterable[fx.Node], stops: Container[Any]) -> set[fx.Node]:
    """The placeholders that nodes are computed of, but for what they have through the ops of `stops`."""
    pending = list(nodes)
    met = set(pending)
    while pending:
        node = pending.pop()
        fresh = set() if getattr(node.target, "overloadpacket", None) in stops else {*node.all_input_nodes} - met
        met |= fresh
        pending += fresh
    return {node for node in met if node.op == "placeholder"}


def read_whole_memory(graph: fx.Graph) -> None:
    """Let each as_strided() read the tensor that has the memory: a view of it holds less than as_strided() reaches.
    Before writes become new values, of which a view knows no whole."""
    for node in filter(_is_strided, graph.nodes):
        view, size, stride, start = (*node.args, None)[:4]
        start = view.meta["val"].storage_offset() if start is None else start
        node.args = (_whole(view), size, stride, start)


def _whole(view: fx.Node) -> fx.Node:
    """What a node is a view of, or that one, as far as it counts the same elements; itself where it is none."""
    memory, dtype, whole, node = storage(view.meta["val"]), view.meta["val"].dtype, view, view
    while node.target is operator.getitem or _returns_its_argument(node.target):
        node = node.args[0]
        if isinstance(value := node.meta["val"], torch.Tensor):
            if storage(value) != memory or value.dtype is not dtype:
                break
            whole = node
    return whole


def _returns_its_argument(target: Any) -> bool:
    """Whether the result of an op may be its first argument, written to or not, or a view of it."""
    arguments: Sequence[Any] = target._schema.arguments if isinstance(target, torch._ops.OpOverload) else ()
    return bool(arguments) and arguments[0].alias_info is not None


def _choices(graph: fx.Graph) -> Iterator[fx.Node]:
    """The nodes that are a view or a copy of memory that is written to later: of what was written before, a view and a
    copy hold the same."""
    written: set[Any] = set()
    for node in reversed(graph.nodes) if memories_written(graph.nodes) else ():
        if _chooses(node) and written & {storage(node.meta["val"]), storage(node.args[0].meta["val"])}:
            yield node
        written |= memories_written([node])


def _chooses(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.overloadpacket in _VIEW_OR_COPY


def _is_strided(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.overloadpacket is torch.ops.aten.as_strided
