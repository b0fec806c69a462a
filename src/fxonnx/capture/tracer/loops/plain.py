"""A run at one length, in which that length is a plain number where Python asks for one, as a functional graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxonnx.capture.equivalence.constants import key_of
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.loops.measures.measured import Measures
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.program import functional
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.sizes.data import BELOW, ITERATION


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """One run: what it returns, the new values of the placeholders that it writes to, and what those are called."""

    run: Run
    sizes: Mapping[str, int]
    outputs: Sequence[Any]
    mutations: Mapping[fx.Node, fx.Node]
    outside: Mapping[fx.Node, Outside]
    weights: Mapping[Outside, torch.Tensor]

    @staticmethod
    def of(run: Run, sizes: Mapping[str, int]) -> Plain:
        """A run's, whose graph it takes over. Raises CaptureRefused."""
        mutations = functional(run)
        if run.reshapes:
            raise NotRolled("an input changes its shape for good")
        graph = run.tape.graph
        inputs = {node: Outside("input", number) for number, node in enumerate(run.inputs)}
        named = {node: _name(each) for node, each in run.tape.weights.items()}
        weights = {named[node]: each.tensor for node, each in run.tape.weights.items()}
        return Plain(run, sizes, graph.output_node().args[0], mutations, {**inputs, **named}, weights)

    @property
    def calls(self) -> int:
        """How many it has recorded."""
        return len(self.run.tape.graph.nodes)

    def measures(self, by: str) -> Measures:
        """Its symbols from data, of which nothing is known yet; and what loops go by, which may be one."""
        names = (each for each in self.run.guard_log.data.hints if not each.startswith(ITERATION))
        return Measures(frozenset(each for each in names if not each.endswith(BELOW)), by)

    def all_sizes(self) -> dict[str, int]:
        """The sizes of its dims, and what floats of sizes were rounded to."""
        return {**self.sizes, **{name: each.value for name, each in self.run.guard_log.rounded.items()}}

    def results(self) -> list[Any]:
        """What the graph computes: what it returns, and what it writes."""
        return [*self.outputs, *self.mutations.values()]


def _name(weight: Weight) -> Outside:
    """A weight by identity; a constant of the code, which is made anew in each iteration, by what is in it."""
    content = key_of(weight.tensor) if weight.is_literal else None
    return Outside("weight", id(weight.tensor)) if content is None else Outside("constant", content)
