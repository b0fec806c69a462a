"""The captured graph run by PyTorch, node by node: every value that the model has on its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.capture.call.exported import NodeByNode
from fxonnx.ir.dims import Expr, evaluate


def eager_values(program: Program, leaves: Sequence[torch.Tensor]) -> Iterator[tuple[fx.Node, Any]]:
    """What each call of the program's graph gives, in order, for these inputs; nothing is written to.

    A value is let go when its last reader has run: who wants it keeps it.
    """
    nodes = list(program.graph.nodes)
    last = {used: node for node in nodes for used in node.all_input_nodes}
    known: dict[fx.Node, Any] = {each.node: leaf for each, leaf in zip(program.inputs, leaves, strict=True)}
    known |= {node: weight.tensor for node, weight in program.weights.items()}
    known |= {state.node: state.tensor for state in program.states}
    symbols = _Symbols(program, known)
    for node in nodes:
        if node.op == "get_attr":
            body = program.subgraphs.get(node) or getattr(node.graph.owning_module, str(node.target))
            known[node] = NodeByNode(body).run if isinstance(body, fx.GraphModule) else body
        if node.op != "call_function":
            continue
        with torch.no_grad():
            known[node] = node.target(*symbols.read(node.args), **symbols.read(node.kwargs))
        symbols.note(node, known[node])
        yield node, known[node]
        for used in [each for each in node.all_input_nodes if last[each] is node]:
            known.pop(used, None)


class _Symbols:
    """Arguments of nodes as they are in a run: the sizes in them as numbers."""

    def __init__(self, program: Program, known: Mapping[fx.Node, Any]) -> None:
        self.program, self.known = program, known
        self.sizes: dict[str, int] = {}
        for each in program.inputs:
            for size, dim in zip(known[each.node].shape, each.node.meta["val"].shape, strict=True):
                self._note(dim, size)

    def note(self, node: fx.Node, value: Any) -> None:
        """Remember a size that data gives."""
        self._note(node.meta.get("val"), value)

    def _note(self, symbolic: Any, size: Any) -> None:
        if not isinstance(symbolic, torch.SymInt):
            return
        dim = self.program.dim(symbolic)
        if isinstance(dim, Expr) and dim.name is not None:
            self.sizes.setdefault(dim.name, int(size))

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
