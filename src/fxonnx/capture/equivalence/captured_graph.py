"""A graph as capturing leaves it, writes in place and all: what two captures of one model are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxonnx.capture.call.tree import Tree
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
