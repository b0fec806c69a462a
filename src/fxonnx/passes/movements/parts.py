"""Parts of one axis, taken in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Graph, Node, Value, constant_ints
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target


@graph_pass
@nested
def slices_into_split(graph: Graph, target: Target) -> Graph:
    """x ─┬─ Slice 0…4 ─▶              becomes        x ── Split ─┬─▶
          └─ Slice 4…8 ─▶                                         └─▶

    where the parts are all that there is of an axis, each once.
    """
    parts = {output: pieces for pieces in _partitions(graph) for output in pieces.outputs}
    if not parts:
        return graph
    made: dict[Pieces, tuple[Tensor, ...]] = {}

    def replace(op: Builder, node: Node) -> Tensor | None:
        pieces = parts.get(node.outputs[0])
        if pieces is None:
            return None
        if pieces not in made:
            made[pieces] = op.Split(pieces.source, list(pieces.sizes), axis=pieces.axis, _outputs=len(pieces.sizes))
        return made[pieces][pieces.outputs.index(node.outputs[0])]

    return replace_nodes(graph, replace, rule="slices_into_split")


class Pieces(NamedTuple):
    """What one axis of a source is divided into, in order."""

    source: Value
    axis: int
    sizes: tuple[int, ...]
    outputs: tuple[Value, ...]


def _partitions(graph: Graph) -> Iterator[Pieces]:
    """The axes of values that Slices divide, with nothing left and nothing twice."""
    slices: defaultdict[tuple[Value, int], dict[tuple[int, int], Value]] = defaultdict(dict)
    for node in graph.nodes:
        part = sliced_part(node)
        if part is not None and node.inputs[0] is not None:
            axis, begin, end = part
            slices[node.inputs[0], axis][begin, end] = node.output
    for (source, axis), found in slices.items():
        bounds = sorted(found)
        joined = all(one[1] == other[0] for one, other in pairwise(bounds))
        if len(bounds) > 1 and joined and (bounds[0][0], bounds[-1][1]) == (0, source.shape[axis]):
            sizes = tuple(end - begin for begin, end in bounds)
            yield Pieces(source, axis, sizes, tuple(found[each] for each in bounds))


def sliced_part(node: Node) -> tuple[int, int, int] | None:
    """(axis, begin, end) of a Slice that takes a part of one axis of known size in its order; None of all else."""
    bounds = [constant_ints(each) or () for each in node.inputs[1:]] if node.op == "Slice" else []
    if len(bounds) < 3 or any(len(each) != 1 for each in bounds) or bounds[3:] not in ([], [(1,)]):
        return None
    (begin,), (end,), (place,) = bounds[:3]
    axis = place % len(node.output.shape)
    size = node.inputs[0].shape[axis]  # type: ignore[union-attr]
    if not isinstance(size, int) or not 0 <= begin < min(end, size):
        return None
    return axis, begin, min(end, size)
