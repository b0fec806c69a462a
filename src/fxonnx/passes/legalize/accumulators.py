"""Running sums and products of float32 in float64, as torch keeps them."""

from __future__ import annotations

from fxonnx.dtypes import FLOAT32, FLOAT64
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node
from fxonnx.passes.legalize.support import computes
from fxonnx.passes.legalize.widen import between_casts
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target

_RUNNING = frozenset({"CumSum", "CumProd"})


@graph_pass
def wide_accumulators(graph: Graph, target: Target) -> Graph:
    """x ── CumSum ─▶   becomes   x ── Cast(float64) ── CumSum ── Cast(float32) ─▶

    Every running value is rounded, and so is all that follows from it: after 4,000 elements a float32 is some 40 × as
    far off as torch's, whose kernels keep a double (aten/src/ATen/AccumulateType.h). Where the target knows float64.
    """
    if not _knows_doubles(target):
        return graph

    def replace(op: Builder, node: Node) -> list[Tensor] | None:
        if node.op not in _RUNNING or node.outputs[0].dtype is not FLOAT32 or not _runs_wide(node.op, target):
            return None
        return between_casts(op, node, {"T": FLOAT64})

    return replace_nodes(graph, replace, rule="wide_accumulators")


def _knows_doubles(target: Target) -> bool:
    return all(
        computes("Cast", target, (("T1", one), ("T2", other)))
        for one, other in ((FLOAT32, FLOAT64), (FLOAT64, FLOAT32))
    )


def _runs_wide(op: str, target: Target) -> bool:
    """Whether the target runs the operator in float64, or has none of its own, so that it is expanded."""
    has_own = schema.facts(op, target.opset) is not None and computes(op, target, (("T", FLOAT32),))
    return not has_own or computes(op, target, (("T", FLOAT64),))
