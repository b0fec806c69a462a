"""The ModelProto of a graph, built by onnx-ir; large weights stay outside, by reference.

Source: ONNX IR spec (https://onnx.ai/onnx/repo-docs/IR.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from fxonnx.emit.names import Names, name_graph
from fxonnx.errors import TooLarge
from fxonnx.ir.data import Data, byte_size
from fxonnx.ir.graph import Graph, Node, Value, is_adapter
from fxonnx.ir.schema import split_name
from fxonnx.ir.types import TensorType
from fxonnx.version import __version__

if TYPE_CHECKING:
    import onnx_ir

INLINE_BYTES = 1024  # contents up to this size stand in the model itself: shapes, scalars, small tables


@dataclass(frozen=True, slots=True)
class Emitted:
    """A model without its large weights, those weights by name, and the names that were given."""

    proto: onnx.ModelProto
    weights: Mapping[str, Data]
    names: Names

    @property
    def weight_bytes(self) -> int:
        """Bytes of all large weights."""
        return sum(byte_size(data) for data in self.weights.values())


def emit(
    graph: Graph,
    metadata: Mapping[str, str] | None = None,
    *,
    description: str = "",
    source_lines: bool = False,
    versions: Mapping[str, int] | None = None,
) -> Emitted:
    """The graph as a ModelProto in the lowest IR version that its opset allows; with a description for whoever reads
    it, and the text of the lines that its nodes come from, if asked for; `versions` are those of other domains than
    ONNX's, by default 1. Raises NameClash, TooLarge."""
    import onnx_ir as ir

    _check_depth(graph)
    names = name_graph(graph)
    large = _large(graph)
    writer = _Writer(ir, names, {}, source_lines, frozenset(large))
    domains = {domain for node in graph.all_nodes() if (domain := split_name(node.op)[0])}
    opsets = {"": graph.opset} | {domain: (versions or {}).get(domain, 1) for domain in sorted(domains)}
    model = ir.Model(
        writer.graph(graph, opsets),
        ir_version=minimum_ir_version(graph),
        producer_name="fxonnx",
        producer_version=__version__,
        doc_string=description or None,
        metadata_props=dict(metadata or {}),
    )
    return Emitted(ir.to_proto(model), {names.values[value]: data for value, data in large.items()}, names)


def with_defaults(emitted: Emitted) -> Emitted:
    """The model whose adapters are inputs as well: what is written of them are defaults (ONNX IR spec,
    "Graphs": an initializer and an input of one name)."""
    named = emitted.names.values.items()
    adapters = [(value, name) for value, name in named if is_adapter(value)]
    if not adapters:
        return emitted
    proto = onnx.ModelProto()
    proto.CopyFrom(emitted.proto)
    for value, name in adapters:
        shape = value.data.shape if value.data is not None else ()
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, value.dtype.code, shape))
    return replace(emitted, proto=proto)


def minimum_ir_version(graph: Graph) -> int:
    """The oldest IR version whose opset is at least the graph's (onnx's own version table).

    Sub-byte and float8 dtypes came with the opsets that use them, so the opset decides alone.
    """
    opset = onnx.helper.make_opsetid("", graph.opset)
    return int(onnx.helper.find_min_ir_version_for([opset], ignore_unknown=True))


def _large(graph: Graph) -> dict[Value, Data]:
    """The constants that stand outside the model. The sizes of a Split never do: shape inference reads them, and looks
    nowhere else (the axes and shapes that it reads of other operators are as short as a rank)."""
    read = {node.inputs[1] for node in graph.all_nodes() if node.op == "Split" and node.inputs[1:]}
    constants = [(value, value.data) for value in graph.constants() if value.data is not None and value not in read]
    return {value: data for value, data in constants if byte_size(data) > INLINE_BYTES}


_DEEPEST = 31  # bodies in bodies: of 100 messages in messages, which parsers of protobuf read, each takes three


def _check_depth(graph: Graph) -> None:
    """Raise TooLarge where bodies stand in bodies so often that no runtime reads the file."""
    level, depth = [graph], 0
    while inner := [(node, body) for each in level for node in each.nodes for body in node.subgraphs]:
        level, depth = [body for _, body in inner], depth + 1
        if depth > _DEEPEST:
            raise TooLarge(
                f"more than {_DEEPEST} branches or loops stand one in another",
                cause="a body in a body is a message in a message, of which parsers of protobuf read 100",
                cure="choose with torch.where(condition, a, b) where both can be computed, or decide in fewer steps",
                location=inner[0][0].location,
            )


@dataclass(slots=True)
class _Writer:
    """One graph being written with onnx-ir."""

    ir: Any
    names: Names
    made: dict[Value, onnx_ir.Value]
    source_lines: bool
    large: frozenset[Value]

    def graph(self, graph: Graph, opsets: dict[str, int] | None = None) -> onnx_ir.Graph:
        """A graph with its inputs, constants and nodes; `opsets` for the outermost one alone."""
        is_outermost = opsets is not None
        inputs = [self.value(value) for value in graph.inputs]
        constants = (
            [self.initializer(value) for value in graph.constants() if value not in self.made] if is_outermost else []
        )
        nodes = [self.node(node) for node in graph.nodes]
        outputs = self.outputs(graph, nodes)
        return self.ir.Graph(
            inputs, outputs, nodes=nodes, initializers=[c for c in constants if c.const_value is not None],
            opset_imports=opsets or {}, name=graph.name,
        )  # fmt: skip

    def value(self, value: Value) -> onnx_ir.Value:
        made = self.made.get(value)
        if made is None:
            made = self.made[value] = self.ir.Value(name=self.names.values[value], **self.typed(value.type))
        return made

    def typed(self, type: TensorType) -> dict[str, Any]:
        dims = [dim if isinstance(dim, int) else str(dim) for dim in type.shape]
        return {"shape": self.ir.Shape(dims), "type": self.ir.TensorType(self.ir.DataType(type.dtype.code))}

    def initializer(self, value: Value) -> onnx_ir.Value:
        """A small constant has its content; a large one only a name, and its tensor is written or bound later."""
        made = self.value(value)
        if value.data is not None and value not in self.large:
            array = np.asarray(value.data.array(), order="C")
            made.const_value = self.ir.tensor(array, dtype=self.ir.DataType(value.dtype.code), name=made.name)
        return made

    def node(self, node: Node) -> onnx_ir.Node:
        """A node between values that are made."""
        domain, op = split_name(node.op)
        return self.ir.Node(
            domain,
            op,
            [None if value is None else self.value(value) for value in node.inputs],
            attributes=[self.attribute(name, item) for name, item in node.attributes.items()],
            outputs=[self.value(value) for value in node.outputs],
            name=self.names.nodes[node],
            metadata_props=node.location.to_metadata(code=self.source_lines),
        )

    def attribute(self, name: str, item: Any) -> onnx_ir.Attr:
        if isinstance(item, Graph):
            return self.ir.AttrGraph(name, self.graph(item))
        if isinstance(item, np.ndarray):
            return self.ir.AttrTensor(name, self.ir.tensor(item))
        return self.ir.convenience.convert_attribute(name, item)

    def outputs(self, graph: Graph, nodes: list[onnx_ir.Node]) -> list[onnx_ir.Value]:
        """The outputs under exactly their names; one that is an input, a constant or returned twice goes through
        Identity."""
        outputs = []
        wanted = graph.output_names or tuple(self.names.values.get(value, "output") for value in graph.outputs)
        local = {output for node in graph.nodes for output in node.outputs}
        for value, name in zip(graph.outputs, wanted, strict=True):
            made = self.value(value)
            if value not in local or made.name != name or made in outputs:
                made = self.identity(value, name if graph.output_names else self.names.unique(name), nodes)
            outputs.append(made)
        return outputs

    def identity(self, value: Value, name: str, nodes: list[onnx_ir.Node]) -> onnx_ir.Value:
        output = self.ir.Value(name=name, **self.typed(value.type))
        nodes.append(
            self.ir.Node(
                "", "Identity", [self.value(value)], outputs=[output], name=self.names.unique(f"{name}/Identity")
            )
        )
        return output
