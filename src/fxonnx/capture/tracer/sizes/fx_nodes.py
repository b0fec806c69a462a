"""Sizes as fx nodes: what torch.export writes for a size that is an argument, `sym_size` of an input and arithmetic on
it, each once, at the top of the graph, and floats computed of them; of a size that comes from data, behind the call
whose result has it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Set
from typing import Any

import torch
from torch import fx

from fxonnx.capture.tracer.sizes.data import BELOW, ROUNDINGS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import CONSTANT, PLAIN
from fxonnx.capture.tracer.sizes.nodes import FloatNode, IntNode, dim_of, sym_int
from fxonnx.errors import CaptureRefused
from fxonnx.ir.dims import Algebra, Atom, Call, Dim, Expr, fold, linear, of_atom, symbol, symbols_of

_CALLS: dict[str, Callable[..., Any]] = {
    "//": operator.floordiv, "%": operator.mod, "max": torch.sym_max, "min": torch.sym_min,
}  # fmt: skip
FLOATS: dict[str, Callable[..., Any]] = {
    "float": torch.sym_float, "neg": operator.neg, "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "truediv": operator.truediv, "pow": operator.pow, "sqrt": torch.sym_sqrt, "abs": abs, "max": torch.sym_max,
    "min": torch.sym_min,
    **{name: getattr(math, name) for name in ("exp", "log", "log2", "log10", "sin", "cos")},
}  # fmt: skip
"""how a float is computed, by the names of float nodes"""


class SizeNodes(Algebra[Any]):
    """The size nodes of one graph. They stand after the last of its inputs."""

    def __init__(self, graph: fx.Graph, guard_log: GuardLog) -> None:
        super().__init__()
        self._graph, self._guard_log = graph, guard_log
        self._inputs: list[fx.Node] = []
        self._last: fx.Node | None = None
        self._of_data: dict[str, tuple[fx.Node, int | None]] = {}  # symbol -> what tells it, and the axis
        self._late: set[fx.Node] = set()  # what is computed from those
        self.reals: dict[int, tuple[Any, fx.Node]] = {}  # id of a float or truth -> itself, and its node
        self._whole: dict[Dim, fx.Node] = {}  # rounded floats

    def after(self, placeholder: fx.Node) -> None:
        """Sizes are computed after this input."""
        self._inputs.append(placeholder)
        self._last = placeholder

    def tell(self, value: Any, node: fx.Node) -> None:
        """Let a call tell the sizes and the number that come from data, which are of what it returned."""
        known = self._of_data
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            self.reals[id(value.node)] = value.node, node
            self._late.add(node)
            return
        if isinstance(value, torch.SymInt):
            dim = dim_of(value)
            assert isinstance(dim, Expr)
            self.known.setdefault(dim, node)
            self._late.add(node)
            names = symbols_of([dim]) - known.keys()
            known.update({name: (node, None) for name in names if self._guard_log.data.are_in(symbol(name))})
            return
        for axis, size in enumerate(value.shape):
            name = getattr(dim_of(size), "name", None)
            if name is not None and name not in known and self._guard_log.data.are_in(dim_of(size)):
                known[name] = node, axis

    def forget(self, gone: Set[fx.Node]) -> None:
        """Let sizes and numbers not be told by nodes that leave the graph."""
        self._late -= gone
        self.known = {part: node for part, node in self.known.items() if node not in gone}
        self._of_data = {name: told for name, told in self._of_data.items() if told[0] not in gone}
        self.reals = {key: told for key, told in self.reals.items() if told[1] not in gone}
        self._whole = {dim: node for dim, node in self._whole.items() if node not in gone}

    def __call__(self, size: torch.SymInt) -> Any:
        """The node of a size; a constant as itself."""
        return fold(dim_of(size), self)

    def find(self, part: Expr | Atom) -> Any:
        """A node that was made, or the axis of an input that has this size."""
        found = super().find(part)
        dim = part if isinstance(part, Expr) else of_atom(part)
        for node in self._inputs if found is None else ():
            value = node.meta["val"]
            for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
                if isinstance(size, torch.SymInt) and dim_of(size) == dim:
                    found = self.known[part] = self._record(torch.ops.aten.sym_size.int, node, axis)
                    return found
        return found

    def constant(self, value: int) -> int:
        """As itself."""
        return value

    def symbol(self, name: str) -> Any:
        """A symbol, read off an axis of an input that is it, or a multiple of it and a constant; or told by data."""
        if name in self._of_data:
            return self._told(name, *self._of_data[name])
        for node in self._inputs:
            value = node.meta["val"]
            for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else [value]):
                found = linear(dim_of(size)) if isinstance(size, torch.SymInt) else None
                if found is not None and found[0] == name:
                    _, slope, offset = found
                    read = self._record(torch.ops.aten.sym_size.int, node, axis) if size is not value else node
                    read = read if not offset else self._record(operator.sub, read, offset)
                    return read if slope == 1 else self._record(operator.floordiv, read, slope)
        if name in self._guard_log.rounded:
            return self._rounded(name)
        raise CaptureRefused(
            f"the size {name} is an argument, and no whole-number expression says it",
            cause="it comes from no size of an input",
            cure="compute sizes with whole numbers: // and *",
        )

    def _told(self, name: str, node: fx.Node, axis: int | None) -> fx.Node:
        """A size of what a call returned, or the part of a number above 0 or below."""
        if axis is not None:
            return self._record(torch.ops.aten.sym_size.int, node, axis)
        if dim_of(node.meta["val"]) == symbol(name):
            return node
        part = self._record(operator.neg, node) if name.endswith(BELOW) else node
        part = self._record(torch.sym_max, part, 0)
        hint = self._guard_log.data.hints[name]
        part.meta["val"] = sym_int(symbol(name), hint, self._guard_log)
        return part
    def _rounded(self, name: str) -> Any:
        """A symbol that is a float rounded to a whole number, or the part of that which is above 0, or below."""
        found = self._guard_log.rounded[name]
        function, dim = ROUNDINGS[found.rounding], found.dim
        whole = function(found.number.hint)
        if dim not in self._whole:
            self._whole[dim] = self._record(function, self.real(found.number), value=self._sized(dim, whole))
        if not found.sign:
            return self._whole[dim]
        part = self._record(operator.mul, self._whole[dim], found.sign)
        return self._record(torch.sym_max, part, 0, value=self._sized(symbol(name), max(found.sign * whole, 0)))

    def _sized(self, dim: Dim, hint: int) -> torch.SymInt:
        return torch.SymInt(IntNode(dim, hint, self._guard_log))

    def call(self, atom: Call, left: Any, right: Any) -> fx.Node:
        """Python's and torch's functions."""
        return self._record(_CALLS[atom.function], left, right)

    def add(self, left: Any, right: Any) -> fx.Node:
        """left + right"""
        return self._record(operator.add, left, right)

    def multiply(self, left: Any, right: Any) -> fx.Node:
        """left * right"""
        return self._record(operator.mul, left, right)

    def real(self, number: FloatNode | IntNode) -> Any:
        """The node of a float; a plain one as itself."""
        if isinstance(number, IntNode):
            return fold(number.dim, self)
        if number.tree[0] in (CONSTANT, PLAIN):
            return number.hint
        if id(number) not in self.reals:
            name, *parts = number.tree
            node = self._record(FLOATS[name], *map(self.real, parts), value=torch.SymFloat(number))
            self.reals[id(number)] = number, node
        return self.reals[id(number)][1]

    def _record(self, function: Any, *args: Any, value: Any = None) -> fx.Node:
        if self._is_late(function, args):
            node = self._graph.call_function(function, args)
            self._late.add(node)
        else:
            assert self._last is not None
            with self._graph.inserting_after(self._last):
                node = self._last = self._graph.call_function(function, args)
        node.meta["val"] = self._value(function, args) if value is None else value
        return node

    def _is_late(self, function: Any, args: tuple[Any, ...]) -> bool:
        """Whether a size is known only after a call whose result comes from data: it stands where it is wanted."""
        is_read = function is torch.ops.aten.sym_size.int and args[0] not in self._inputs
        return is_read or any(isinstance(each, fx.Node) and each in self._late for each in args)

    def _value(self, function: Any, args: tuple[Any, ...]) -> Any:
        if function is torch.ops.aten.sym_size.int:
            return args[0].meta["val"].shape[args[1]]
        return function(*(each.meta["val"] if isinstance(each, fx.Node) else each for each in args))
