"""Which opset to write when the user names none."""

from __future__ import annotations

from fxonnx.ir import schema
from fxonnx.ir.graph import Graph
from fxonnx.passes.legalize.registry import EXPANSIONS, load
from fxonnx.passes.legalize.support import is_function, runs_somehow
from fxonnx.target import OLDEST_OPSET, Target


def newest_that_runs(graph: Graph, target: Target) -> Target:
    """The target at its newest opset, not above its own, at which its runtime runs every operator of the graph.

    An operator that got a new version without a kernel (RandomNormal at 22) still runs at the opset before. The target
    itself where none is better.
    """
    load()
    operators = {node.op for node in graph.all_nodes() if schema.facts(node.op) is not None}
    for opset in range(target.opset, OLDEST_OPSET - 1, -1):
        lower = target.at(opset)
        if all(_is_usable(op, lower) for op in operators):
            return lower
    return target


def _is_usable(op: str, target: Target) -> bool:
    """Whether the operator has a kernel, or can be said by others that have: those have kernels at every opset."""
    if op in EXPANSIONS:
        return True
    known = schema.facts(op, target.opset) is not None
    return runs_somehow(op, target) or is_function(op, target.opset if known else schema.NEWEST)
