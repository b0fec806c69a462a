"""The intermediate representation: straight-line SSA, frozen.

A `Graph` is inputs, a tuple of nodes in order of execution, and outputs. A `Value` is written once, by a node, by the
graph (an input) or by nobody (a constant: it carries `data`). Subgraphs are attributes of If, Loop and Scan, and may
read the values around them. Names are attributes, never identity: two values are the same when they are the same
object. A pass is `Graph -> Graph`, so every stage can be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias, TypeGuard, cast

import numpy as np

from fxonnx.dtypes import DType
from fxonnx.ir.data import AbsentData, Data, ReplaceableData
from fxonnx.ir.dims import Dim, Shape
from fxonnx.ir.types import TensorType
from fxonnx.location import Location

Attribute: TypeAlias = "int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | np.ndarray | Graph"
Attributes: TypeAlias = Mapping[str, Any]  # an `Attribute` each; which one, the operator's schema says

NO_ATTRIBUTES: Attributes = MappingProxyType({})
NOWHERE = Location()


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that flows through the graph.

    `data` is the content of a constant. `known` are the elements of a small integer tensor (rank 0 or 1) as far as they
    can be told before running, each an int or an expression over the graph's sizes: `Shape(x)` of `f32[n,4]` is known
    to be `(n, 4)`.
    """

    type: TensorType
    name: str | None = None
    data: Data | None = None
    known: Shape | None = None

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        """The shape, a dim per axis."""
        return self.type.shape

    @property
    def is_constant(self) -> bool:
        """Whether the content is known at compile time, by reference."""
        return self.data is not None

    def __repr__(self) -> str:
        return f"{self.name or '%'}: {self.type}"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One call of an ONNX operator. `op` is its name, `domain::name` outside the default domain.

    An absent optional input is None. `location` says where in the user's model the call comes from, which aten op it
    was, and every rule that changed it.
    """

    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    attributes: Attributes = field(default_factory=lambda: NO_ATTRIBUTES)
    location: Location = NOWHERE

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    @property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The graphs among the attributes: branches and bodies."""
        if not self.attributes:
            return ()
        return tuple([value for value in self.attributes.values() if type(value) is Graph])

    @property
    def reads(self) -> tuple[Value, ...]:
        """Every value the node needs: its inputs, and what its subgraphs capture from outside."""
        whole = None not in self.inputs
        inputs = cast("tuple[Value, ...]", self.inputs) if whole else tuple([v for v in self.inputs if v is not None])
        subgraphs = self.subgraphs
        return (*inputs, *(v for graph in subgraphs for v in graph.captures())) if subgraphs else inputs

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.inputs))})"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Graph:
    """Inputs, nodes in order of execution, and outputs; written in ONNX operator set `opset`.

    `output_names` are the names the file gives its outputs, parallel to `outputs`: a value may be returned twice, or be
    an input.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    opset: int
    output_names: tuple[str, ...] = ()
    name: str = "main"

    def constants(self) -> tuple[Value, ...]:
        """The constants that this graph and its subgraphs read, in order of first use."""
        found: dict[Value, None] = {}
        for value in self.reads():
            if value.is_constant:
                found.setdefault(value)
        return tuple(found)

    def reads(self) -> Iterator[Value]:
        """Every read, in order: the nodes' (with what subgraphs capture), then the outputs."""
        for node in self.nodes:
            yield from node.reads
        yield from self.outputs

    def captures(self) -> tuple[Value, ...]:
        """The values read here but written outside, constants included, in order of first use."""
        own = set(self.inputs)
        own.update(output for node in self.nodes for output in node.outputs)
        return tuple(dict.fromkeys(value for value in self.reads() if value not in own))

    def all_nodes(self) -> Iterator[Node]:
        """The nodes of this graph and of all its subgraphs."""
        for node in self.nodes:
            yield node
            for graph in node.subgraphs:
                yield from graph.all_nodes()

    def count(self) -> int:
        """How many nodes there are, those of subgraphs included."""
        return sum(1 for _ in self.all_nodes())

    def producers(self) -> dict[Value, Node]:
        """The node that writes each value."""
        return {output: node for node in self.nodes for output in node.outputs}

    def readers(self) -> Counter[Value]:
        """How many times each value is read; being a graph output is a read."""
        return Counter(self.reads())


def is_adapter(value: Value) -> bool:
    """Whether who runs the file may give another content: then nothing may be made of it before."""
    return isinstance(value.data, ReplaceableData)


def has_content(value: Value | None) -> TypeGuard[Value]:
    """Whether a value is a constant whose elements may be looked at: they are at hand, which those of a text are not,
    and stay, which those of an adapter need not."""
    return value is not None and value.data is not None and not isinstance(value.data, AbsentData)


def content(value: Value | None) -> np.ndarray | None:
    """The elements of a constant; None for other values, and where they may not be looked at."""
    return value.data.array() if has_content(value) and value.data is not None else None


def constant_ints(value: Value | None) -> tuple[int, ...] | None:
    """The elements of an integer constant or of a tensor whose elements are all known ints; None where one is not."""
    if value is None:
        return None
    if value.known is not None:
        ints = tuple(dim for dim in value.known if isinstance(dim, int))
        return ints if len(ints) == len(value.known) else None
    found = content(value) if value.dtype.kind in ("int", "uint", "bool") else None
    return None if found is None else tuple(found.reshape(-1).astype(np.int64).tolist())


def known_dims(value: Value | None) -> tuple[Dim, ...] | None:
    """The elements of an integer tensor as dims, constants included; None where they cannot be told."""
    if value is None or value.known is not None:
        return None if value is None else value.known
    return constant_ints(value)


@dataclass(slots=True)
class Substitution:
    """Old value -> new value, followed to the end: what a pass that replaces nodes carries along its walk."""

    replaced: dict[Value, Value] = field(default_factory=dict)

    def __getitem__(self, value: Value) -> Value:
        while (newer := self.replaced.get(value)) is not None:
            value = newer
        return value

    def __setitem__(self, old: Value, new: Value) -> None:
        if old is not new:
            self.replaced[old] = new

    def __bool__(self) -> bool:
        return bool(self.replaced)

    def node(self, node: Node) -> Node:
        """The node with replaced inputs (and captures); the same object where nothing changed."""
        if not any(value in self.replaced for value in node.reads):
            return node
        inputs = tuple(None if value is None else self[value] for value in node.inputs)
        attributes = node.attributes
        if node.subgraphs:
            attributes = {k: self.graph(item) if isinstance(item, Graph) else item for k, item in attributes.items()}
        return Node(node.op, inputs, node.outputs, attributes, node.location)

    def graph(self, graph: Graph) -> Graph:
        """The graph with replaced reads."""
        nodes = tuple(self.node(node) for node in graph.nodes)
        outputs = tuple(self[value] for value in graph.outputs)
        return replace(graph, nodes=nodes, outputs=outputs)
