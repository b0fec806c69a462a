"""An ExportedProgram as a Program: the graph cleaned and functional, its placeholders and outputs sorted by what
they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import fx
from torch.export.graph_signature import ConstantArgument, ExportGraphSignature, InputKind, OutputKind
from torch.fx.experimental.proxy_tensor import make_fx

from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.export.branch_checks import hoist_checks
from fxonnx.capture.export.checks import keep_asked
from fxonnx.capture.export.freeze import Naming
from fxonnx.capture.export.guards import assertions
from fxonnx.capture.graph.checks import checks_of
from fxonnx.capture.graph.functional import make_functional
from fxonnx.capture.graph.functionalize import Mutations
from fxonnx.capture.graph.reshapes import reshapes
from fxonnx.capture.graph.squeezes import keep_squeezes
from fxonnx.capture.locate import WRAPPER, Locator, strip
from fxonnx.capture.program import Input, Program, Retraced, State, Weight, Writeback
from fxonnx.location import Location

_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


class Exported(Protocol):
    """What is read of an ExportedProgram."""

    @property
    def graph(self) -> fx.Graph:
        """The graph itself."""

    @property
    def graph_signature(self) -> ExportGraphSignature:
        """What its placeholders and outputs stand for."""

    @property
    def state_dict(self) -> Mapping[str, Any]:
        """Parameters and buffers by key."""

    @property
    def constants(self) -> Mapping[str, Any]:
        """Other tensors by name."""


@dataclass(slots=True)
class Ports:
    """A graph's placeholders, by what they stand for."""

    inputs: list[fx.Node] = field(default_factory=list)
    weights: dict[fx.Node, Weight] = field(default_factory=dict)
    constants: list[fx.Node] = field(default_factory=list)  # Python arguments of an ExportedProgram; nothing reads them


def assemble(
    exported: Exported, signature: Signature, naming: Naming, *, wrapped: bool = True, environment: Any = None
) -> Program:
    """The Program of an ExportedProgram, whose graph it takes over and changes. `environment` is torch's record of the
    sizes in it, where that is of this capture."""
    graph, locator = exported.graph, Locator(WRAPPER if wrapped else "")
    sizes = naming.sizes()
    keep_asked(graph, sizes, None if environment is None else assertions(environment, sizes))
    ports = read_ports(exported, wrapped)
    _share_tied(graph, ports)
    reshaped = reshapes(graph, ports.inputs, locator)
    hoist_checks(graph, locator)
    mutations = make_functional(graph, locator, keep_checks=True)
    keep_squeezes(graph)
    _add_declared(exported, ports, mutations)
    _drop_unused(graph, ports, mutations)
    outputs, rebound = user_outputs(exported, wrapped), len(signature.effects.names)
    count = len(outputs) - rebound
    return Program(
        graph=graph,
        inputs=tuple(Input(node, name) for node, name in zip(ports.inputs, signature.names, strict=True)),
        weights={node: weight for node, weight in ports.weights.items() if node not in mutations},
        states=tuple(
            State(each.key, each.tensor, node, mutations[node])
            for node, each in ports.weights.items()
            if node in mutations
        ),
        writebacks=tuple(
            Writeback(index, mutations[node]) for index, node in enumerate(ports.inputs) if node in mutations
        ),
        outputs=outputs[:count],
        rebound=outputs[count:],
        symbols={},
        signature=signature,
        sizes=sizes,
        locator=locator,
        retrace=make_graph,
        checks=checks_of(graph, locator),
        reshapes=reshaped,
        subgraphs={node: getattr(graph.owning_module, str(node.target)) for node in graph.find_nodes(op="get_attr")},
    )


def make_graph(body: Callable[..., Any], values: Sequence[Any], whole: bool, location: Location) -> Retraced:
    """The graph of `body(*values)` for the fake values of torch.export; composite calls are kept `whole` or not."""
    return make_fx(body, tracing_mode="real", pre_dispatch=whole)(*values).graph, ()


def read_ports(exported: Exported, wrapped: bool) -> Ports:
    """Which placeholder is an input of the user, which one a weight and of what name."""
    ports = Ports()
    nodes = (node for node in exported.graph.nodes if node.op == "placeholder")
    for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, ConstantArgument):
            ports.inputs.append(node)
        elif spec.kind is InputKind.USER_INPUT:
            ports.constants.append(node)
        elif spec.kind in _WEIGHTS and spec.target is not None:
            ports.weights[node] = Weight(strip(spec.target, WRAPPER if wrapped else ""), _tensor(exported, spec.target))
    return ports


def _share_tied(graph: fx.Graph, ports: Ports) -> None:
    """One placeholder for each tensor: torch.export gives a weight with two names (tied embeddings) two of them."""
    first: dict[int, fx.Node] = {}
    for node, weight in list(ports.weights.items()):
        shared = first.setdefault(id(weight.tensor), node)
        if shared is not node:
            node.replace_all_uses_with(shared)
            graph.erase_node(node)
            del ports.weights[node]


def _drop_unused(graph: fx.Graph, ports: Ports, mutations: Mutations) -> None:
    """Forget weights that nothing reads, and the places of Python constants."""
    for node in ports.constants:
        graph.erase_node(node)
    for node in [node for node in ports.weights if not node.users and node not in mutations]:
        del ports.weights[node]
        graph.erase_node(node)


def _tensor(exported: Exported, target: str) -> torch.Tensor:
    """The model's own tensor: `state_dict` and `constants` of an ExportedProgram hold it by reference."""
    held = exported.state_dict[target] if target in exported.state_dict else exported.constants[target]
    assert isinstance(held, torch.Tensor)
    return held


def _add_declared(exported: Exported, ports: Ports, mutations: Mutations) -> None:
    """Add the mutations that an already functional program declares in its signature."""
    outputs = exported.graph.output_node().args[0]
    placeholders = {node.name: node for node in (*ports.inputs, *ports.weights)}
    for spec, value in zip(exported.graph_signature.output_specs, outputs, strict=True):
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION, OutputKind.PARAMETER_MUTATION):
            mutations.setdefault(_mutated(exported, placeholders, spec.target), value)


def _mutated(exported: Exported, placeholders: Mapping[str, fx.Node], target: str | None) -> fx.Node:
    """The placeholder that an output's signature names: by its own name (inputs) or by the weight's key (buffers)."""
    by_target = {spec.target: spec.arg.name for spec in exported.graph_signature.input_specs if spec.target is not None}
    return placeholders[by_target.get(target) or target or ""]


def user_outputs(exported: Exported, wrapped: bool) -> tuple[Any, ...]:
    """The leaves of the result.

    In an ExportedProgram's own result the constants are leaves too; for us they belong to the structure.
    """
    outputs = exported.graph.output_node().args[0]
    specs = exported.graph_signature.output_specs
    users = [value for value, spec in zip(outputs, specs, strict=True) if spec.kind is OutputKind.USER_OUTPUT]
    return tuple(value for value in users if wrapped or isinstance(value, fx.Node))
