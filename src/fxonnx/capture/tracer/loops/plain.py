"""A run at one length, in which that length is a plain number where Python asks for one, as a functional graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.equivalence.constants import key_of
from fxonnx.capture.graph.checks import is_answer, is_check
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.loops.measures.measured import Measures
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.paths.copying import is_drawn, needed_for
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
        if run.decisions.made:
            _merge_equal(graph, {*mutations, *mutations.values()})
            _put_by_need(graph)
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


def _merge_equal(graph: fx.Graph, kept: Set[fx.Node]) -> None:
    """Let what is computed twice be one value, as it is where ways are joined: around the first decision it is not."""
    known: dict[Any, fx.Node] = {}
    for node in [each for each in graph.nodes if each.op == "call_function"]:
        is_op = isinstance(node.target, torch._ops.OpOverload) and isinstance(node.meta.get("val"), torch.Tensor)
        if not is_op or node in kept or is_drawn(node):
            continue
        leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
        first = known.setdefault((node.target, tuple(map(_key, leaves)), structure), node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _key(leaf: Any) -> Any:
    return leaf if isinstance(leaf, fx.Node) else (type(leaf), str(leaf))


def _put_by_need(graph: fx.Graph) -> None:
    """Let a call that stands before a branch, or a check, stand right before the first of these that needs it. What
    both ways of a decision compute is computed before it: that of all later iterations, which would be another loop."""
    order = {node: at for at, node in enumerate(graph.nodes)}
    asking = [node for node in order if node.target is torch.ops.higher_order.cond or is_check(node) or is_answer(node)]
    placed = dict.fromkeys(node for node in order if node.op in ("placeholder", "get_attr"))
    for root in (*asking, *order):
        needed = needed_for([root], placed.__contains__)
        placed.update(dict.fromkeys(sorted(needed, key=order.__getitem__)))
    for node, following in pairwise(placed):
        node.append(following)


def _name(weight: Weight) -> Outside:
    """A weight by identity; a constant of the code, which is made anew in each iteration, by what is in it."""
    content = key_of(weight.tensor) if weight.is_literal else None
    return Outside("weight", id(weight.tensor)) if content is None else Outside("constant", content)
