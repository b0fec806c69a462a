"""Value numbers: equal numbers, equal values (Alpern, Wegman and Zadeck 1988, "Detecting equality of variables in
programs"), for graphs that write in place and compute on sizes.

What a call returns is numbered by its op, the numbers of its arguments, and what was written to their memory last. A
size that is known is its own number. Several graphs may be numbered together: a node of one then has the number of a
node of another where both compute the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.clean import ALIASES
from fxonnx.capture.graph.functional_form import is_mutable, written_arguments
from fxonnx.capture.graph.views import storage
from fxonnx.capture.program import LIFTED, Weight

_SLICE, _CONTIGUOUS = torch.ops.aten.slice.Tensor, torch.ops.aten.contiguous.default
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_SHAPED = frozenset({torch.ops.aten.expand.default, torch.ops.aten.view.default, torch.ops.aten.reshape.default})
_END = 2**63 - 1  # how torch writes "to the end"
_PLAIN = (bool, int, float)
_SIZES = (*_PLAIN, torch.SymInt, torch.SymFloat, torch.SymBool)


class Number(NamedTuple):
    """The number of a value that is no known size."""

    position: int


@dataclass(slots=True, eq=False)
class ValueNumbers:
    """The numbers that graphs share. The first node of each number speaks for the sizes of all: where one graph has
    fixed sizes, it is numbered first."""

    with_shapes: bool = False  # whether values of other sizes are others; else of another dtype or rank
    _numbers: dict[Any, Number] = field(default_factory=dict)
    _first: dict[Number, Any] = field(default_factory=dict)  # number -> the fake value of its first node
    _weights: dict[Any, list[tuple[torch.Tensor, Number]]] = field(default_factory=dict)

    def intern(self, key: Any, value: Any = None) -> Number:
        """The number of what has this key."""
        number = self._numbers.setdefault(key, Number(len(self._numbers)))
        self._first.setdefault(number, value)
        return number

    def value(self, number: Any) -> Any:
        """The fake value that a number stands for; a known size as itself."""
        return self._first[number] if isinstance(number, Number) else number

    def weight(self, weight: Weight, value: Any) -> Number:
        """A weight's number. Those of the model are known by identity; constants of its code are made anew by each
        capture and each call, and are known by what is in them."""
        tensor = weight.tensor
        is_constant = LIFTED in weight.key
        alike = self._weights.setdefault((tensor.dtype, tensor.shape) if is_constant else id(tensor), [])
        for known, number in alike:
            if known is tensor or same_tensor(known, tensor):
                return number
        alike.append((tensor, self.intern(("weight", id(tensor)), value)))
        return alike[-1][1]


def same_tensor(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same."""
    return one is other or (one.dtype is other.dtype and one.shape == other.shape and torch.equal(one, other))


@dataclass(slots=True, eq=False)
class NumberedGraph:
    """One graph, numbered from its first node on."""

    shared: ValueNumbers
    weights: Mapping[fx.Node, Weight]
    numbers: dict[fx.Node, Any] = field(default_factory=dict)
    written: frozenset[int] = frozenset()  # memories that something writes to
    _versions: dict[int, Number] = field(default_factory=dict)  # memory -> what was written to it last
    _drawn: Counter[Any] = field(default_factory=Counter)  # calls of random ops
    _bodies: int = 0  # of higher-order ops

    def add(self, nodes: Iterable[fx.Node], name: str = "input") -> None:
        """Number further nodes; the n-th placeholder that is no weight is the same as that of other graphs."""
        nodes = list(nodes)
        self.written |= _written(nodes)
        inputs = 0
        for node in nodes:
            if node in self.weights:
                self.numbers[node] = self.shared.weight(self.weights[node], node.meta["val"])
            elif node.op == "placeholder":
                self.numbers[node] = self.shared.intern((name, inputs), node.meta.get("val"))
                inputs += 1
            elif node.op == "get_attr":
                self.numbers[node] = self._body(node)
            elif node.op == "call_function":
                self.numbers[node] = self._call(node)

    def start_anew(self) -> None:
        """Take what comes for another call of the same model: inputs and weights are as they were, and so is what is
        drawn."""
        for node in self._placeholders():
            self._versions.pop(storage(node.meta["val"]), None)
        self._drawn.clear()

    def of(self, value: Any) -> Any:
        """The number of an argument or result, with what its memory holds now."""
        if isinstance(value, fx.Node):
            number = self.numbers[value]
            return (number, self._version(value)) if isinstance(number, Number) else constant_number(number)
        if isinstance(value, (list, tuple)):
            return tuple(map(self.of, value))
        if isinstance(value, dict):
            return tuple((name, self.of(each)) for name, each in value.items())
        if isinstance(value, slice):
            return self.of((value.start, value.stop, value.step))
        return constant_number(value)

    def writes(self) -> list[Any]:
        """What was written last to the placeholders that something writes to."""
        found = ((self.numbers[node], self._version(node)) for node in self._placeholders())
        return sorted(each for each in found if each[1] is not None)

    def _placeholders(self) -> list[fx.Node]:
        return [
            node for node in self.numbers if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
        ]

    def _version(self, node: fx.Node) -> Number | None:
        fake = node.meta.get("val")
        return self._versions.get(storage(fake)) if isinstance(fake, torch.Tensor) else None

    # ── one call ──

    def _call(self, node: fx.Node) -> Any:
        size = self._size(node)
        if size is not None:
            return size
        if self._returns_its_argument(node):
            return self.numbers[node.args[0]]
        key: tuple[Any, ...] = node.target, self.of(self._arguments(node)), self._kinds(node)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            self._drawn[key] += 1
            key = (*key, self._drawn[key])
        number = self.shared.intern(key, node.meta.get("val"))
        for each in _places(node):
            self._versions[storage(each.meta["val"])] = number
        return number

    def _size(self, node: fx.Node) -> Any:
        """A number computed from sizes, where those are known."""
        reads_data = isinstance(node.target, torch._ops.OpOverload) and not str(node.target).startswith("aten.sym_")
        if reads_data or not callable(node.target) or not isinstance(node.meta.get("val"), _SIZES):
            return None
        args = fx.map_arg(node.args, lambda each: self.shared.value(self.numbers[each]))
        with suppress(ZeroDivisionError, ValueError, OverflowError, TypeError):
            value = node.target(*args, **node.kwargs)
            return value if isinstance(value, _PLAIN) else None
        return None

    def _fake(self, node: Any) -> Any:
        """The value of a node at the sizes that are known."""
        return self.shared.value(self.numbers[node])

    def _returns_its_argument(self, node: fx.Node) -> bool:
        """Whether a call returns the tensor that it is given: x[:], contiguous(), or a view of the sizes that it has.

        Of those torch or the model makes a call or none, by the sizes. A copy of what is written to is none.
        """
        if str(node.target) in ALIASES:
            return True
        if node.target is _CONTIGUOUS:
            return not self.written & {storage(each.meta["val"]) for each in (node, node.args[0])}
        if node.target not in _SHAPED and node.target is not _SLICE:
            return False
        shape = self._fake(node.args[0]).shape
        args = fx.map_arg(node.args[1:], lambda each: self.numbers[each])
        return _same_sizes(args[0], shape) if node.target in _SHAPED else _is_whole(shape, *args)

    def _arguments(self, node: fx.Node) -> dict[Any, Any]:
        """A call's arguments by name, left out or not, without what makes no difference."""
        if not isinstance(node.target, torch._ops.OpOverload):
            return {**dict(enumerate(node.args)), **node.kwargs}
        schema = node.target._schema.arguments
        given = {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
        given = {each.name: given.get(each.name, each.default_value) for each in schema}
        if node.target is _SLICE:
            given["start"] = 0 if given["start"] is None else given["start"]
            given["end"] = _END if given["end"] is None else given["end"]
        # one query sees its one key, causal or not: transformers asks for a causal mask where there are several
        if node.target is _ATTENTION and all(self._fake(given[name]).shape[-2] == 1 for name in ("query", "key")):
            del given["is_causal"]
        return given

    def _kinds(self, node: fx.Node) -> Any:
        leaves = pytree.tree_leaves(node.meta.get("val"))
        tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
        sizes = [tuple(map(str, each.shape)) if self.shared.with_shapes else each.dim() for each in tensors]
        return tuple((each.dtype, size) for each, size in zip(tensors, sizes, strict=True))

    def _body(self, node: fx.Node) -> Number:
        """The body of a higher-order op, by what it returns for arguments of its own."""
        graph = getattr(node.graph.owning_module, str(node.target)).graph
        body = NumberedGraph(self.shared, {})
        self._bodies += 1
        body.add(graph.nodes, f"argument of body {self._bodies}")
        self.numbers |= body.numbers
        return self.shared.intern(("body", body.of(graph.output_node().args)))


def constant_number(value: Any) -> Any:
    """A constant as its own number: 2 and 2.0 are one, 1 and True are not, and no number is itself."""
    if isinstance(value, _PLAIN):
        return isinstance(value, bool), value if value == value else "nan"
    return value if getattr(value, "__hash__", None) is not None else repr(value)


def _written(nodes: Iterable[fx.Node]) -> frozenset[int]:
    """The memories that nodes write to, by the storages of their fake tensors."""
    return frozenset(storage(place.meta["val"]) for node in nodes for place in _places(node))


def _places(node: fx.Node) -> list[fx.Node]:
    """The arguments that a call writes to."""
    if not is_mutable(node.target):
        return []
    places = [
        node.kwargs.get(name, node.args[at] if at < len(node.args) else None)
        for at, name in written_arguments(node.target)
    ]
    leaves = [each for each in pytree.tree_leaves(places) if isinstance(each, fx.Node)]
    return [each for each in leaves if isinstance(each.meta["val"], torch.Tensor)]


def _same_sizes(asked: Any, given: torch.Size) -> bool:
    """Whether a tensor of the given sizes has those that are asked for; -1 is the rest."""
    return len(asked) == len(given) and all(
        isinstance(size, int) and (size == -1 or size == known) for size, known in zip(asked, given, strict=True)
    )


def _is_whole(shape: torch.Size, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> bool:
    """Whether a slice is the whole axis."""
    size = shape[dim]
    reaches_end = end in (None, _END) or (isinstance(end, int) and isinstance(size, int) and end >= size)
    return reaches_end and start in (0, None) and step == 1
