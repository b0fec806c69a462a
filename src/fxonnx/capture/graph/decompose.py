"""One op taken apart, on demand: by its own composite definition or by torch's decomposition table, traced on the
fake arguments in `meta["val"]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import fx

# has no public name yet; torch's own documentation of decompositions uses it
from torch._decomp import get_decompositions

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.graph.functional import make_functional
from fxonnx.capture.graph.views import storage
from fxonnx.capture.locate import Locator

_NOT_THESE_ARGUMENTS = (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError)
"""What torch's decompositions raise for a form of the op that they do not cover."""


class Traced(Protocol):
    """What is read of a captured program (`fxonnx.capture.Program` is one)."""

    @property
    def retrace(self) -> Callable[..., tuple[fx.Graph, Sequence[Assumption]]]:
        """Records a function of the graph's fake values."""

    @property
    def locator(self) -> Locator:
        """The places of its nodes."""

    @property
    def sizes(self) -> Any:
        """Its sizes as dims."""


class Decomposer:
    """Decompositions for the nodes of one program; nodes that call the same op on the same kinds of arguments share
    the work."""

    def __init__(self, program: Traced) -> None:
        self._program = program
        self._known: dict[Any, fx.Graph | None] = {}
        self.assumptions: list[Assumption] = []  # what the decompositions assume about sizes

    def __call__(self, node: fx.Node) -> fx.Graph | None:
        """What the node computes, in smaller ops, or None where torch knows no smaller ones.

        A placeholder stands for each distinct node among the arguments (`node.all_input_nodes`, tensors and sizes),
        in that order. The output has the form of the op's own result. Nothing in the graph writes in place. Raises
        FrozenDimension where a decomposition holds for one size only.
        """
        functions = decompositions(node.target)
        if not functions:
            return None
        key = _key(node)
        if key not in self._known:
            traced = (self._trace(node, function) for function in functions)
            self._known[key] = next((graph for graph in traced if graph is not None), None)
        graph = self._known[key]
        return None if graph is None else _placed(graph, node)

    def _trace(self, node: fx.Node, function: Callable[..., Any]) -> fx.Graph | None:
        given = node.all_input_nodes
        values = _apart([each.meta["val"] for each in given])

        def body(*arguments: Any) -> Any:
            by_node = dict(zip(given, arguments, strict=True))
            result = function(
                *fx.map_arg(node.args, by_node.__getitem__), **fx.map_arg(node.kwargs, by_node.__getitem__)
            )
            result = tuple(result) if isinstance(result, tuple) else result  # of a named one fx would record a call
            return _rounded(result, node.meta.get("val"))

        for pre_dispatch in (True, False):  # the first keeps what is composite whole, some ops even themselves
            try:
                with torch.no_grad():
                    graph, assumed = self._program.retrace(body, values, pre_dispatch, self._program.locator(node))
            except _NOT_THESE_ARGUMENTS:
                continue
            if all(_is_smaller(inner.target, node.target) for inner in graph.nodes):
                self.assumptions += (each for each in assumed if each not in self.assumptions)
                make_functional(graph, self._program.locator)
                return graph
        return None


def decompositions(target: Any) -> tuple[Callable[..., Any], ...]:
    """Functions that compute the op by smaller ones, the best first: not every one covers every form of the op.

    What an op is made of comes before torch's table, some of whose entries for composite ops take other arguments
    than the op does (a loss's reduction as a word) and compute something else for ours. Of torch's prims each knows the
    aten ops that it stands for.
    """
    if not isinstance(target, torch._ops.OpOverload):
        return ()
    if target.namespace == "prims":
        return (target.impl_aten,)
    known = _table().get(target) or get_decompositions([target]).get(target)
    composite = target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return tuple(each for each in (target.decompose if composite else None, known) if each is not None)


@cache
def _table() -> Mapping[Any, Callable[..., Any]]:
    """torch's decompositions to the core ATen set. Made once: 50 ms."""
    table: Mapping[Any, Callable[..., Any]] = torch.export.default_decompositions()
    return table


def _apart(values: Sequence[Any]) -> list[Any]:
    """The arguments, each tensor in a memory of its own: the fake one of two values may be one and the same, and one's
    may be a view of the other's, though nothing is written to either any more."""
    met: set[int] = set()
    apart: list[Any] = []
    for value in values:
        is_shared = isinstance(value, torch.Tensor) and storage(value) in met
        apart.append(_elsewhere(value) if is_shared else value)
        if isinstance(value, torch.Tensor):
            met.add(storage(value))
    return apart


def _elsewhere(value: Any) -> torch.Tensor:
    """A fake tensor like another one."""
    with value.fake_mode, torch.no_grad():
        like = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    return like.conj() if value.is_conj() else like


def _rounded(result: Any, wanted: Any) -> Any:
    """A result in the precision that the op's own kernel returns: what a loss of float16 and float32 is made of keeps
    the wider one."""
    if isinstance(result, tuple) and isinstance(wanted, (tuple, list)) and len(result) == len(wanted):
        return tuple(_rounded(*pair) for pair in zip(result, wanted, strict=True))
    floats = all(isinstance(each, torch.Tensor) and each.is_floating_point() for each in (result, wanted))
    return result.to(wanted.dtype) if floats and result.dtype is not wanted.dtype else result


def _is_smaller(target: Any, whole: Any) -> bool:
    """Whether an op helps to take `whole` apart: not itself, and none of torch's prims, which are what aten ops are
    to a reference implementation."""
    return target is not whole and getattr(target, "namespace", "") != "prims"


def _placed(graph: fx.Graph, node: fx.Node) -> fx.Graph:
    """A copy whose nodes have the place of the decomposed one."""
    placed = fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    placed.output(placed.graph_copy(graph, mapping))
    place = {name: node.meta[name] for name in ("nn_module_stack", "stack_trace") if name in node.meta}
    for old, new in mapping.items():
        new.meta = {"val": old.meta.get("val"), **place}
    return placed


def _key(node: fx.Node) -> Any:
    """What a decomposition depends on: the op, constants, and the type of every argument; equal nodes in equal
    places."""
    given = {each: f"%{index}:{_type(each.meta.get('val'))}" for index, each in enumerate(node.all_input_nodes)}
    arguments = fx.map_arg((node.args, tuple(sorted(node.kwargs.items()))), given.__getitem__)
    return node.target, repr(arguments)


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{list(value.shape)}{value.stride()}"
    return str(value)
