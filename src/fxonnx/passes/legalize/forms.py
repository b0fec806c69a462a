"""The forms that are fastest on the machine compiled for."""

from __future__ import annotations

from fxonnx.ir.graph import Graph
from fxonnx.passes.pipeline import graph_pass
from fxonnx.passes.rewriting.rewrite import rewrite
from fxonnx.passes.rules import FORMS
from fxonnx.target import Target


@graph_pass
def forms(graph: Graph, target: Target) -> Graph:
    """Write the forms that the target's machine prefers; where nothing is known of it, what is there stays."""
    return rewrite(*FORMS)(graph, target) if target.machine.has_preferences else graph
