"""The captured graph run by PyTorch, node by node: every value that the model has on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.ir.dims import Expr, evaluate

Record: TypeAlias = "Callable[[fx.Node, Any], None]"


def eager_values(
    program: Program, leaves: Sequence[torch.Tensor], record: Record = lambda node, value: None
) -> Iterator[tuple[fx.Node, Any]]:
    """What each call of the program's graph gives, in order, for these inputs; nothing is written to. What the calls in
    regions of higher-order ops give is told to `record`.

    A value is let go when its last reader has run: who wants it keeps it.
    """
    nodes = list(program.graph.nodes)
    last = {used: node for node in nodes for used in node.all_input_nodes}
    known: dict[fx.Node, Any] = {each.node: leaf for each, leaf in zip(program.inputs, leaves, strict=True)}
    known |= {node: weight.tensor for node, weight in program.weights.items()}
    known |= {state.node: state.tensor for state in program.states}
    symbols = _Symbols(program, known)
    for each in program.inputs:
        symbols.note_shape(each.node, known[each.node])
    for node in nodes:
        if node.op == "get_attr":
            known[node] = _attribute(node, symbols, record)
        if node.op != "call_function":
            continue
        with torch.no_grad():
            known[node] = node.target(*symbols.read(node.args), **symbols.read(node.kwargs))
        symbols.note(node, known[node])
        yield node, known[node]
        for used in [each for each in node.all_input_nodes if last[each] is node]:
            known.pop(used, None)


def _attribute(node: fx.Node, symbols: _Symbols, record: Record) -> Any:
    """What a graph reads by name: a tensor, or the region of a higher-order op."""
    body = symbols.program.subgraphs.get(node) or getattr(node.graph.owning_module, str(node.target))
    if not isinstance(body, fx.GraphModule):
        return body
    region = _Region(body, symbols, record)
    decides = any(str(user.target) == "while_loop" and user.args[0] is node for user in node.users)
    return (lambda *arguments: region(*arguments)[0]) if decides else region  # torch wants one truth, not a tuple of it


@dataclass(frozen=True, slots=True, eq=False)
class _Region:
    """A branch or a body, run node by node; sizes in it are those around it, and those of its arguments."""

    body: fx.GraphModule
    around: _Symbols
    record: Record

    def __call__(self, *arguments: Any) -> Any:
        """What it returns."""
        graph = self.body.graph
        known: dict[fx.Node, Any] = dict(zip(graph.find_nodes(op="placeholder"), arguments, strict=False))
        symbols = _Symbols(self.around.program, known, dict(self.around.sizes))
        for placeholder, value in list(known.items()):
            symbols.note_shape(placeholder, value)
        for node in graph.nodes:
            if node.op == "get_attr":
                known[node] = _attribute(node, symbols, self.record)
            if node.op == "call_function":
                known[node] = node.target(*symbols.read(node.args), **symbols.read(node.kwargs))
                symbols.note(node, known[node])
                self.record(node, known[node])
        returned = symbols.read(next(iter(graph.find_nodes(op="output"))).args[0])
        return tuple(returned) if isinstance(returned, list) else returned


@dataclass(slots=True, eq=False)
class _Symbols:
    """Arguments of nodes as they are in a run: the sizes in them as numbers."""

    program: Program
    known: Mapping[fx.Node, Any]
    sizes: dict[str, int] = field(default_factory=dict)

    def note(self, node: fx.Node, value: Any) -> None:
        """Remember a size that data gives."""
        self._note(node.meta.get("val"), value)

    def note_shape(self, node: fx.Node, value: Any) -> None:
        """Remember the sizes of a tensor that comes from outside."""
        for dim, size in zip(getattr(node.meta.get("val"), "shape", ()), getattr(value, "shape", ()), strict=False):
            self._note(dim, size)

    def _note(self, symbolic: Any, size: Any) -> None:
        if not isinstance(symbolic, torch.SymInt):
            return
        dim = self.program.dim(symbolic)
        if isinstance(dim, Expr) and dim.name is not None:
            self.sizes[dim.name] = int(size)

    def read(self, item: Any) -> Any:
        """An argument with values in the place of nodes."""
        if isinstance(item, fx.Node):
            return self.known[item]
        if isinstance(item, torch.SymInt):
            return evaluate(self.program.dim(item), self.sizes)
        if isinstance(item, Mapping):
            return {key: self.read(each) for key, each in item.items()}
        if isinstance(item, slice):
            return slice(self.read(item.start), self.read(item.stop), self.read(item.step))
        return [self.read(each) for each in item] if isinstance(item, (list, tuple)) else item
