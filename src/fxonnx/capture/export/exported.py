"""An ExportedProgram given by the user, taken as it is: its own inputs, weights and mutated buffers, functional or
not."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, ExportGraphSignature
from torch.utils import _pytree as pytree

from fxonnx.capture.call.dynamic import requests
from fxonnx.capture.call.inputs import Arguments, Signature, leaf_names, result_names
from fxonnx.capture.call.tree import Branch, flatten, unflatten
from fxonnx.capture.export.assemble import assemble, read_ports
from fxonnx.capture.export.freeze import name_symbols
from fxonnx.capture.program import Program
from fxonnx.errors import Error, FrozenDimension, raise_all


def take(exported: ExportedProgram, dynamic_shapes: Any, input_names: Iterable[str] | None) -> Program:
    """The Program of an ExportedProgram, which is left as it is.

    `dynamic_shapes` only names dims here: they were made dynamic when the program was exported. Raises
    FrozenDimension for one that is not.
    """
    own = copied(exported)
    values, parameters, arguments = _arguments(exported)
    leaves, paths, tree = flatten(values)
    assert isinstance(tree, Branch)
    names = leaf_names(paths, input_names)
    inputs = tuple(zip(tree.keys, tree.parts, strict=True))
    table = requests(dynamic_shapes, inputs, names, leaves)
    ports = read_ports(own, wrapped=False)
    naming = name_symbols(own.range_constraints, ports.inputs, table)
    raise_all(
        [_frozen(names[each.axis[0]], each.axis[1], each.fixed) for each in naming.frozen if each.request.required]
    )
    result, result_paths = _result(exported)
    signature = Signature(parameters, arguments, inputs, names, result, result_names(result_paths))
    return assemble(own, signature, naming, wrapped=False)


def own_example(exported: ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments that a program was exported for; zeros of their dtypes and sizes where it has only those."""
    if exported.example_inputs is not None:
        args, kwargs = exported.example_inputs
        return tuple(args), dict(kwargs)
    values, _, arguments = _arguments(exported)
    leaves, _, tree = flatten(values)
    zeros = [torch.zeros([_size(each) for each in leaf.shape], dtype=leaf.dtype) for leaf in leaves]
    return arguments.split(unflatten(tree, zeros))


def _size(size: int | torch.SymInt) -> int:
    """The size that an axis had in the example, without making it static."""
    hint = size if isinstance(size, int) else size.node.hint
    assert isinstance(hint, int)
    return hint


def _frozen(name: str, axis: int, size: Any) -> Error:
    return FrozenDimension(
        f"axis {axis} of {name} is {size} in this ExportedProgram", cure="export it with this dim in dynamic_shapes"
    )


@dataclass(frozen=True, slots=True)
class Copied:
    """An ExportedProgram's parts, with a graph of its own (capture changes it) and the same weights."""

    graph: fx.Graph
    graph_signature: ExportGraphSignature
    state_dict: Mapping[str, Any]
    constants: Mapping[str, Any]
    range_constraints: Mapping[Any, Any]


def copied(exported: ExportedProgram) -> Copied:
    """The parts of an ExportedProgram, its graph as a copy that may be changed."""
    graph = fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(exported.graph, mapping))
    module = fx.GraphModule(
        {str(node.target): _body(exported.graph_module, node) for node in graph.find_nodes(op="get_attr")}, graph
    )
    return Copied(
        module.graph, exported.graph_signature, exported.state_dict, exported.constants, exported.range_constraints
    )


def _body(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """The body of a higher-order op, copied: it is made functional too."""
    return copy.deepcopy(getattr(module, str(node.target)))


def _arguments(exported: ExportedProgram) -> tuple[dict[str, Any], inspect.Signature, Arguments]:
    """The program's arguments by name, with fake tensors for values, and the signature they bind to."""
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    specs = [spec.arg for spec in exported.graph_signature.input_specs if spec.arg.name in nodes]
    users = set(exported.graph_signature.user_inputs)
    leaves = [
        each.value if isinstance(each, ConstantArgument) else nodes[each.name].meta["val"]
        for each in specs
        if _is_user(each, users)
    ]
    args, kwargs = pytree.tree_unflatten(leaves, exported.call_spec.in_spec)
    names = _argument_names(exported, len(args), list(kwargs))
    values = dict(zip(names, (*args, *kwargs.values()), strict=True))
    kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(args) + [inspect.Parameter.KEYWORD_ONLY] * len(kwargs)
    parameters = inspect.Signature([inspect.Parameter(name, kind) for name, kind in zip(names, kinds, strict=True)])
    return values, parameters, Arguments(dict.fromkeys(values), len(args), None)


def _is_user(argument: Any, users: set[Any]) -> bool:
    return argument.value in users if isinstance(argument, ConstantArgument) else argument.name in users


def _argument_names(exported: ExportedProgram, positional: int, keywords: list[str]) -> list[str]:
    """forward's argument names, where the program still knows them."""
    called = exported.module_call_graph[0].signature if exported.module_call_graph else None
    known = list(called.forward_arg_names or ()) if called is not None else []
    return [
        *(known[:positional] if len(known) >= positional else [f"input_{index}" for index in range(positional)]),
        *keywords,
    ]


def _result(exported: ExportedProgram) -> tuple[Any, list[tuple[str, ...]]]:
    """The structure of the result, with a slot for every output that is a tensor or a size."""
    outputs = _outputs(exported)
    leaves = [value.meta.get("val") if isinstance(value, fx.Node) else value for value in outputs]
    _, paths, tree = flatten(pytree.tree_unflatten(leaves, exported.call_spec.out_spec))
    return tree, paths


def _outputs(exported: ExportedProgram) -> list[Any]:
    values = exported.graph.output_node().args[0]
    users = [spec.kind.name == "USER_OUTPUT" for spec in exported.graph_signature.output_specs]
    return [value for value, mine in zip(values, users, strict=True) if mine]
