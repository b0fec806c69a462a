"""Weights stay as they are, in files that are there or in those of other models: who reads one transposed does so by
itself."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import replace

from fxonnx.ir.data import Data, View
from fxonnx.ir.extent import unmoved
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.types import TensorType
from fxonnx.passes.dce import dce
from fxonnx.passes.pipeline import inside
from fxonnx.target import MICROSOFT, Target

FUSED = f"{MICROSOFT}::FusedMatMul"

_SIDES = ("transA", "transB")  # the attributes of a product that say which operand is read transposed


def in_place(graph: Graph, stay: Collection[Hashable], target: Target) -> Graph:
    """A legal graph with contents, by their identities, that stay as they are, and no transposed copies of them.

        x, wᵀ ── Gemm ─▶      becomes    x, w ── Gemm {transB} ─▶
        x, wᵀ ── MatMul ─▶    becomes    x, w ── com.microsoft::FusedMatMul {transB} ─▶    where the target has it
        wᵀ ─▶                 becomes    w ── Transpose ─▶
    """
    known = {value.data.identity: value for value in graph.constants() if value.data is not None}
    return dce(_InPlace(stay, target, known).graph(graph), target)


class _InPlace:
    """One walk over a graph and its subgraphs, which share the constants."""

    def __init__(self, stay: Collection[Hashable], target: Target, known: dict[Hashable, Value]) -> None:
        self.stay, self.target, self.known = stay, target, known
        self.made: dict[Value, tuple[Data, tuple[int, ...]]] = {}  # what nodes of the graph transpose

    def graph(self, graph: Graph) -> Graph:
        turned: dict[Value, Value] = {}  # a transposed constant -> what the graph computes in its place
        nodes = [each for node in graph.nodes for each in self.nodes(inside(node, self.graph), turned)]
        outputs = []
        for value in graph.outputs:
            nodes += self.transposes([value], turned)
            outputs.append(turned.get(value, value))
        return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))

    def nodes(self, node: Node, turned: dict[Value, Value]) -> Iterator[Node]:
        """The node as it reads what lies in files, behind the transposes that it still needs."""
        node = self.product(node)
        self.note(node)
        yield from self.transposes(node.inputs, turned)
        if any(value in turned for value in node.inputs):
            inputs = tuple(turned.get(value, value) if value else None for value in node.inputs)
            node = Node(node.op, inputs, node.outputs, node.attributes, node.location)
        yield node

    def product(self, node: Node) -> Node:
        """A product that reads its operands as they lie, as far as it can."""
        fused = node.op == "MatMul" and self.has_fused(node)
        if node.op not in ("Gemm", FUSED) and not fused:
            return node
        inputs, attributes = list(node.inputs), dict(node.attributes)
        for place, side in enumerate(_SIDES):
            found = self.turned(inputs[place])
            if found is not None and found[1] == (1, 0):
                inputs[place] = self.source(inputs[place], found[0])
                attributes[side] = 1 - attributes.get(side, 0)
        if inputs == list(node.inputs):
            return node
        return Node(FUSED if fused else node.op, tuple(inputs), node.outputs, attributes, node.location)

    def transposes(self, values: Iterable[Value | None], turned: dict[Value, Value]) -> Iterator[Node]:
        """The nodes that transpose constants for whoever reads them, once each."""
        for value in values:
            found = self.turned(value)
            if value is not None and value.is_constant and value not in turned and found is not None:
                data, permutation = found
                turned[value] = Value(value.type)
                source = self.source(value, data)
                yield Node("Transpose", (source,), (turned[value],), {"perm": permutation})

    def turned(self, value: Value | None) -> tuple[Data, tuple[int, ...]] | None:
        """A content that stays and the permutation that makes a value of it, by whatever does; None of others."""
        if value is None or value.data is None:
            return None if value is None else self.made.get(value)
        data = value.data
        if isinstance(data, View) and data.how[0] == "transposed" and unmoved(data.source).identity in self.stay:
            return data.source, data.how[1]  # type: ignore[return-value]
        return None

    def note(self, node: Node) -> None:
        """Remember what a node transposes, where that stays."""
        source = node.inputs[0] if node.op == "Transpose" else None
        if source is None or source.data is None or unmoved(source.data).identity not in self.stay:
            return
        order = node.attributes.get("perm") or tuple(reversed(range(len(source.shape))))
        self.made[node.output] = source.data, tuple(order)

    def source(self, value: Value | None, data: Data) -> Value:
        """The constant that stays, by the name that it has without what was made of it."""
        if data.identity not in self.known:
            name = value.name.removesuffix(".T") if value is not None and value.name else None
            self.known[data.identity] = Value(TensorType(data.dtype, tuple(data.shape)), name, data)
        return self.known[data.identity]

    def has_fused(self, node: Node) -> bool:
        """Whether the runtime multiplies matrices that it reads transposed."""
        known = {"T": node.output.dtype}
        return self.target.allows(MICROSOFT) and self.target.has_kernel(MICROSOFT, "FusedMatMul", 1, known)
