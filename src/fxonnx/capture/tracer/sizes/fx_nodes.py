"""Sizes as fx nodes: what torch.export writes for a size that is an argument, `sym_size` of an input and arithmetic on
it, each once, at the top of the graph; of a size that comes from data, behind the call whose result has it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_int
from fxonnx.errors import CaptureRefused
from fxonnx.ir.dims import Algebra, Atom, Call, Expr, fold, linear, of_atom, symbol, symbols_of

_CALLS: dict[str, Callable[..., Any]] = {
    "//": operator.floordiv, "%": operator.mod, "max": torch.sym_max, "min": torch.sym_min,
}  # fmt: skip


class SizeNodes(Algebra[Any]):
    """The size nodes of one graph. They stand after the last of its inputs."""

    def __init__(self, graph: fx.Graph, guard_log: GuardLog) -> None:
        super().__init__()
        self._graph, self._guard_log = graph, guard_log
        self._inputs: list[fx.Node] = []
        self._last: fx.Node | None = None
        self._of_data: dict[str, tuple[fx.Node, int | None]] = {}  # symbol -> what tells it, and the axis
        self._late: set[fx.Node] = set()  # what is computed from those

    def after(self, placeholder: fx.Node) -> None:
        """Sizes are computed after this input."""
        self._inputs.append(placeholder)
        self._last = placeholder

    def tell(self, value: Any, node: fx.Node) -> None:
        """Let a call tell the sizes and the number that come from data, which are of what it returned."""
        known = self._of_data
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
        origin = next((str(key) for key, dim in self._guard_log.opaque.items() if dim == symbol(name)), name)
        raise CaptureRefused(
            f"the size {name} is an argument, and no whole-number expression says it",
            cause=f"it is {origin}",
            cure="compute sizes with whole numbers: // and *",
        )

    def _told(self, name: str, node: fx.Node, axis: int | None) -> fx.Node:
        """A size of what a call returned, or the part of a number above 0 or below."""
        if axis is not None:
            return self._record(torch.ops.aten.sym_size.int, node, axis)
        if dim_of(node.meta["val"]) == symbol(name):
            return node
        part = self._record(operator.neg, node) if name.endswith("_below") else node
        part = self._record(torch.sym_max, part, 0)
        hint = self._guard_log.data.hints[name]
        part.meta["val"] = sym_int(symbol(name), hint, self._guard_log)
        return part

    def call(self, atom: Call, left: Any, right: Any) -> fx.Node:
        """Python's and torch's functions."""
        return self._record(_CALLS[atom.function], left, right)

    def add(self, left: Any, right: Any) -> fx.Node:
        """left + right"""
        return self._record(operator.add, left, right)

    def multiply(self, left: Any, right: Any) -> fx.Node:
        """left * right"""
        return self._record(operator.mul, left, right)

    def _record(self, function: Any, *args: Any) -> fx.Node:
        if self._is_late(function, args):
            node = self._graph.call_function(function, args)
            self._late.add(node)
        else:
            assert self._last is not None
            with self._graph.inserting_after(self._last):
                node = self._last = self._graph.call_function(function, args)
        node.meta["val"] = self._value(function, args)
        return node

    def _is_late(self, function: Any, args: tuple[Any, ...]) -> bool:
        """Whether a size is known only after a call whose result comes from data: it stands where it is wanted."""
        is_read = function is torch.ops.aten.sym_size.int and args[0] not in self._inputs
        return is_read or not self._late.isdisjoint(args)

    def _value(self, function: Any, args: tuple[Any, ...]) -> Any:
        if function is torch.ops.aten.sym_size.int:
            return args[0].meta["val"].shape[args[1]]
        return function(*(each.meta["val"] if isinstance(each, fx.Node) else each for each in args))
