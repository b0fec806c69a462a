"""A part of the tape, from one call to another, cut out as the body of a higher-order op.

    tape   x ── mul ──┬── [argument ── tanh ── add] ──▶        body   operand_0, operand_1 ── tanh ── add ──▶
                      └───────────────────────▲                       (what the part reads of the rest is an operand)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.tracer.record import Tape

aten = torch.ops.aten


def argument() -> None:
    """The target of what stands for an argument of a body until it is cut out, and of the mark where that begins."""


@dataclass(slots=True, eq=False)
class Segment:
    """What a function computes, recorded from `start` to the end of the tape. `arguments` are its own inputs, `results`
    what it returns, nodes or plain numbers, with their `values`; what it checks returns it as `truths` beside them."""

    tape: Tape
    start: fx.Node
    arguments: list[fx.Node] = field(default_factory=list)
    nodes: list[fx.Node] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    checks: list[fx.Node] = field(default_factory=list)
    truths: list[Any] = field(default_factory=list)
    autocast: list[tuple[fx.Node, torch.dtype]] = field(default_factory=list)

    @staticmethod
    def begin(tape: Tape) -> Segment:
        """What is recorded from here on."""
        tape.depth += 1
        return Segment(tape, tape.add(argument, (), {}, None))

    def argument(self, like: Any) -> Any:
        """A fake tensor that stands for one more argument, which is like another one."""
        fake = aten.clone.default(like)
        self.arguments.append(self.tape.add(argument, (), {}, fake))
        return fake

    def check(self) -> None:
        """Make truths of what was checked so far."""
        self.checks = [each for each in self._recorded() if is_check(each)]
        for each in self.checks:
            value = each.args[0].meta["val"] if isinstance(each.args[0], fx.Node) else each.args[0]
            is_tensor = isinstance(value, torch.Tensor)
            truth = self.tape.operand(aten.all.default(value)) if is_tensor else each.args[0]
            self.truths.append(truth)

    def end(self, values: Iterable[Any]) -> None:
        """What was recorded up to here returns these."""
        self.values = [self.tape.read(each) for each in values]
        self.results = list(map(self.tape.operand, self.values))
        self.nodes = self._recorded()
        self.autocast = self.tape.forget(self.nodes)
        self.tape.depth -= 1

    def _recorded(self) -> list[fx.Node]:
        found, node = [], self.start.next
        while node.op != "root":
            found.append(node)
            node = node.next
        return found

    @property
    def reads(self) -> list[fx.Node]:
        """What it reads of the rest of the tape."""
        inside = set(self.nodes)
        reads = (each for node in self.nodes for each in node.all_input_nodes if each.op != "get_attr")
        returned = (each for each in (*self.results, *self.truths) if isinstance(each, fx.Node))
        return [each for each in dict.fromkeys((*reads, *returned)) if each not in inside]

    def body(self, operands: Sequence[fx.Node], results: Sequence[Any]) -> fx.Node:
        """The body: a function of the arguments and operands, which returns these results. It leaves the tape."""
        graph, root = fx.Graph(), nn.Module()
        graph.owning_module = root
        copies: dict[fx.Node, fx.Node] = {}
        for at, node in enumerate((*self.arguments, *operands)):
            copies[node] = graph.placeholder(f"operand_{at}")
            copies[node].meta = dict(node.meta)
        for node in self.nodes:
            if node not in copies and node.op == "call_function" and not is_check(node):
                self._copy(node, graph, root, copies)
        graph.output(fx.map_arg(tuple(results), copies.__getitem__))
        self.tape.autocast += ((copies[node], dtype) for node, dtype in self.autocast)
        for node in (*reversed(self.nodes), self.start):
            node.graph.erase_node(node)
        return self.tape.body(fx.GraphModule(root, graph))

    def _copy(self, node: fx.Node, graph: fx.Graph, root: nn.Module, copies: dict[fx.Node, fx.Node]) -> None:
        for each in node.all_input_nodes:
            if each.op == "get_attr" and each not in copies:
                name = str(each.target)
                root.add_module(name, getattr(each.graph.owning_module, name))
                copies[each] = graph.get_attr(name)
        if node not in copies:
            copy = copies[node] = graph.create_node(node.op, node.target, name=node.name)
            # later, because fx warns of sizes that are no nodes
            copy.args = fx.map_arg(node.args, copies.__getitem__)
            copy.kwargs = fx.map_arg(node.kwargs, copies.__getitem__)
            copy.meta = dict(node.meta)
