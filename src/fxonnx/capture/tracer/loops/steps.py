"""A functional graph as steps: what each call is apart from which values and numbers it is given, and those.

Two calls with equal tokens may be one call of a loop's body in two of its iterations.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.checks import Said, is_answer, is_check
from fxonnx.capture.tracer.sizes.node import CONSTANT, PLAIN
from fxonnx.capture.tracer.sizes.nodes import FloatNode, IntNode
from fxonnx.ir.dims import Dim, Expr

aten = torch.ops.aten
_SIZES = (int, torch.SymInt)
_READS_DATA = frozenset({aten._local_scalar_dense.default, aten.item.default})
REAL = "real"  # before how a float is computed
_PARTED = frozenset({aten.unbind.int, aten.split.Tensor, aten.chunk.default})


class Ref(NamedTuple):
    """What a step returns, or one of its results."""

    step: int
    result: int | None = None


class Outside(NamedTuple):
    """A placeholder: an input by its number, or a weight by what it is."""

    kind: str
    key: Any


class Many(NamedTuple):
    """A list of tensors, of any length: what is stacked or joined."""

    parts: tuple[Ref | Outside, ...]


Leaf: TypeAlias = "Ref | Outside | Many | Dim | float | Said"


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


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call. `form` is its arguments with holes for the `leaves`; `sizes` are those of what it returns."""

    node: fx.Node
    form: Any
    leaves: tuple[Leaf, ...]
    token: Any
    sizes: tuple[tuple[Dim, ...], ...]

    @property
    def is_part(self) -> bool:
        """Whether it takes one of the parts of a tensor, as a slice."""
        return self.node.target is operator.getitem and self.token[0] is aten.slice.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads the steps of one graph. `outside` names its placeholders, `dim` is the dim of a size, `parted` tells how
    many parts of a tensor are as many at all lengths: others are taken one by one."""

    outside: Mapping[fx.Node, Outside]
    dim: Callable[[Any], Dim]
    parted: frozenset[int]

    def steps(self, graph: fx.Graph, results: Sequence[Any]) -> list[Step]:
        """The calls that the results and the model's checks need, in order; the last step takes all of the results."""
        needed = _needed(graph, [*results, *filter(is_check, graph.nodes), *filter(is_answer, graph.nodes)])
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
            args = (node.args[0], *map(Said, node.args[1:])) if is_check(node) else node.args
            steps.append(self._step(node, (args, node.kwargs), numbers))
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

    def _is_parted(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node.target in _PARTED and len(node.meta["val"]) not in self.parted

    def _is_part(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node.target is operator.getitem and self._is_parted(node.args[0])

    def _part(self, node: fx.Node, numbers: Mapping[fx.Node, int]) -> Step:
        """x.unbind(dim)[i] as x.select(dim, i), and x.split(size, dim)[i] as x[i * size : (i + 1) * size]."""
        whole, index = node.args
        assert isinstance(whole, fx.Node)
        x, *rest = whole.args
        if whole.target is aten.unbind.int:
            args: tuple[Any, ...] = x, (rest or [0])[0], index
            return self._step(node, (args, {}), numbers, aten.select.int)
        axis = rest[1] if len(rest) > 1 else whole.kwargs.get("dim", 0)
        size = self.dim(whole.meta["val"][0].shape[axis])
        args = x, axis, index * size, (index + 1) * size
        return self._step(node, (args, {}), numbers, aten.slice.Tensor)

    def _step(self, node: fx.Node, given: Any, numbers: Mapping[fx.Node, int], target: Any = None) -> Step:
        leaves: list[Leaf] = []
        form = self._form(given, leaves, numbers)
        values = [each for each in pytree.tree_leaves(node.meta.get("val")) if isinstance(each, torch.Tensor)]
        kinds = tuple((each.dtype, each.dim()) for each in values)
        place = next(iter(node.meta.get("nn_module_stack", {"": ""}).values())), node.meta.get("stack_trace")
        sizes = tuple(tuple(map(self.dim, each.shape)) for each in values)
        return Step(node, form, tuple(leaves), (target or node.target, form, kinds, place), sizes)

    def _form(self, value: Any, leaves: list[Leaf], numbers: Mapping[fx.Node, Any]) -> Any:
        """The arguments with holes, hashable; what is in the holes joins `leaves`."""
        if isinstance(value, fx.Node) and isinstance(numbers.get(value), Inner):
            return numbers[value]
        if isinstance(value, fx.Node) and value.op == "get_attr":
            return self._branch(getattr(value.graph.owning_module, str(value.target)).graph, leaves)
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
        if isinstance(value, fx.Node) and not self._is_size(value):
            leaves.append(self._ref(value, numbers))
            return Hole("tensor")
        number = value.meta["val"] if isinstance(value, fx.Node) else value
        if isinstance(number, _SIZES) and not isinstance(number, bool):
            leaves.append(self.dim(number))
            return Hole("size")
        if isinstance(number, torch.SymFloat):
            return _real(number.node, self.dim, leaves)
        if isinstance(number, Expr):
            leaves.append(number)
            return Hole("size")
        if type(number) in (float, Said):
            leaves.append(number)
            return Hole(type(number).__name__)
        return number if getattr(number, "__hash__", None) is not None else repr(number)

    def _branch(self, graph: fx.Graph, leaves: list[Leaf]) -> Branch:
        """What a higher-order op calls; the numbers in it join `leaves`."""
        inner = {node: Inner(number) for number, node in enumerate(graph.nodes) if not self._is_size(node)}
        calls = [
            (inner[node], node.target, self._form((node.args, node.kwargs), leaves, inner))
            for node in inner
            if node.op == "call_function"
        ]
        arguments = tuple(inner[each] for each in graph.find_nodes(op="placeholder"))
        return Branch(arguments, tuple(calls), self._form(graph.output_node().args[0], leaves, inner))

    def _ref(self, node: fx.Node, numbers: Mapping[fx.Node, int]) -> Ref | Outside:
        if node in self.outside:
            return self.outside[node]
        if node.target is operator.getitem and node not in numbers:
            whole, index = node.args
            assert isinstance(whole, fx.Node) and isinstance(index, int)
            return Ref(numbers[whole], index)
        return Ref(numbers[node])


def _real(number: FloatNode | IntNode, dim: Callable[[Any], Dim], leaves: list[Leaf]) -> Any:
    """How a float is computed of sizes, with holes for those and for plain numbers."""
    if isinstance(number, IntNode):
        leaves.append(number.dim)
        return Hole("size")
    name, *parts = number.tree
    if name in (CONSTANT, PLAIN):
        leaves.append(float(number.hint))
        return Hole("float")
    return REAL, name, *(_real(each, dim, leaves) for each in parts)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, fx.Node) and isinstance(value.meta.get("val"), torch.Tensor)


def counts_of_parts(graph: fx.Graph) -> frozenset[int]:
    """How many parts tensors are taken apart into."""
    return frozenset(len(node.meta["val"]) for node in graph.nodes if node.target in _PARTED)


def _needed(graph: fx.Graph, results: Iterable[Any]) -> set[fx.Node]:
    """What the results are computed of."""
    needed = {each for each in pytree.tree_leaves(results) if isinstance(each, fx.Node)}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return needed
