"""Who writes what, who may read it: dominance, single assignment, and the shape of subgraphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.ir.verify.calls import call_faults

Faults: TypeAlias = "dict[Node | Graph, list[str]]"


def structural_faults(graph: Graph, admitted: bool, since: Graph | None = None) -> Faults:
    """Every fault of the graph and its subgraphs, by the node or graph to blame; empty where there is none. Calls that
    the graph `since` has too are taken for right."""
    right = since.all_nodes() if since is not None and since.opset == graph.opset else ()
    walk = _Walk(admitted, frozenset(right))
    walk.graph(graph)
    return walk.faults


class _Walk:
    """One walk in order of execution. `visible` are the values in scope, `written` all that were ever written; calls
    that are `right` are not looked at."""

    def __init__(self, admitted: bool, right: frozenset[Node]) -> None:
        self.admitted = admitted
        self.right = right
        self.faults: Faults = {}
        self.visible: set[Value] = set()
        self.written: set[Value] = set()
        self.constants: set[Value] = set()

    def blame(self, owner: Node | Graph, message: str) -> None:
        """Note a fault."""
        self.faults.setdefault(owner, []).append(message)

    def graph(self, graph: Graph) -> None:
        """Check a graph whose surroundings are visible."""
        own: list[Value] = []
        self.write(graph, graph.inputs, own)
        for node in graph.nodes:
            self.node(node, graph)
            self.write(node, node.outputs, own)
        for value in graph.outputs:
            self.read(graph, value, "returns")
        self.output_names(graph)
        self.visible.difference_update(own)

    def node(self, node: Node, graph: Graph) -> None:
        """Check a node before its outputs are visible."""
        for value in node.inputs:
            if value is not None:
                self.read(node, value, "reads")
        for message in () if node in self.right else call_faults(node, graph.opset, self.admitted):
            self.blame(node, message)
        for subgraph in node.subgraphs:
            if subgraph.opset != graph.opset:
                self.blame(node, f"a subgraph in opset {subgraph.opset}, the graph in {graph.opset}")
            self.graph(subgraph)
        for message in _BODIES[node.op](node) if node.op in _BODIES else ():
            self.blame(node, message)

    def write(self, owner: Node | Graph, values: Sequence[Value], own: list[Value]) -> None:
        """Make values visible; each may be written once, and constants never."""
        for value in values:
            if value in self.written:
                self.blame(owner, f"writes {_show(value)}, which is written elsewhere too")
            if value.is_constant:
                self.blame(owner, f"writes {_show(value)}, which is a constant")
            self.written.add(value)
            self.visible.add(value)
            own.append(value)

    def read(self, owner: Node | Graph, value: Value, verb: str) -> None:
        """Only what is in scope, or a constant, can be read."""
        if value.is_constant:
            self.constant(owner, value)
        elif value not in self.visible:
            where = "is written out of its sight" if value in self.written else "nobody has written before"
            self.blame(owner, f"{verb} {_show(value)}, which {where}")

    def constant(self, owner: Node | Graph, value: Value) -> None:
        """A constant's type is that of its content."""
        if value in self.constants or value.data is None:
            return
        self.constants.add(value)
        content = TensorType(value.data.dtype, tuple(value.data.shape))
        if content != value.type:
            self.blame(owner, f"reads {_show(value)}, whose content is {content}")

    def output_names(self, graph: Graph) -> None:
        """A name for each output, or none at all; no name twice."""
        names = graph.output_names
        if names and len(names) != len(graph.outputs):
            self.blame(graph, f"{len(names)} output names for {len(graph.outputs)} outputs")
        for name, times in Counter(names).items():
            if times > 1:
                self.blame(graph, f"{times} outputs are called {name!r}")


def _show(value: Value) -> str:
    return f"{value.name or 'a value'}: {value.type}"


# ── subgraphs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _if(node: Node) -> list[str]:
    """Both branches take nothing and return what the node does."""
    faults = []
    for branch in node.subgraphs:
        if branch.inputs:
            faults.append(f"a branch has {len(branch.inputs)} inputs; it can only read what is around it")
        faults += _returns(node.outputs, branch.outputs)
    return faults


def _loop(node: Node) -> list[str]:
    """The body takes the iteration, the condition and what is carried, and returns the condition, that, and scans."""
    faults, carried = [], len(node.inputs) - 2
    for body in node.subgraphs:
        if len(body.inputs) != carried + 2:
            faults.append(f"a body of {len(body.inputs)} inputs for {carried} carried values")
        faults += _returns(node.outputs[:carried], body.outputs[1 : carried + 1])
        if len(body.outputs) != len(node.outputs) + 1:
            faults.append(f"a body of {len(body.outputs)} outputs for a loop of {len(node.outputs)}")
    return faults


def _scan(node: Node) -> list[str]:
    """The body takes and returns as many values as the node."""
    faults = []
    for body in node.subgraphs:
        counts = (len(body.inputs), len(body.outputs))
        if counts != (len(node.inputs), len(node.outputs)):
            faults.append(f"a body of {counts[0]} inputs and {counts[1]} outputs")
    return faults


def _returns(wanted: Sequence[Value], found: Sequence[Value]) -> list[str]:
    if len(wanted) != len(found):
        return [f"a subgraph returns {len(found)} values for {len(wanted)}"]
    pairs = ((a, b) for a, b in zip(wanted, found, strict=True) if a.dtype is not b.dtype)
    return [f"a subgraph returns {_show(b)} for {a.type}" for a, b in pairs]


_BODIES: dict[str, Callable[[Node], list[str]]] = {"If": _if, "Loop": _loop, "Scan": _scan}
