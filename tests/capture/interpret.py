"""Run a captured Program in PyTorch: the oracle of the capture tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program


def run(
    program: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> tuple[Any, list[torch.Tensor], list[torch.Tensor]]:
    """(the model's result, values written back to inputs, new states), computed node by node from copies of the
    arguments."""
    leaves = program.signature.flatten(args, kwargs or {})
    values: dict[fx.Node, Any] = {item.node: leaf.clone() for item, leaf in zip(program.inputs, leaves, strict=True)}
    values |= {node: weight.tensor for node, weight in program.weights.items()}
    values |= {state.node: state.tensor.clone() for state in program.states}
    with torch.no_grad():
        for node in program.graph.nodes:
            if node.op == "get_attr":
                values[node] = program.subgraphs[node] if program.subgraphs else _body(node)
            elif node.op == "call_function":
                read = (fx.map_arg(node.args, values.__getitem__), fx.map_arg(node.kwargs, values.__getitem__))
                values[node] = node.target(*read[0], **read[1])
    outputs = [values[item] if isinstance(item, fx.Node) else item for item in program.outputs]
    written = [values[each.result] for each in program.writebacks]
    return program.signature.unflatten(outputs), written, [values[each.result] for each in program.states]


def _body(node: fx.Node) -> Any:
    """The graph of a branch or a loop, which a traced graph keeps in its module."""
    return getattr(node.graph.owning_module, str(node.target))


def writes(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that still write in place."""
    return [
        node
        for node in graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
    ]
