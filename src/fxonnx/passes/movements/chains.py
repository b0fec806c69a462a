"""Movements in a row, as one: views, transposes, and what is picked out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, cast

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.calls import UnknownSize
from fxonnx.ir.dims import Shape
from fxonnx.ir.graph import Graph, Node, Value, constant_ints, known_dims
from fxonnx.ir.layout import Axis, Factor, Layout, reshape_target, size_of
from fxonnx.passes.dce import pruned
from fxonnx.passes.movements.parts import sliced_part
from fxonnx.passes.pipeline import graph_pass, nested
from fxonnx.passes.rewriting.replace import replace_nodes
from fxonnx.target import Target


@graph_pass
@nested
def movements(graph: Graph, target: Target) -> Graph:
    """x ── Reshape ── Transpose ── Reshape ── Gather ─▶        becomes        x ── Slice ── Reshape ── Transpose ─▶

    for all that is made of x by moving its elements: in the fewest operators that copy them, at most one Slice for
    what is picked, one Transpose, and a Reshape on either side of that.
    """
    plans = {end: each for tree in _trees(graph) for end, each in tree.plans().items()}
    if not plans:
        return graph

    def replace(op: Builder, node: Node) -> list[Tensor | None] | None:
        if not any(output in plans for output in node.outputs):
            return None
        try:
            return [plans[output].write(op) if output in plans else None for output in node.outputs]
        except UnknownSize:  # in a subgraph, of a size that is told outside
            return None

    moved = replace_nodes(graph, replace, rule="movements")
    if moved is graph:
        return graph
    nodes = pruned(moved.nodes, moved.outputs)  # what lay between source and ends is read no more
    return Graph(moved.inputs, nodes, moved.outputs, moved.opset, moved.output_names, moved.name)


# ── how each output of a graph was moved ─────────────────────────────────────────────────────────────────────────────


class Cost(NamedTuple):
    """How often the source is copied, and by how many operators in all."""

    copies: Fraction
    operators: int

    def __add__(self, other: tuple[object, ...]) -> Cost:
        assert isinstance(other, Cost)
        return Cost(self.copies + other.copies, self.operators + other.operators)


FREE = Cost(Fraction(), 0)


@dataclass(slots=True)
class Tree:
    """What is made of a source: a layout for each value; `ends` are those that others read, `cost` is that of all."""

    source: Value
    layouts: dict[Value, Layout]
    ends: list[Value]
    cost: Cost = FREE
    turned: set[Value] = field(default_factory=set)  # what is made of all of the source, transposed

    @property
    def turns_to_pick(self) -> bool:
        """Whether all of the source is transposed, to pick some of it: parts of it meet other movements more often."""
        return any(self.layouts[end].picked for end in self.ends if end in self.turned)

    def plans(self) -> dict[Value, Movement]:
        """The ends in their shortest form; none where that is no shorter."""
        found = {end: Movement.of(self.source, self.layouts[end]) for end in self.ends}
        plans = {end: each for end, each in found.items() if each is not None}
        if len(plans) < len(found):
            return {}
        cost = sum((each.cost for each in plans.values()), start=FREE)
        return plans if cost < self.cost or (self.turns_to_pick and cost.copies == self.cost.copies) else {}


def _trees(graph: Graph) -> list[Tree]:
    """The trees of a graph that have more than one movement."""
    trees: dict[Value, Tree] = {}  # by each value in it
    inside: Counter[Value] = Counter()  # how many movements read it
    for node in graph.nodes:
        moved = dict(_moved(node, trees))
        if moved and node.inputs[0] is not None:
            source = node.inputs[0]
            tree = trees.get(source) or trees.setdefault(source, Tree(source, {}, []))
            tree.layouts |= moved
            tree.cost += _cost(node, tree)
            if source in tree.turned or (node.op == "Transpose" and not _is_part(moved[node.output])):
                tree.turned |= moved.keys()
            trees |= dict.fromkeys(moved, tree)
            inside[source] += 1
    reads = graph.readers()
    found = {id(tree): tree for tree in trees.values() if len(tree.layouts) > 1}
    for tree in found.values():
        tree.ends = [value for value in tree.layouts if reads[value] > inside[value]]
    return list(found.values())


def _moved(node: Node, trees: Mapping[Value, Tree]) -> Iterator[tuple[Value, Layout]]:
    """The outputs of a movement, each with its layout; nothing for other operators, and where a view is none that
    factors tell."""
    body = _MOVEMENTS.get(node.op)
    source = node.inputs[0] if node.inputs else None
    if body is None or source is None:
        return
    known = trees[source].layouts.get(source) if source in trees else None
    layouts = body(node, known or Layout.of(source.shape))
    if layouts is not None and None not in layouts:
        yield from zip(node.outputs, cast(list[Layout], layouts), strict=True)


def _transposed(node: Node, layout: Layout) -> list[Layout | None]:
    return [layout.transposed(node.attributes.get("perm") or range(len(layout.axes))[::-1])]


def _view(node: Node, layout: Layout) -> list[Layout | None]:
    return [layout.reshaped(node.output.shape)]


def _found_out(node: Node, layout: Layout) -> list[Layout | None] | None:
    """The same, but where the runtime finds out how many axes there are: the result has no shape that could be told."""
    to = node.inputs[1] if len(node.inputs) > 1 else None
    is_told = all(isinstance(dim, int) for dim in node.output.shape) if to is None else known_dims(to) is not None
    return _view(node, layout) if is_told else None


def _gathered(node: Node, layout: Layout) -> list[Layout | None] | None:
    """One index of an axis, which goes."""
    indices, axis = node.inputs[1], node.attributes.get("axis", 0) % len(layout.axes)
    chosen = constant_ints(indices)
    size = node.inputs[0].shape[axis]  # type: ignore[union-attr]
    if chosen is None or indices is None or indices.shape or not isinstance(size, int):
        return None
    return [layout.pick(axis, chosen[0] % size, keep=False)] if -size <= chosen[0] < size else None


def _split(node: Node, layout: Layout) -> list[Layout | None] | None:
    """Each index of an axis, which stays with size 1; or each part of it. The axis may be known by its parts alone."""
    axis = node.attributes.get("axis", 0) % len(layout.axes)
    if not isinstance(node.inputs[0].shape[axis], int):  # type: ignore[union-attr]
        return None
    sizes = [output.shape[axis] for output in node.outputs]
    if all(size == 1 for size in sizes):
        return [layout.pick(axis, index, keep=True) for index, _ in enumerate(sizes)]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes):
        return None
    return [layout.cut(axis, end - size, end) for size, end in zip(known, accumulate(known), strict=True)]


def _sliced(node: Node, layout: Layout) -> list[Layout | None] | None:
    """A part of one axis, in its order."""
    part = sliced_part(node)
    return None if part is None else [layout.cut(*part)]


_MOVEMENTS = {
    "Transpose": _transposed, "Reshape": _found_out, "Squeeze": _found_out, "Unsqueeze": _view, "Flatten": _view,
    "Gather": _gathered, "Split": _split, "Slice": _sliced,
}  # fmt: skip
_COPYING = ("Transpose", "Gather", "Split", "Slice")


def _cost(node: Node, tree: Tree) -> Cost:
    layouts = (tree.layouts[output] for output in node.outputs)
    share = sum((_share(tree.source, layout) for layout in layouts), start=Fraction())
    return Cost(share if node.op in _COPYING else Fraction(), 1)


def _is_part(layout: Layout) -> bool:
    """Whether not all of the source is left."""
    return bool(layout.picked or layout.cuts)


def _share(source: Value, layout: Layout) -> Fraction:
    """Which part of the source is left: sizes that are picked or cut from are ints. Of nothing all of it."""
    sizes = [(end - begin, cast(int, source.shape[axis])) for axis, (begin, end) in layout.cuts.items()]
    cut = [Fraction(part, whole) for part, whole in sizes if whole]
    return Fraction(1, prod(cast(int, factor.size) for factor in layout.picked)) * prod(cut)


# ── the shortest form of a movement ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Movement:
    """A Slice of the source for each of `parts` (axis, begin, end), what is left `apart` in this shape (None: as it
    is), its axes in the order `perm` (None: as they are), and the shape of the result."""

    source: Value
    parts: Sequence[tuple[int, int, int]]
    rest: Shape
    apart: Shape | None
    perm: Sequence[int] | None
    shape: Shape
    share: Fraction

    @staticmethod
    def of(source: Value, layout: Layout) -> Movement | None:
        """The movement from a source to a layout; None where what is picked lies between other factors."""
        simple = layout.simplified()
        left = [_without_picked(axis, simple.picked) for axis in simple.source]
        if sum(map(len, simple.source)) - sum(map(len, left)) < len(simple.picked):
            return None
        parts = [_part(number, simple, rest) for number, rest in enumerate(left)
                 if number in simple.cuts or len(rest) < len(simple.source[number])]  # fmt: skip
        if any(part is None for part in parts):
            return None
        before = [factor for axis in left for factor in axis]
        after = [factor for axis in simple.axes for factor in axis]
        places = {factor: place for place, factor in enumerate(before)}
        perm = None if before == after else [places[factor] for factor in after]
        rest = tuple(map(size_of, left))
        sizes = tuple(factor.size for factor in before)
        apart = None if perm is None or sizes == rest else sizes
        return Movement(source, cast(Any, parts), rest, apart, perm, simple.shape, _share(source, simple))

    @property
    def turned(self) -> Shape:
        """The shape after the Transpose."""
        if self.perm is None:
            return self.rest
        sizes = self.apart or self.rest
        return tuple(sizes[place] for place in self.perm)

    @property
    def cost(self) -> Cost:
        """What it takes."""
        views = (self.apart is not None) + (self.turned != self.shape)
        copies = self.share * (bool(self.parts) + (self.perm is not None))
        return Cost(Fraction(copies), bool(self.parts) + (self.perm is not None) + views)

    def write(self, op: Builder) -> Tensor:
        """The operators."""
        result = op.use(self.source)
        if self.parts:
            axes, begins, ends = (list(each) for each in zip(*self.parts, strict=True))
            result = op.Slice(result, begins, ends, axes)
        if self.perm is not None:
            result = op.Transpose(_reshaped(op, result, self.apart or self.rest), perm=self.perm)
        return _reshaped(op, result, self.shape)


def _without_picked(axis: Axis, picked: Mapping[Factor, int]) -> Axis:
    """The factors of an axis but a picked one at its beginning."""
    return axis[1:] if axis and axis[0] in picked else axis


def _part(number: int, layout: Layout, rest: Axis) -> tuple[int, int, int] | None:
    """What is left of an axis of the source, as (axis, begin, end); None where the sizes are not known."""
    axis, size = layout.source[number], size_of(rest)
    begin, end = layout.cuts.get(number, (0, 0))
    if len(axis) == len(rest):
        return number, begin, end
    first = layout.picked[axis[0]]
    return (number, begin + first * size, begin + (first + 1) * size) if isinstance(size, int) else None


def _reshaped(op: Builder, x: Tensor, shape: Shape) -> Tensor:
    if tuple(x.shape) == shape:
        return x
    wanted = reshape_target(tuple(x.shape), shape, op.may_vanish)
    may_copy = wanted is not None or not any(map(op.may_be_zero, shape))
    result: Tensor = op.Reshape(x, shape if wanted is None else wanted, allowzero=None if may_copy else 1)
    return result
