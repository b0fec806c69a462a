"""A functional graph as steps: what each call is apart from which values and numbers it is given, and those.

Two calls with equal tokens may be one call of a loop's body in two of its iterations.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.checks import Said, is_answer, is_check, is_question
from fxonnx.capture.graph.for_loop import FOR_LOOP
from fxonnx.capture.tracer.loops.measures.measured import Measured, Measures, Ref
from fxonnx.capture.tracer.sizes.node import CONSTANT, PLAIN
from fxonnx.capture.tracer.sizes.nodes import FloatNode, IntNode
from fxonnx.ir.dims import Dim, Expr, substitute, symbol, symbols_of

aten = torch.ops.aten
_SIZES = (int, torch.SymInt)
_READS_DATA = frozenset({aten._local_scalar_dense.default, aten.item.default})
REAL = "real"  # before how a float is computed
WITHIN = "_within"  # how the iterations of bodies are called in leaves, with their depth behind
PLACED = frozenset(
    {aten.select.int, aten.slice.Tensor, aten.select_scatter.default, aten.slice_scatter.default, aten.narrow.default}
)
"""Ops that take a part of a tensor, or put one in, at a place; torch would ask whether that is inside."""
_PARTED = frozenset({aten.unbind.int, aten.split.Tensor, aten.chunk.default, aten.split_with_sizes.default})


class Outside(NamedTuple):
    """A placeholder: an input by its number, or a weight by what it is."""

    kind: str
    key: Any


class Many(NamedTuple):
    """A list of tensors, of any length: what is stacked or joined."""

    parts: tuple[Ref | Outside, ...]


Leaf: TypeAlias = "Ref | Outside | Many | Dim | Measured | float | Said"


class Hole(NamedTuple):
    """Where a leaf stands in a call's arguments."""

    kind: str


class Inner(NamedTuple):
    """A value of a branch of a higher-order op, by its number there."""

    number: int


class Branch(NamedTuple):
    """A branch or body of a higher-order op: the numbers of its arguments, its calls (what each returns, its target,
    the form of its arguments), and the form of what it returns."""

    arguments: tuple[Inner, ...]
    calls: tuple[tuple[Inner, Any, Any], ...]
    results: Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call of a body stands, which is the same for equal ones; and its node."""

    said: Any
    node: fx.Node = field(compare=False, repr=False)


class Body(NamedTuple):
    """The body of a loop that is rolled up already, a `for_loop`: the numbers of its arguments, the first of which is
    the iteration; the sizes of those that are carried; its calls (what each returns, its target, the form of its
    arguments, the sizes of what takes a part, its place), and what it returns. It has so many `leaves`, in which the
    iteration is called `iteration`."""

    arguments: tuple[Inner, ...]
    carried: tuple[Any, ...]
    calls: tuple[tuple[Inner, Any, Any, Any, Place], ...]
    results: Any
    iteration: str
    leaves: int


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call. `form` is its arguments with holes for the `leaves`; `sizes` are those of what it returns."""

    node: fx.Node
    form: Any
    leaves: tuple[Leaf, ...]
    token: Any
    sizes: tuple[tuple[Dim | Measured, ...], ...]

    @property
    def is_question(self) -> bool:
        """Whether it is what a loop asks in each of its turns."""
        return is_question(self.node)

    @property
    def is_part(self) -> bool:
        """Whether it takes one of the parts of a tensor, as a slice."""
        return self.node.target is operator.getitem and self.token[0] is aten.slice.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads the steps of one graph. `outside` names its placeholders, `dim` is the dim of a size, `parted` tells how
    many parts of a tensor are as many at all lengths: others are taken one by one; `measures` what comes from data."""

    outside: Mapping[fx.Node, Outside]
    dim: Callable[[Any], Dim]
    parted: frozenset[int]
    measures: Measures
    iterations: Mapping[str, Dim] = field(default_factory=dict)  # of the bodies around: its name -> what stands for it

    def steps(self, graph: fx.Graph, results: Sequence[Any], *, are_all: bool = False) -> list[Step]:
        """The calls that the results and the model's checks need, or all, in order; the last step takes all of the
        results."""
        told = self.measures.tellers(graph) if self.measures.data else ()
        roots = [*results, *told, *filter(is_check, graph.nodes), *filter(is_answer, graph.nodes)]
        needed = set(graph.nodes) if are_all else _needed(graph, roots)
        steps: list[Step] = []
        numbers: dict[fx.Node, int] = {}
        for node in graph.nodes:
            if (
                node not in needed
                or node.op != "call_function"
                or self._is_size(node)
                or node.target is operator.getitem
            ):
                continue
            if self._is_parted(node):
                continue
            for part in dict.fromkeys(each for each in node.all_input_nodes if self._is_part(each)):
                numbers[part] = len(steps)  # taken again before each call that reads it
                steps.append(self._part(part, numbers))
            numbers[node] = len(steps)
            steps.append(self._step(node, _given(node), numbers))
        end = graph.output_node()
        for part in dict.fromkeys(each for each in pytree.tree_leaves(results) if self._is_part(each)):
            numbers[part] = len(steps)
            steps.append(self._part(part, numbers))
        steps.append(self._step(end, (tuple(results), {}), numbers))
        return steps

    def _is_size(self, node: fx.Node) -> bool:
        value = node.meta.get("val")
        is_float = isinstance(value, torch.SymFloat) and not value.node.comes_from_data
        is_whole = isinstance(value, _SIZES) and not isinstance(value, bool)
        return (is_whole or is_float) and node.target not in _READS_DATA

    def _says_size(self, node: fx.Node) -> bool:
        return self._is_size(node) or isinstance(node.meta.get("val"), torch.SymInt)

    def _is_parted(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node.target in _PARTED and len(node.meta["val"]) not in self.parted

    def _is_part(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node.target is operator.getitem and self._is_parted(node.args[0])

    def _part(self, node: fx.Node, numbers: Mapping[fx.Node, int]) -> Step:
        """x.unbind(dim)[i] as x.select(dim, i), x.split(size, dim)[i] as x[i * size : (i + 1) * size], and
        x.split(sizes, dim)[i] as x.narrow(dim, sum(sizes[:i]), sizes[i])."""
        whole, index = node.args
        assert isinstance(whole, fx.Node)
        x = whole.args[0]
        if whole.target is aten.unbind.int:
            args: tuple[Any, ...] = x, _axis(whole), index
            return self._step(node, (args, {}), numbers, aten.select.int)
        axis = _axis(whole)
        if whole.target is aten.split_with_sizes.default:
            sizes = list(map(self._dim_of, whole.args[1][: index + 1]))
            args = x, axis, sum(sizes[:-1], start=0), sizes[-1]
            return self._step(node, (args, {}), numbers, aten.narrow.default)
        size = self.dim(whole.meta["val"][0].shape[axis])
        args = x, axis, index * size, (index + 1) * size
        return self._step(node, (args, {}), numbers, aten.slice.Tensor)

    def _step(self, node: fx.Node, given: Any, numbers: Mapping[fx.Node, int], target: Any = None) -> Step:
        leaves: list[Leaf] = []
        form = self._form(given, leaves, numbers)
        if node in numbers and target is None:
            self.measures.tell(node, numbers[node])
        values = pytree.tree_leaves(node.meta.get("val"))
        kinds = tuple((each.dtype, each.dim()) for each in values if isinstance(each, torch.Tensor))
        shapes = (getattr(each, "shape", ()) for each in values)
        sizes = tuple(tuple(self.measures.leaf(self.dim(size)) for size in shape) for shape in shapes)
        return Step(node, form, tuple(leaves), (target or node.target, form, kinds, _place(node)), sizes)

    def _form(self, value: Any, leaves: list[Leaf], numbers: Mapping[fx.Node, Any]) -> Any:
        """The arguments with holes, hashable; what is in the holes joins `leaves`."""
        if isinstance(value, fx.Node) and value.op == "get_attr":
            graph = getattr(value.graph.owning_module, str(value.target)).graph
            loop = next((each for each in value.users if each.target is FOR_LOOP), None)
            return self._branch(graph, leaves) if loop is None else self._body(graph, len(loop.args[2]), leaves)
        if isinstance(value, fx.Node) and isinstance(numbers.get(value), Inner):
            return numbers[value]
        if isinstance(value, (list, tuple)):
            is_many = len(value) > 1 and isinstance(value, list) and all(map(_is_tensor, value))
            if is_many and not any(isinstance(numbers.get(each), Inner) for each in value):
                leaves.append(Many(tuple(self._ref(each, numbers) for each in value)))
                return Hole("many")
            return (
                type(value)(self._form(each, leaves, numbers) for each in value)
                if isinstance(value, tuple)
                else ("list", *(self._form(each, leaves, numbers) for each in value))
            )
        if isinstance(value, dict):
            return "dict", *((name, self._form(each, leaves, numbers)) for name, each in value.items())
        if isinstance(value, fx.Node) and not self._says_size(value):
            leaves.append(self._ref(value, numbers))
            return Hole("tensor")
        number = value.meta["val"] if isinstance(value, fx.Node) else value
        if isinstance(number, _SIZES) and not isinstance(number, bool):
            leaves.append(self.measures.leaf(self._dim(number)))
            return Hole("size")
        if isinstance(number, torch.SymFloat):
            return real(number.node, self.measures.leaf, leaves)
        if isinstance(number, Expr):
            leaves.append(self.measures.leaf(substitute(number, self.iterations)))
            return Hole("size")
        if type(number) in (float, Said):
            leaves.append(number)
            return Hole(type(number).__name__)
        return number if getattr(number, "__hash__", None) is not None else repr(number)

    def _branch(self, graph: fx.Graph, leaves: list[Leaf]) -> Branch:
        """What a higher-order op calls; the numbers in it join `leaves`."""
        arguments = graph.find_nodes(op="placeholder")  # sizes among them are operands of the call
        computed = [each for each in graph.nodes if each.op == "call_function" and not self._is_size(each)]
        inner = {node: Inner(number) for number, node in enumerate((*arguments, *computed))}
        calls = [
            (inner[node], node.target, self._form((node.args, node.kwargs), leaves, inner)) for node in computed
        ]
        results = self._form(graph.output_node().args[0], leaves, inner)
        return Branch(tuple(inner[each] for each in arguments), tuple(calls), results)

    def _body(self, graph: fx.Graph, carried: int, leaves: list[Leaf]) -> Body:
        """The body of a `for_loop` with so many carried values."""
        before = len(leaves)
        first, *others = graph.find_nodes(op="placeholder")
        (read,) = (each for each in first.users if each.target in _READS_DATA)
        name = f"{WITHIN}{len(self.iterations)}"
        inside = replace(self, iterations={**self.iterations, str(self.dim(read.meta["val"])): symbol(name)})
        numbers = {each: Inner(at) for at, each in enumerate(graph.nodes) if each is not read}
        numbers = {each: number for each, number in numbers.items() if not inside._is_size(each)}
        sizes = tuple(inside._shape(each, leaves) for each in others[:carried])
        calls = tuple(
            (
                number, node.target, inside._form(_given(node), leaves, numbers),
                inside._shape(node, leaves) if node.target in PLACED else None, Place(_place(node), node),
            )
            for node, number in numbers.items()
            if node.op == "call_function"
        )  # fmt: skip
        results = inside._form(tuple(graph.output_node().args[0]), leaves, numbers)
        return Body(
            tuple(numbers[each] for each in (first, *others)), sizes, calls, results, name, len(leaves) - before
        )

    def _shape(self, node: fx.Node, leaves: list[Leaf]) -> Any:
        return self._form(tuple(node.meta["val"].shape), leaves, {})

    def _dim(self, size: Any) -> Dim:
        """The dim of a size, in which iterations of bodies have the names that they have here."""
        return substitute(self.dim(size), self.iterations) if self.iterations else self.dim(size)

    def _dim_of(self, size: Any) -> Dim:
        return self._dim(size.meta["val"] if isinstance(size, fx.Node) else size)

    def _ref(self, node: fx.Node, numbers: Mapping[fx.Node, int]) -> Ref | Outside:
        if node in self.outside:
            return self.outside[node]
        if node.target is operator.getitem and node not in numbers:
            whole, index = node.args
            assert isinstance(whole, fx.Node) and isinstance(index, int)
            return Ref(numbers[whole], index)
        return Ref(numbers[node])


def real(number: FloatNode | IntNode, leaf: Callable[[Dim], Leaf], leaves: list[Leaf]) -> Any:
    """How a float is computed of sizes, with holes for those and for plain numbers."""
    if isinstance(number, IntNode):
        leaves.append(leaf(number.dim))
        return Hole("size")
    name, *parts = number.tree
    if name in (CONSTANT, PLAIN):
        leaves.append(float(number.hint))
        return Hole("float")
    return REAL, name, *(real(each, leaf, leaves) for each in parts)


def _place(node: fx.Node) -> Any:
    """The module and the lines of a call."""
    return next(iter(node.meta.get("nn_module_stack", {"": ""}).values())), node.meta.get("stack_trace")


def _given(node: fx.Node) -> tuple[Any, Any]:
    """The arguments of a call: what a check says computes nothing, and the tensors of a loop are no list of any
    length; whether it may have no iterations its sizes tell again."""
    if is_question(node):
        return (node.args[0], is_question), {}
    if is_check(node):
        return (node.args[0], *map(Said, node.args[1:])), node.kwargs
    if node.target is FOR_LOOP:
        asked = {name: each for name, each in node.kwargs.items() if name == "condition"}
        return tuple(tuple(each) if isinstance(each, list) else each for each in node.args), asked
    return node.args, node.kwargs


def _is_tensor(value: Any) -> bool:
    return isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor)


def counts_of_parts(graph: fx.Graph, dim: Callable[[Any], Dim], around: Set[str]) -> frozenset[int]:
    """How many parts tensors are taken apart into, but along one of the dims that loops around these are over: as many
    as a size of one run."""
    counts: dict[bool, set[int]] = {True: set(), False: set()}
    for node in graph.nodes:
        if node.target in _PARTED:
            size = dim(node.args[0].meta["val"].shape[_axis(node)])
            counts[symbols_of([size]).isdisjoint(around)].add(len(node.meta["val"]))
    return frozenset(counts[True] - counts[False])


def _axis(node: fx.Node) -> Any:
    """The axis along which a call takes a tensor apart."""
    rest = node.args[1:] if node.target is aten.unbind.int else node.args[2:]
    return rest[0] if rest else node.kwargs.get("dim", 0)


def _needed(graph: fx.Graph, results: Iterable[Any]) -> set[fx.Node]:
    """What the results are computed of."""
    needed = {each for each in pytree.tree_leaves(results) if isinstance(each, fx.Node)}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return needed
