"""What ONNX Runtime's kernels do not take empty, although the operator is defined there: the call ends in an error.

Measured with 1.32, each operator on its own with a size of 0 at each axis; `tests/runtime/test_nonempty.py` repeats it.
Kernels that end the process are no matter of a table: lowerings guard them in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fxonnx.ir.dims import Dim, Expr, Shape
from fxonnx.ir.graph import Graph, Node, constant_ints


def _whole(node: Node) -> Shape:
    return tuple(dim for value in node.inputs[:3] if value is not None for dim in value.shape)


def _channels_and_space(node: Node) -> Shape:
    return _data(node)[1:]


def _space(node: Node) -> Shape:
    return _data(node)[2:]


def _normalized(node: Node) -> Shape:
    return _data(node)[node.attributes.get("axis", -1) :]


def _continued(node: Node) -> Shape:
    return () if node.attributes.get("mode", "constant") == "constant" else _data(node)


def _beside_the_rest(node: Node) -> Shape:
    """What the rest, -1, is divided by."""
    wanted = constant_ints(node.inputs[1]) or ()
    return tuple(dim for dim, each in zip(node.outputs[0].shape, wanted, strict=False) if -1 in wanted and each != -1)


def _taken_from(node: Node) -> Shape:
    """The axis of which a fixed place is taken: torch's own op takes another way where there is none."""
    return _data(node)[node.attributes.get("axis", 0) :][:1] if constant_ints(node.inputs[1]) else ()


def _data(node: Node) -> Shape:
    value = node.inputs[0]
    assert value is not None
    return value.shape


SIZES: Mapping[str, Callable[[Node], Shape]] = {
    "Attention": _whole,
    "AveragePool": _channels_and_space,
    "Conv": _space,
    "ConvTranspose": _space,
    "Gather": _taken_from,
    "GlobalAveragePool": _channels_and_space,
    "GlobalMaxPool": _channels_and_space,
    "LayerNormalization": _normalized,
    "LpPool": _channels_and_space,
    "MaxPool": _channels_and_space,
    "Pad": _continued,
    "RMSNormalization": _normalized,
    "Reshape": _beside_the_rest,
}
"""Which sizes of a node may not be 0."""


def never_empty(graph: Graph) -> frozenset[Dim]:
    """The dims of a graph, of those that vary, that may not be 0 at a call."""
    found = (dim for node in graph.all_nodes() if node.op in SIZES for dim in SIZES[node.op](node))
    return frozenset(dim for dim in found if isinstance(dim, Expr))
