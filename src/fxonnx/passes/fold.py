"""Constant folding with a byte budget: it never grows the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, pairwise
from operator import is_

import numpy as np

from fxonnx import errors
from fxonnx.ir import schema
from fxonnx.ir.data import ArrayData, Data, View, byte_size, cast, only_row, rows_of, transposed
from fxonnx.ir.evaluate import CannotEvaluate, evaluate_node
from fxonnx.ir.graph import Graph, Node, Substitution, Value, constant_ints, has_content
from fxonnx.ir.types import TensorType
from fxonnx.passes.pipeline import graph_pass, inside
from fxonnx.target import Target

FREE = 4096  # bytes; a result up to this size may be folded whatever it came from
KEPT = frozenset((
    "Identity",  # a rule removes it, and the constant keeps its name
    "DequantizeLinear", "DynamicQuantizeLinear",  # runtimes fuse them; integers are the small form
))  # fmt: skip


@graph_pass
def fold(graph: Graph, target: Target) -> Graph:
    """Compute what needs no input: shape arithmetic that came out constant, small tables, transposed or cast weights.

    A branch on what is known is the way that is taken: ONNX Runtime inlines it too, and a constant that it returns out
    of another branch is lost then. Large weights become lazy views. A result is folded when it is small, or not larger
    than the constants that die with it; a file never grows by it.
    """
    return _Folder(_readers(graph)).graph(graph)


def _readers(graph: Graph) -> Counter[Value | None]:
    """How often each value is read, in the graph and all its subgraphs."""
    counts: Counter[Value | None] = Counter(graph.outputs)
    for node in graph.all_nodes():
        counts.update(node.inputs)
        for inner in node.subgraphs:
            counts.update(inner.outputs)
    return counts


class _Folder:
    """One walk; what is known of constants holds for the graph and its subgraphs."""

    def __init__(self, readers: Counter[Value | None]) -> None:
        self.readers = readers
        self.replaced = Substitution()

    def graph(self, graph: Graph) -> Graph:
        """The graph with folded nodes gone; the same object where none was."""
        kept: list[Node] = []
        for original in graph.nodes:
            node = inside(self.replaced.node(original), self.graph)
            branch = _known_branch(node)
            contents = self.folded(node)
            if branch is not None:
                kept.extend(branch.nodes)
                self.take(node, branch)
            elif contents is None:
                kept.append(node)
            else:
                self.substitute(node, contents)
        outputs = tuple(self.replaced[value] for value in graph.outputs)
        if outputs == graph.outputs and len(kept) == len(graph.nodes) and all(map(is_, kept, graph.nodes)):
            return graph
        return replace(graph, nodes=tuple(kept), outputs=outputs)

    def substitute(self, node: Node, contents: list[Data]) -> None:
        """Readers of the node's outputs read constants; what the node read has a reader less."""
        self.readers.subtract(node.inputs)
        for output, data in zip(node.outputs, contents, strict=True):
            constant = Value(TensorType(data.dtype, tuple(data.shape)), _name(node, data), data)
            self.readers[constant] = self.readers[output]
            self.replaced[output] = constant

    def take(self, node: Node, branch: Graph) -> None:
        """Readers of an If read what the branch that is taken returns."""
        self.readers.subtract(node.inputs)
        for output, value in zip(node.outputs, branch.outputs, strict=True):
            self.replaced[output] = value

    def folded(self, node: Node) -> list[Data] | None:
        """The contents of the node's outputs, or None where they are not constant or would grow the model."""
        if len(node.outputs) == 1 and (elements := _known_ints(node.output)) is not None:
            return [ArrayData(elements)]
        inputs = [value for value in node.inputs if value is not None]
        if not inputs or not all(map(has_content, inputs)) or not _is_foldable(node):
            return None
        views = self.views(node, inputs[0])
        if views is not None:
            return views
        return _evaluated(node) if _size(node.outputs) <= max(FREE, self.dying(node)) else None

    def views(self, node: Node, weight: Value) -> list[Data] | None:
        """A transposed or cast weight as a view of it, or one cut into its rows, when nothing else keeps the original
        in the file."""
        if weight.data is None or not self.dies(weight, node) or byte_size(weight.data) <= FREE:
            return None
        if node.op == "Transpose":
            order = node.attributes.get("perm") or tuple(reversed(range(len(weight.shape))))
            return [transposed(weight.data, tuple(order))]
        if node.op == "Cast" and 8 <= node.output.dtype.bits <= weight.dtype.bits:
            return [cast(weight.data, node.output.dtype)]
        if node.op == "Split" and node.attributes.get("axis", 0) == 0:
            sizes = [size for output in node.outputs for size in output.shape[:1] if isinstance(size, int)]
            return [rows_of(weight.data, start, stop) for start, stop in pairwise(accumulate(sizes, initial=0))]
        if node.op in ("Squeeze", "Reshape") and weight.shape == (1, *node.output.shape):
            return [only_row(weight.data)]
        return None

    def dying(self, node: Node) -> int:
        """Bytes of the constants that only this node reads."""
        return _size([value for value in dict.fromkeys(node.inputs) if value is not None and self.dies(value, node)])

    def dies(self, value: Value, node: Node) -> bool:
        """Whether nobody but the node reads the value."""
        return self.readers[value] <= node.inputs.count(value)


def _known_branch(node: Node) -> Graph | None:
    """The branch of an If that is taken, where its condition is a constant."""
    condition = node.inputs[0] if node.op == "If" else None
    if condition is None or condition.data is None:
        return None
    branch: Graph = node.attributes["then_branch" if condition.data.array().item() else "else_branch"]
    return branch


def _name(node: Node, data: Data) -> str | None:
    """A view of a weight is called after it: fc.weight.T, fc.weight.f16; turned back, as it was called."""
    source = node.inputs[0].name if node.inputs and node.inputs[0] else None
    if not source or isinstance(data, ArrayData):
        return None
    return source + data.suffix if isinstance(data, View) else source.removesuffix(".T")


def _is_foldable(node: Node) -> bool:
    facts = schema.facts(node.op)
    return facts is not None and facts.deterministic and not node.subgraphs and node.op not in KEPT


def _known_ints(value: Value) -> np.ndarray | None:
    """The elements of a small integer tensor, where all of them are known."""
    ints = constant_ints(value) if value.known is not None else None
    return None if ints is None else np.array(ints, value.dtype.numpy).reshape(-1 if value.shape else ())


def _evaluated(node: Node) -> list[Data] | None:
    """What the node computes, checked against what was inferred; None where nobody here can compute it."""
    inputs = [None if value is None or value.data is None else value.data.array() for value in node.inputs]
    try:
        arrays = evaluate_node(node, inputs)
    except CannotEvaluate:
        return None
    contents = [ArrayData(np.asarray(array)) for array in arrays]
    for data, output in zip(contents, node.outputs, strict=True):
        if data.dtype is not output.dtype or len(data.shape) != len(output.shape):
            found = TensorType(data.dtype, data.shape)
            raise errors.InternalError(f"{node.op} computes {found}, not {output.type}", location=node.location)
    return list(contents)


def _size(values: Iterable[Value]) -> int:
    """Bytes of static values; those with symbolic dims are larger than any budget."""
    total = 0
    for value in values:
        if not isinstance(value.type.size, int):
            return 1 << 62
        total += value.dtype.nbytes(value.type.size)
    return total
