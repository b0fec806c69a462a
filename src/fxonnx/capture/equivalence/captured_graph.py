"""A graph as capturing leaves it, writes in place and all: what two captures of one model are compared by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from fxonnx.capture.call.effects import Effects
from fxonnx.capture.call.tree import Tree
from fxonnx.capture.locate import Locator
from fxonnx.capture.program import Weight
from fxonnx.ir.dims import Dim


@dataclass(frozen=True, slots=True, eq=False)
class CapturedGraph:
    """The calls of a model in order, its inputs, weights and results, and what it leaves in its arguments, whose
    tensors are the outputs behind those of the result. `dim` says its sizes as dims of the user's `symbols`, and of
    others where they come from data."""

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    weights: Mapping[fx.Node, Weight]
    outputs: tuple[Any, ...]
    result: Tree
    effects: Effects
    locator: Locator
    dim: Callable[[Any], Dim]
    symbols: frozenset[str] = frozenset()
