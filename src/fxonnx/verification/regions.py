"""Values inside of branches and loop bodies, beside PyTorch's: they leave the If or Loop as outputs of its own.

A branch that is not taken gives a stand-in; a body gives what a value is in every iteration, stacked. Values whose
sizes change from one iteration to the next cannot be stacked, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.ir.data import ArrayData
from fxonnx.ir.dims import Expr, symbol
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.lowering.importer import tensor_type
from fxonnx.verification.eager import eager_values

BRANCHES = {"then_branch": "else_branch", "else_branch": "then_branch"}


@dataclass(frozen=True, slots=True)
class Inside:
    """A value in a branch or a body: the fx node that it is of, the node that gives it there, and the output of the
    graph that it leaves by."""

    fx_node: fx.Node
    node: Node
    value: Value
    output: Value
    is_stacked: bool


def eager_inside(program: Program, leaves: Sequence[torch.Tensor], control: fx.Node) -> dict[fx.Node, torch.Tensor]:
    """What PyTorch computes in the regions of a higher-order op; of a body, for all iterations, where they stack."""
    called: dict[fx.Node, list[torch.Tensor]] = {}

    def record(node: fx.Node, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            called.setdefault(node, []).append(value.detach().clone())

    for node, _ in eager_values(program, leaves, record):
        if node is control:
            break
        called.clear()
    is_loop = str(control.target) != "cond"
    stacks = {node: each for node, each in called.items() if len({value.shape for value in each}) == 1}
    return {node: torch.stack(each) if is_loop else each[0] for node, each in stacks.items()}


def exposed(graph: Graph, program: Program, control: fx.Node, inside: Sequence[fx.Node]) -> tuple[Graph, list[Inside]]:
    """The graph with values of those fx nodes as further outputs, as far as an If or Loop made for `control` has
    them."""
    by_name = {node.name: node for node in inside}
    nodes, found = [], list[Inside]()
    for node in graph.nodes:
        if node.op in ("If", "Loop") and control.name in node.location.node.split("+"):
            node, more = _opened(node, list(_wanted(node, program, by_name)))
            found += more
        nodes.append(node)
    outputs = (*graph.outputs, *(each.output for each in found))
    names = (*graph.output_names, *(f"{control.name}//{number}" for number, _ in enumerate(found)))
    return replace(graph, nodes=tuple(nodes), outputs=outputs, output_names=names), found


def _wanted(node: Node, program: Program, by_name: Mapping[str, fx.Node]) -> Iterator[tuple[str, fx.Node, Node]]:
    """The nodes of the graphs of an If or Loop that give the values of fx nodes: the last one for each."""
    for key, region in node.attributes.items():
        if not isinstance(region, Graph):
            continue
        last: dict[fx.Node, Node] = {}
        for inner in region.nodes:
            made_for = by_name.get(inner.location.node.rpartition("+")[2])
            if made_for is not None and _fits(inner.output.type, tensor_type(made_for.meta["val"], program.dim)):
                last[made_for] = inner
        yield from ((key, made_for, inner) for made_for, inner in last.items())


def _fits(type: TensorType, wanted: TensorType) -> bool:
    return type.dtype is wanted.dtype and type.rank == wanted.rank


def _opened(node: Node, wanted: Sequence[tuple[str, fx.Node, Node]]) -> tuple[Node, list[Inside]]:
    """An If or Loop with values of its graphs among its outputs."""
    found, attributes = list[Inside](), dict(node.attributes)
    for key, fx_node, inner in wanted:
        value = inner.output
        number = len(found)
        dims = tuple(dim if isinstance(dim, int) else _unknown(number, axis) for axis, dim in enumerate(value.shape))
        stacked = (_unknown(number, -1), *dims) if node.op == "Loop" else dims
        found.append(Inside(fx_node, inner, value, Value(TensorType(value.dtype, stacked)), node.op == "Loop"))
        attributes[key] = _with_output(attributes[key], value)
        if node.op == "If":
            attributes[BRANCHES[key]] = _with_output(attributes[BRANCHES[key]], _stand_in(value))
    outputs = (*node.outputs, *(each.output for each in found))
    return replace(node, outputs=outputs, attributes=attributes), found


def _unknown(number: int, axis: int) -> Expr:
    """A size that only the runtime tells."""
    return symbol(f"_inside{number}_{axis + 1}")


def _stand_in(value: Value) -> Value:
    content = np.zeros((0,) * len(value.shape), value.dtype.numpy)
    return Value(TensorType(value.dtype, content.shape), None, ArrayData(content))


def _with_output(graph: Graph, value: Value) -> Graph:
    return replace(graph, outputs=(*graph.outputs, value))
