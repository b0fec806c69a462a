"""A recorded graph as a functional one: cleaned, and no op in it writes in place."""

from __future__ import annotations

from torch import fx

from fxonnx.capture.graph.aliasing import read_whole_memory
from fxonnx.capture.graph.clean import clean, pass_aliases
from fxonnx.capture.graph.functionalize import Mutations, functionalize
from fxonnx.capture.locate import Locator
from fxonnx.errors import CaptureRefused


def make_functional(
    graph: fx.Graph, locator: Locator, *, keep_checks: bool = False, always: bool = False
) -> Mutations:
    """Clean a graph and the bodies of its higher-order ops, and make them functional, if `always` even where nothing is
    written; with `keep_checks`, its assertions on data stay.

    Returns what the graph writes to its placeholders.
    """
    clean(graph, keep_checks=keep_checks)
    for node in graph.find_nodes(op="get_attr"):
        body = getattr(graph.owning_module, node.target)
        if isinstance(body, fx.GraphModule) and make_functional(body.graph, locator):
            user = next(iter(node.users), node)
            raise CaptureRefused(
                f"a branch or body of {user.target} writes to a tensor from outside",
                cure="return the new value from it instead",
                location=locator(user),
            )
    read_whole_memory(graph)
    mutations = functionalize(graph, locator, always=always)
    pass_aliases(graph, mutations)
    return mutations
