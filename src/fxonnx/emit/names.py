"""What everything is called in the file: unique, stable names that say where in the model a value comes from.

Inputs and outputs have exactly the names they were given, weights their `state_dict` keys; a node is called by its
module path and operator (`layers.0.fc/Gemm`), and its outputs after it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fxonnx import errors
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.schema import split_name


@dataclass(slots=True)
class Names:
    """Names by value and by node; a name is given once and never twice."""

    values: dict[Value, str] = field(default_factory=dict)
    nodes: dict[Node, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def unique(self, wanted: str) -> str:
        """`wanted`, or with the first number behind it that makes it new. Amortized constant time."""
        name = wanted
        while name in self.taken:
            self.counts[wanted] = self.counts.get(wanted, 0) + 1
            name = f"{wanted}_{self.counts[wanted]}"
        self.taken.add(name)
        return name


def name_graph(graph: Graph) -> Names:
    """Names for all values and nodes of a graph and its subgraphs. Raises NameClash where two inputs or outputs ask for
    one name."""
    names = Names()
    _name_interface(graph, names)
    constants = graph.constants()
    for value in constants:
        if value.name is not None and value not in names.values:
            names.values[value] = names.unique(value.name)
    for value in constants:
        if value not in names.values:
            names.values[value] = names.unique("constant")
    _name_nodes(graph, names)
    return names


def _name_interface(graph: Graph, names: Names) -> None:
    wanted = [*((value.name or "input") for value in graph.inputs), *graph.output_names]
    clashes = sorted(name for name, times in Counter(wanted).items() if times > 1)
    if clashes:
        raise errors.NameClash(
            f"{', '.join(map(repr, clashes))} names more than one input or output",
            cause="an ONNX graph has one namespace for its inputs and outputs",
            cure='give other names: fxonnx.compile(…, input_names=["x"], output_names=["y"])',
        )
    names.taken.update(wanted)
    for value in graph.inputs:
        names.values[value] = value.name or "input"
    produced = {output for node in graph.nodes for output in node.outputs}
    for value, name in zip(graph.outputs, graph.output_names, strict=bool(graph.output_names)):
        if value in produced and value not in names.values:
            names.values[value] = name


def _name_nodes(graph: Graph, names: Names) -> None:
    for node in graph.nodes:
        name = names.nodes[node] = names.unique("/".join(filter(None, (node.location.module, split_name(node.op)[1]))))
        for index, value in enumerate(node.outputs):
            if value not in names.values:
                names.values[value] = names.unique(name if index == 0 else f"{name}:{index}")
        for subgraph in node.subgraphs:
            _name_inner(subgraph, name, names)


def _name_inner(graph: Graph, prefix: str, names: Names) -> None:
    """Names inside a subgraph share the namespace of the graphs around it (ONNX IR spec, "Names Within a Graph")."""
    for value in graph.inputs:
        names.values[value] = names.unique(f"{prefix}/{value.name or 'input'}")
    _name_nodes(graph, names)
