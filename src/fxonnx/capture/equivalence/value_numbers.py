"""Value numbers: equal numbers, equal values (Alpern, Wegman and Zadeck 1988, "Detecting equality of variables in
programs"), for graphs that write in place and compute on sizes.

What a call returns is numbered by its op, the numbers of its arguments, and what was written to their memory last. A
size is its own number: a plain one, or a dim in normal form. Several graphs may be numbered together, at fixed sizes of
some dims: a node of one then has the number of a node of another where both compute the same.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.equivalence.constants import computed, key_of
from fxonnx.capture.graph.checks import is_check
from fxonnx.capture.graph.clean import ALIASES
from fxonnx.capture.graph.functional_form import DETACH_IN_PLACE, memories_written, written_places
from fxonnx.capture.graph.views import geometry, storage
from fxonnx.capture.program import Weight
from fxonnx.ir.dims import Dim, at_sizes, substitute, symbol, symbols_of

_SLICE, _CONTIGUOUS = torch.ops.aten.slice.Tensor, torch.ops.aten.contiguous.default
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_SHAPED = frozenset({torch.ops.aten.expand.default, torch.ops.aten.view.default, torch.ops.aten.reshape.default})
_END = 2**63 - 1  # how torch writes "to the end"
_SELF = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros", "empty_like", "full_like", "ones_like",
         "zeros_like", "rand_like", "randn_like", "randint_like")  # fmt: skip
_SKETCHED = {
    **{getattr(torch.ops.aten, name): "self" for name in _SELF},
    **{getattr(torch.ops.aten, name): "other" for name in ("expand_as", "reshape_as", "to", "type_as", "view_as")},
}
"""the argument of an op of which it reads the dtype and the sizes, and no element"""
_ITERATION = "iteration"  # how sizes are called that number the iterations of loops
_PLAIN = (bool, int, float)
_SIZES = (*_PLAIN, torch.SymInt, torch.SymFloat, torch.SymBool)


class Number(NamedTuple):
    """The number of a value that is no size."""

    position: int


@dataclass(slots=True, eq=False)
class ValueNumbers:
    """The numbers that graphs over the same `symbols` share, with those `fixed` that have one size.

    Symbols of others, which stand for what comes from data, are each graph's own.
    """

    symbols: frozenset[str] = frozenset()
    fixed: Mapping[str, int] = field(default_factory=dict)
    _numbers: dict[Any, Number] = field(default_factory=dict)
    _dims: dict[Dim, Dim | None] = field(default_factory=dict)
    _weights: dict[Any, list[tuple[torch.Tensor, Number]]] = field(default_factory=dict)
    _constants: dict[Number, torch.Tensor] = field(default_factory=dict)

    def intern(self, key: Any) -> Number:
        """The number of what has this key."""
        return self._numbers.setdefault(key, Number(len(self._numbers)))

    def dim(self, dim: Dim) -> Dim | None:
        """A dim at the fixed sizes, itself where that divides by 0; None where it is of other symbols."""
        if isinstance(dim, int):
            return dim
        if dim not in self._dims:
            self._dims[dim] = at_sizes(dim, self.fixed) if dim.symbols <= self.symbols else None
        return self._dims[dim]

    def weight(self, weight: Weight) -> Number:
        """A weight's number. Those of the model are known by identity; constants of its code are made anew by each
        capture and each call, and are known by what is in them."""
        tensor = weight.tensor
        is_constant = weight.is_literal
        if is_constant and (constant := self.constant(tensor)) is not None:
            return constant
        alike = self._weights.setdefault((tensor.dtype, tensor.shape) if is_constant else id(tensor), [])
        for known, number in alike:
            if known is tensor or same_tensor(known, tensor):
                return number
        alike.append((tensor, self.intern(("weight", id(tensor)))))
        return alike[-1][1]

    def constant(self, tensor: torch.Tensor) -> Number | None:
        """The number of a constant by what is in it, where sizes are fixed. None for a large one."""
        key = key_of(tensor) if self.fixed else None
        if key is None:
            return None
        number = self.intern(key)
        self._constants.setdefault(number, tensor)
        return number

    def value(self, number: Any) -> Any:
        """The plain number or the constant that a number stands for, or None."""
        return self._constants.get(number) if isinstance(number, Number) else number if _is_plain(number) else None


def same_tensor(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same."""
    return one is other or (one.dtype is other.dtype and one.shape == other.shape and torch.equal(one, other))


@dataclass(slots=True, eq=False)
class NumberedGraph:
    """One graph, numbered from its first node on."""

    shared: ValueNumbers
    weights: Mapping[fx.Node, Weight]
    dim: Callable[[Any], Dim]  # of a size
    numbers: dict[fx.Node, Any] = field(default_factory=dict)
    written: frozenset[int] = frozenset()  # memories that something writes to
    _versions: dict[int, Number] = field(default_factory=dict)  # memory -> what was written to it last
    _drawn: Counter[Any] = field(default_factory=Counter)  # calls of random ops
    _data: dict[str, Dim] = field(default_factory=dict)  # symbol from data -> one that its call gives a name to

    def add(self, nodes: Iterable[fx.Node], name: str = "input") -> None:
        """Number further nodes; the n-th placeholder that is no weight is the same as that of other graphs."""
        nodes = list(nodes)
        self.written |= memories_written(nodes)
        inputs = 0
        for node in nodes:
            if node in self.weights:
                self.numbers[node] = self.shared.weight(self.weights[node])
            elif node.op == "placeholder":
                self.numbers[node] = self.shared.intern((name, inputs))
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
        if isinstance(value, torch.SymInt):
            return self._size_in_a_body(self.dim(value))
        return constant_number(value)

    def _size_in_a_body(self, dim: Dim) -> Any:
        """A size that is an argument by itself: with the number of the iteration in it, which is the loop's alone."""
        others = symbols_of([dim]) - self.shared.symbols
        is_known = all(name.startswith(_ITERATION) for name in others)
        return at_sizes(dim, self.shared.fixed) if is_known else self.shared.intern(("size", object()))

    def _fixed(self, size: torch.SymInt) -> Dim:
        return at_sizes(self.dim(size), self.shared.fixed)

    def sizes(self, node: fx.Node) -> str:
        """The sizes of what a call returns, to be read: "[n, 4]"."""
        return ", ".join(f"[{', '.join(map(str, sizes))}]" for _, sizes in self._kinds(node))

    def is_known(self, node: fx.Node) -> bool:
        """Whether a value hangs on weights and fixed sizes alone: on no input, nothing drawn, nothing that is written,
        and no size that varies."""
        asked, seen = [node], {node}
        while asked:
            each = asked.pop()
            if _is_plain(self.numbers.get(each)):
                continue
            if not self._is_fixed(each):
                return False
            leaves = () if each in self.weights else pytree.tree_leaves(self._arguments(each))
            read = {leaf for leaf in leaves if isinstance(leaf, fx.Node)} - seen
            asked += read
            seen |= read
        return True

    def _is_fixed(self, node: fx.Node) -> bool:
        """Whether a weight, or what a call makes of its arguments, is the same each time and of plain sizes."""
        tensors = [leaf for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)]
        is_made = node.op == "call_function" and torch.Tag.nondeterministic_seeded not in getattr(
            node.target, "tags", ()
        )
        return (is_made or node in self.weights) and all(
            storage(each) not in self.written and all(isinstance(size, int) for size in self._known(each.shape))
            for each in tensors
        )

    def writes(self) -> list[Any]:
        """What was written last to the placeholders that something writes to."""
        found = ((self.numbers[node], self._version(node)) for node in self._placeholders())
        return sorted(each for each in found if each[1] is not None)

    def draws(self) -> dict[Any, int]:
        """How often each random op was called since it was started anew."""
        return dict(self._drawn)

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
        constant = self._constant(node)
        if constant is not None:
            return constant
        key: tuple[Any, ...] = node.target, self.of(self._arguments(node)), self._kinds(node)
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            self._drawn[key] += 1
            key = (*key, self._drawn[key])
        number = self.shared.intern(key)
        if isinstance(node.meta.get("val"), torch.SymInt):
            return self._told(self.dim(node.meta["val"]), number)
        places = written_places(node)
        for each in places:
            self._versions[storage(each.meta["val"])] = number
        return self.numbers[places[0]] if _is_returned(places, node) else number

    def _size(self, node: fx.Node) -> Any:
        """A number computed from sizes: as a dim, or a float or a truth where it is a plain one."""
        reads_data = isinstance(node.target, torch._ops.OpOverload) and not str(node.target).startswith("aten.sym_")
        value = node.meta.get("val")
        if reads_data or not callable(node.target) or not isinstance(value, _SIZES):
            return None
        if isinstance(value, torch.SymInt):
            return self._of_data(self.dim(value))
        has_size = any(isinstance(each, torch.SymInt) for each in node.args)  # in a body, as it is
        if has_size or not all(_is_plain(self.numbers[each]) for each in node.all_input_nodes):
            return None
        args = fx.map_arg(node.args, self.numbers.__getitem__)
        with suppress(ZeroDivisionError, ValueError, OverflowError):
            return node.target(*args, **node.kwargs)
        return None

    def _told(self, dim: Any, number: Number) -> Any:
        """A size that a call tells from data: its symbols are known by the call from here on."""
        for name in sorted(symbols_of([dim]) - self.shared.symbols - self._data.keys()):
            self._data[name] = symbol(f"_told{number.position}{'_below' if name.endswith('_below') else ''}")
        found = self._of_data(dim)
        return number if found is None else found

    def _of_data(self, dim: Any) -> Dim | None:
        """A dim in which the symbols that come from data are those of the calls that tell them; None where it has
        others."""
        others = symbols_of([dim]) - self.shared.symbols
        if not others or not others <= self._data.keys():
            return self.shared.dim(dim)
        return at_sizes(substitute(dim, self._data), self.shared.fixed)

    def _constant(self, node: fx.Node) -> Number | None:
        """The number of a constant that is computed of constants, where sizes are fixed."""
        value = node.meta.get("val")
        if not self.shared.fixed or not isinstance(value, torch.Tensor) or storage(value) in self.written:
            return None  # views of what is written are places in it, which hold the same and are others
        is_one = node.target is operator.getitem and isinstance(node.args[0], fx.Node)  # of several results
        read = node.args[0].all_input_nodes if is_one else node.all_input_nodes
        known = {each: self.shared.value(self.numbers.get(each)) for each in read}
        if any(value is None or self._version(each) is not None for each, value in known.items()):
            return None
        tensor = computed(node, self._shape(node), known, self._fixed)
        return None if tensor is None else self.shared.constant(tensor)

    def _shape(self, node: Any) -> tuple[Dim | None, ...]:
        """A tensor's sizes, as far as they are known."""
        return self._known(node.meta["val"].shape)

    def _known(self, shape: Iterable[Any]) -> tuple[Dim | None, ...]:
        return tuple(self.shared.dim(self.dim(size)) for size in shape)

    def _returns_its_argument(self, node: fx.Node) -> bool:
        """Whether a call returns the tensor that it is given: x[:], contiguous(), or a view of the sizes that it has.

        Of those torch or the model makes a call or none, by the sizes. A copy of what is written to is none; x[:1] that
        was taken for one row is none where there is no row.
        """
        if str(node.target) in ALIASES or node.target is DETACH_IN_PLACE:
            return True
        if getattr(node.target, "overloadpacket", None) is torch.ops.aten.to:  # a tensor that is of that dtype already
            return storage(node.meta["val"]) == storage(node.args[0].meta["val"])
        if node.target is _CONTIGUOUS:
            return not self.written & {storage(each.meta["val"]) for each in (node, node.args[0])}
        if node.target not in _SHAPED and node.target is not _SLICE:
            return False
        shape = self._shape(node.args[0])
        if self._shape(node) != shape:
            return False
        args = fx.map_arg(node.args[1:], lambda each: self.numbers[each])
        args = pytree.tree_map_only(torch.SymInt, self._fixed, args)
        return _same_sizes(args[0], shape) if node.target in _SHAPED else _is_whole(shape, *args)

    def _arguments(self, node: fx.Node) -> dict[Any, Any]:
        """A call's arguments by name, left out or not, without what makes no difference."""
        if not isinstance(node.target, torch._ops.OpOverload):
            return {**dict(enumerate(node.args)), **node.kwargs}
        if is_check(node):
            return {"condition": node.args[0]}
        schema = node.target._schema.arguments
        given = {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
        given = {each.name: given.get(each.name, each.default_value) for each in schema}
        if node.target is _SLICE:
            given["start"] = 0 if given["start"] is None else given["start"]
            given["end"] = _END if given["end"] is None else given["end"]
        if (name := _SKETCHED.get(node.target.overloadpacket)) in given:
            given[name] = self._sketch(given[name])
        # one query sees its one key, causal or not: transformers asks for a causal mask where there are several
        if node.target is _ATTENTION and all(self._shape(given[name])[-2] == 1 for name in ("query", "key")):
            del given["is_causal"]
        return given

    def _sketch(self, node: Any) -> Any:
        """A tensor's dtype and memory layout; the tensor itself where its sizes come from data."""
        value = node.meta["val"]
        layout = self._known((*value.shape, *value.stride()))
        return node if None in layout else (value.dtype, value.device, layout)

    def _kinds(self, node: fx.Node) -> Any:
        leaves = pytree.tree_leaves(node.meta.get("val"))
        tensors = [each for each in leaves if isinstance(each, torch.Tensor)]
        return tuple((each.dtype, self._known(each.shape)) for each in tensors)

    def _body(self, node: fx.Node) -> Number:
        """The body of a higher-order op, by what it returns for arguments of its own."""
        graph = getattr(node.graph.owning_module, str(node.target)).graph
        body = NumberedGraph(self.shared, {}, self.dim)
        body.add(graph.nodes, "argument of a body")
        self.numbers |= body.numbers
        return self.shared.intern(("body", body.of(graph.output_node().args)))


def _is_plain(number: Any) -> bool:
    return isinstance(number, _PLAIN)


def constant_number(value: Any) -> Any:
    """A constant as its own number: 2 and 2.0 are one, 1 and True are not, and no number is itself."""
    if isinstance(value, _PLAIN):
        return isinstance(value, bool), value if value == value else "nan"
    return value if getattr(value, "__hash__", None) is not None else repr(value)


def _is_returned(places: list[fx.Node], node: fx.Node) -> bool:
    """Whether a call returns what it writes to: in place, y.add_(1) is y."""
    value = node.meta.get("val")
    return len(places) == 1 and isinstance(value, torch.Tensor) and geometry(value) == geometry(places[0].meta["val"])


def _same_sizes(asked: Any, given: tuple[Dim | None, ...]) -> bool:
    """Whether a tensor of the given sizes has those that are asked for; -1 is the rest."""
    return len(asked) == len(given) and all(size in (-1, known) for size, known in zip(asked, given, strict=True))


def _is_whole(shape: tuple[Dim | None, ...], dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> bool:
    """Whether a slice is the whole axis: x[:n], x[-n:]."""
    size = shape[dim]
    if size is None or step != 1:
        return False
    is_fixed = isinstance(size, int)
    reaches_end = end in (None, _END, size) or (is_fixed and isinstance(end, int) and end >= size)
    begins = start in (0, None, -size) or (is_fixed and isinstance(start, int) and start <= -size)
    return reaches_end and begins
