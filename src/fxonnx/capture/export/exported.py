"""A copy of an ExportedProgram, whose graph may be changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature


@dataclass(frozen=True, slots=True)
class Copied:
    """An ExportedProgram's parts, with a graph of its own (capture changes it) and the same weights."""

    graph: fx.Graph
    graph_signature: ExportGraphSignature
    state_dict: Mapping[str, Any]
    constants: Mapping[str, Any]
    range_constraints: Mapping[Any, Any]


def copied(exported: ExportedProgram) -> Copied:
    """The parts of an ExportedProgram, its graph as a copy that may be changed."""
    graph = fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(exported.graph, mapping))
    module = fx.GraphModule(
        {str(node.target): _body(exported.graph_module, node) for node in graph.find_nodes(op="get_attr")}, graph
    )
    return Copied(
        module.graph, exported.graph_signature, exported.state_dict, exported.constants, exported.range_constraints
    )


def _body(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """The body of a higher-order op, copied: it is made functional too."""
    return copy.deepcopy(getattr(module, str(node.target)))
