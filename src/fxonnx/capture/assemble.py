"""An ExportedProgram as a Program: the graph cleaned and functional, its placeholders and outputs sorted by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from fxonnx.capture.clean import clean
from fxonnx.capture.functionalize import Mutations, functionalize
from fxonnx.capture.inputs import Signature
from fxonnx.capture.locate import WRAPPER, Locator, strip
from fxonnx.capture.program import Input, Program, State, SymbolInfo, Weight, Writeback
from fxonnx.capture.sizes import Sizes

_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(slots=True)
class Ports:
    """A graph's placeholders, by what they stand for."""

    inputs: list[fx.Node] = field(default_factory=list)
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    buffers: set[fx.Node] = field(default_factory=set)


def assemble(exported: ExportedProgram, signature: Signature, sizes: Sizes, symbols: Mapping[str, SymbolInfo], *, wrapped: bool = True,
             frozen: tuple[str, ...] = ()) -> Program:  # fmt: skip
    """The Program of an ExportedProgram, whose graph it takes over and changes."""
    graph = exported.graph
    locator = Locator(WRAPPER if wrapped else "")
    ports = read_ports(exported, wrapped)
    clean(graph)
    _share_tied(ports)
    mutations = functionalize(graph, locator)
    _declared(exported, ports, mutations)
    _drop_unused(graph, ports)
    return Program(
        graph=graph,
        inputs=tuple(Input(node, name) for node, name in zip(ports.inputs, signature.names, strict=True)),
        weights=_still_weights(ports, mutations),
        states=_states(ports, mutations),
        writebacks=tuple(Writeback(index, mutations[node]) for index, node in enumerate(ports.inputs) if node in mutations),
        outputs=_user_outputs(exported),
        symbols=symbols,
        signature=signature,
        sizes=sizes,
        locator=locator,
        subgraphs=_subgraphs(graph),
        frozen=frozen,
    )


def read_ports(exported: ExportedProgram, wrapped: bool) -> Ports:
    """Which placeholder is an input of the user, which one a weight and of what name."""
    ports = Ports()
    nodes = (node for node in exported.graph.nodes if node.op == "placeholder")
    for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            ports.inputs.append(node)
        elif spec.kind in _WEIGHTS and spec.target is not None:
            ports.weights[node] = Weight(strip(spec.target, WRAPPER if wrapped else ""), _tensor(exported, spec.target))
        if spec.kind is InputKind.BUFFER:
            ports.buffers.add(node)
    return ports


def _share_tied(ports: Ports) -> None:
    """One placeholder for each tensor: torch.export gives a weight with two names (tied embeddings) two of them."""
    first: dict[int, fx.Node] = {}
    for node, weight in ports.weights.items():
        shared = first.setdefault(id(weight.tensor), node)
        if shared is not node:
            node.replace_all_uses_with(shared)


def _drop_unused(graph: fx.Graph, ports: Ports) -> None:
    """Forget weights that nothing reads."""
    for node in [node for node in ports.weights if not node.users]:
        del ports.weights[node]
        graph.erase_node(node)


def _tensor(exported: ExportedProgram, target: str) -> torch.Tensor:
    """The model's own tensor: `state_dict` and `constants` of an ExportedProgram hold it by reference."""
    held = exported.state_dict[target] if target in exported.state_dict else exported.constants[target]
    assert isinstance(held, torch.Tensor)
    return held


def _declared(exported: ExportedProgram, ports: Ports, mutations: Mutations) -> None:
    """Add the mutations that an already functional program declares in its signature."""
    outputs = exported.graph.output_node().args[0]
    placeholders = {node.name: node for node in (*ports.inputs, *ports.weights)}
    for spec, value in zip(exported.graph_signature.output_specs, outputs, strict=True):
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION, OutputKind.PARAMETER_MUTATION):
            mutations.setdefault(_mutated(exported, placeholders, spec.target), value)


def _mutated(exported: ExportedProgram, placeholders: Mapping[str, fx.Node], target: str | None) -> fx.Node:
    """The placeholder that an output's signature names: by its own name (inputs) or by the weight's key (buffers)."""
    by_target = {spec.target: spec.arg.name for spec in exported.graph_signature.input_specs if spec.target is not None}
    return placeholders[by_target.get(target, target)]


def _user_outputs(exported: ExportedProgram) -> tuple[Any, ...]:
    outputs = exported.graph.output_node().args[0]
    specs = exported.graph_signature.output_specs
    return tuple(value for value, spec in zip(outputs, specs, strict=True) if spec.kind is OutputKind.USER_OUTPUT)


def _states(ports: Ports, mutations: Mutations) -> tuple[State, ...]:
    return tuple(
        State(weight.key, weight.tensor, node, mutations[node])
        for node, weight in ports.weights.items()
        if node in ports.buffers and node in mutations
    )


def _still_weights(ports: Ports, mutations: Mutations) -> dict[fx.Node, Weight]:
    """All weights but the buffers that change: those are states."""
    return {node: weight for node, weight in ports.weights.items() if not (node in ports.buffers and node in mutations)}


def _subgraphs(graph: fx.Graph) -> dict[fx.Node, fx.GraphModule]:
    owner = graph.owning_module
    return {node: getattr(owner, node.target) for node in graph.nodes if node.op == "get_attr"}
