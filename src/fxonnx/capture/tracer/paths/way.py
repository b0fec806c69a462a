"""One way of a model through its decisions: a functional graph, and what it returns, writes and checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import fx

from fxonnx.capture.call.inputs import Returned
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.program import Weight
from fxonnx.capture.tracer.decisions.script import is_mark
from fxonnx.capture.tracer.paths.copying import Copy
from fxonnx.capture.tracer.program import functional
from fxonnx.capture.tracer.run import Run
from fxonnx.location import Location

Place: TypeAlias = tuple[str, int]
"""what a way writes to: ("input", its number) or ("weight", its tensor's id)"""


@dataclass(eq=False, slots=True)
class Raised:
    """A way that ends in an exception of the model's own."""

    text: str
    location: Location
    error: BaseException


@dataclass(eq=False, slots=True)
class Way:
    """What is left of one run, or of several that are joined.

    The graph has no output. `results` are nodes or plain numbers, as `returned` has slots; `written` are the new values
    of what is written to. Decisions that are not joined yet have their marks in the graph.
    """

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    weights: dict[fx.Node, Weight]
    returned: Returned
    results: list[Any]
    written: dict[Place, Any]

    @property
    def checks(self) -> list[fx.Node]:
        """The model's checks of data, in order."""
        return [node for node in self.graph.nodes if is_check(node)]

    def mark(self, number: int) -> fx.Node:
        """The mark of a decision."""
        return next(node for node in self.graph.nodes if is_mark(node) and node.args[1] == number)

    def place(self, place: Place) -> fx.Node | None:
        """The placeholder of what may be written to; None where this way does not know it."""
        kind, key = place
        if kind == "input":
            return self.inputs[key]
        return next((node for node, weight in self.weights.items() if id(weight.tensor) == key), None)


def way_of(run: Run) -> Way:
    """The way of a run that has come to its end; it takes the graph over."""
    mutations = functional(run)
    graph = run.tape.graph
    output = graph.output_node()
    results = list(output.args[0])
    graph.erase_node(output)
    written = dict(zip(places_of(run, mutations), mutations.values(), strict=True))
    return Way(graph, tuple(run.inputs), dict(run.tape.weights), run.returned, results, written)


def places_of(run: Run, placeholders: Iterable[fx.Node]) -> list[Place]:
    """What these placeholders of a run stand for."""
    places: dict[fx.Node, Place] = {node: ("input", number) for number, node in enumerate(run.inputs)}
    places |= {node: ("weight", id(weight.tensor)) for node, weight in run.tape.weights.items()}
    return [places[node] for node in placeholders]


def copied(way: Way) -> Way:
    """A way with a graph of its own."""
    copy, nodes = Copy(), dict[fx.Node, fx.Node]()
    for node in way.graph.nodes:
        if node.op != "get_attr":
            is_given = node.op == "placeholder"
            nodes[node] = copy.placeholder(node) if is_given else copy.node(node, nodes.__getitem__)
    weights = {nodes[node]: weight for node, weight in way.weights.items()}
    results = [nodes.get(each, each) for each in way.results]
    written = {place: nodes[value] for place, value in way.written.items()}
    return Way(copy.graph, tuple(map(nodes.__getitem__, way.inputs)), weights, way.returned, results, written)
