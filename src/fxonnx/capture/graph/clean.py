"""What torch.export leaves in a graph for its own use, taken out: range constraints, regions of no_grad and autocast;
and assertions on data, where nobody can be told of them."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.autocast import insert_casts
from fxonnx.capture.graph.checks import is_check

_CONSTRAINTS = frozenset(
    {
        "aten._assert_tensor_metadata.default",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
        "aten._functional_sym_constrain_range.default",
        "aten._functional_sym_constrain_range_for_size.default",
    }
)
# higher-order op -> index of its body among the arguments
_REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
ALIASES = frozenset(
    {
        "aten.detach.default",
        "aten.alias.default",
        "aten.lift.default",
        "aten.lift_fresh.default",
        "aten.lift_fresh_copy.default",
    }
)
_READS_DATA = frozenset({"aten.item.default", "aten._local_scalar_dense.default"})


def clean(graph: fx.Graph, *, keep_checks: bool = False) -> None:
    """Drop assertions and what only they read, marks for the profiler, and inline regions. Values stay as they are;
    linear time.

    With `keep_checks`, assertions on data stay.
    """
    for node in list(graph.nodes):
        if node.op == "call_function" and str(node.target) in _REGIONS:
            _inline(graph, node, keep_checks)
    for node in reversed(list(graph.nodes)):
        is_idle = (is_check(node) and not keep_checks) or _is_mark(node)
        if str(node.target) in _CONSTRAINTS or is_idle or (not node.users and _is_effortless(node)):
            graph.erase_node(node)


def pass_aliases(graph: fx.Graph, mutations: dict[fx.Node, fx.Node]) -> None:
    """Read through detach, alias and lift.

    Only for a graph that writes nothing in place: there a value and its alias are the same.
    """
    sources: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and str(node.target) in ALIASES:
            sources[node] = node.args[0]
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    mutations.update({place: sources.get(value, value) for place, value in mutations.items()})


def _is_mark(node: fx.Node) -> bool:
    """Whether a node only tells a profiler where it is, as `torch.profiler.record_function` does."""
    return getattr(node.target, "namespace", "") == "profiler"


def _is_effortless(node: fx.Node) -> bool:
    """Whether a node only fetches the body of a region or computes on sizes; reading an unused value from data is as
    idle, though torch may have
    bound a symbol to it, so it stays."""
    if node.op == "get_attr":
        return True
    number = isinstance(node.meta.get("val"), (bool, int, float, torch.SymInt, torch.SymBool, torch.SymFloat))
    return node.op == "call_function" and number and str(node.target) not in _READS_DATA


def _inline(graph: fx.Graph, node: fx.Node, keep_checks: bool) -> None:
    """A region's body in place of its call.

    Whether gradients are on makes no difference to values; autocast becomes casts.
    """
    position = _REGIONS[str(node.target)]
    body = _owned(graph, node.args[position])
    clean(body.graph, keep_checks=keep_checks)
    if str(node.target) == "wrap_with_autocast":
        insert_casts(body.graph, node.args[1], enabled=bool(node.args[2]))
    operands = node.args[position + 1 :]
    placeholders = body.graph.find_nodes(op="placeholder")
    mapping: dict[fx.Node, Any] = dict(zip(placeholders, operands, strict=True))
    with graph.inserting_before(node):
        results = graph.graph_copy(body.graph, mapping)
    for inner, outer in mapping.items():
        if inner.op == "get_attr":
            _adopt(graph, outer, _owned(body.graph, inner))
    for getitem in list(node.users):
        assert getitem.target is operator.getitem  # a region returns a tuple
        getitem.replace_all_uses_with(results[getitem.args[1]])
        graph.erase_node(getitem)
    graph.erase_node(node)


def _owned(graph: fx.Graph, node: Any) -> fx.GraphModule:
    module = getattr(graph.owning_module, node.target)
    assert isinstance(module, fx.GraphModule)
    return module


def _adopt(graph: fx.Graph, node: fx.Node, module: fx.GraphModule) -> None:
    """Give the body of a higher-order op inside an inlined region to the graph that now calls it."""
    owner = graph.owning_module
    assert owner is not None
    node.target = f"{node.name}_body"
    owner.add_module(node.target, module)
