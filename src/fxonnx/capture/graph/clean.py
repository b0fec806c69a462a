"""What is of no use in a recorded graph, taken out: constraints of torch's, marks for the profiler; and assertions on
data, where nobody can be told of them."""

from __future__ import annotations

import math

import torch
from torch import fx

from fxonnx.capture.graph.checks import is_check

_CONSTRAINTS = frozenset(
    {
        "aten._assert_tensor_metadata.default",
        "aten._functional_sym_constrain_range.default",
        "aten._functional_sym_constrain_range_for_size.default",
    }
)
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
_ROUNDS = frozenset({math.floor, math.ceil, math.trunc, round})


def clean(graph: fx.Graph, *, keep_checks: bool = False) -> None:
    """Drop assertions and what only they read, and marks for the profiler. Values stay as they are; linear time.

    With `keep_checks`, assertions on data stay.
    """
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
    """Whether a node only fetches the body of a region or computes on sizes. What nobody reads of data, or rounds, is
    as idle; it stays, as the bodies of loops may have the size that it tells."""
    if node.op == "get_attr":
        return True
    number = isinstance(node.meta.get("val"), (bool, int, float, torch.SymInt, torch.SymBool, torch.SymFloat))
    return node.op == "call_function" and number and str(node.target) not in _READS_DATA and node.target not in _ROUNDS
