"""A graph as capturing leaves it, writes in place and all: what two captures of one model are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.export import ExportedProgram

from fxonnx.capture.call.tree import Tree
from fxonnx.capture.export.assemble import read_ports, user_outputs
from fxonnx.capture.export.exported import copied
from fxonnx.capture.graph.clean import clean
from fxonnx.capture.locate import Locator
from fxonnx.capture.program import Weight


@dataclass(frozen=True, slots=True, eq=False)
class CapturedGraph:
    """The calls of a model in order, its inputs, weights and results."""

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    weights: Mapping[fx.Node, Weight]
    outputs: tuple[Any, ...]
    result: Tree
    locator: Locator

    @staticmethod
    def of(exported: ExportedProgram, result: Tree) -> CapturedGraph:
        """A recording of its own: the exported program's graph may be changed afterwards."""
        copy = copied(exported)
        clean(copy.graph)
        ports = read_ports(copy, wrapped=True)
        return CapturedGraph(
            copy.graph, tuple(ports.inputs), ports.weights, user_outputs(copy, wrapped=True), result, Locator()
        )
