"""Sizes as fx nodes: what torch.export writes for a size that is an argument, `sym_size` of an input and arithmetic on
it, each once, at the top of the graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.errors import CaptureRefused
from fxonnx.ir.dims import Call, Dim, Expr, Symbol, evaluate, symbol

_CALLS: dict[str, Callable[..., Any]] = {
    "//": operator.floordiv, "%": operator.mod, "max": torch.sym_max, "min": torch.sym_min,
}  # fmt: skip


class SizeNodes:
    """The size nodes of one graph. They stand after the last of its inputs."""

    def __init__(self, graph: fx.Graph, guard_log: GuardLog) -> None:
        self._graph, self._guard_log = graph, guard_log
        self._known: dict[Dim, Any] = {}
        self._inputs: list[fx.Node] = []
        self._last: fx.Node | None = None

    def after(self, placeholder: fx.Node) -> None:
        """Sizes are computed after this input."""
        self._inputs.append(placeholder)
        self._last = placeholder

    def __call__(self, size: torch.SymInt) -> Any:
        """The node of a size; a constant as itself."""
        return self._node(dim_of(size))

    def _node(self, dim: Dim) -> Any:
        if isinstance(dim, int):
            return dim
        if dim not in self._known:
            self._known[dim] = self._made(dim)
        return self._known[dim]

    def _made(self, dim: Expr) -> Any:
        for node in self._inputs:
            value = node.meta["val"]
            for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
                if isinstance(size, torch.SymInt) and size.node.dim == dim:
                    return self._call(torch.ops.aten.sym_size.int, node, axis)
        return self._computed(dim)

    def _computed(self, dim: Expr) -> Any:
        total: Any = None
        for monomial, factor in dim.terms:
            term: Any = None
            for atom in monomial:
                term = self._atom(atom) if term is None else self._call(operator.mul, term, self._atom(atom))
            if term is None or factor != 1:
                term = factor if term is None else self._call(operator.mul, factor, term)
            total = term if total is None else self._call(operator.add, total, term)
        return total

    def _atom(self, atom: Symbol | Call) -> Any:
        dim = _alone(atom)
        if dim not in self._known:
            if isinstance(atom, Call):
                self._known[dim] = self._call(_CALLS[atom.function], self._node(atom.left), self._node(atom.right))
            else:
                self._known[dim] = self._read(atom.text)
        return self._known[dim]

    def _read(self, name: str) -> Any:
        """A symbol, read off an axis of an input that is it, or a multiple of it and a constant."""
        for node in self._inputs:
            value = node.meta["val"]
            for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else [value]):
                if isinstance(size, torch.SymInt) and (found := _linear(size.node.dim, name)) is not None:
                    slope, offset = found
                    read = self._call(torch.ops.aten.sym_size.int, node, axis) if size is not value else node
                    read = read if not offset else self._call(operator.sub, read, offset)
                    return read if slope == 1 else self._call(operator.floordiv, read, slope)
        origin = next((str(key) for key, dim in self._guard_log.opaque.items() if dim == symbol(name)), name)
        raise CaptureRefused(
            f"the size {name} is an argument, and no whole-number expression says it",
            cause=f"it is {origin}",
            cure="compute sizes with whole numbers: // and *",
        )

    def _call(self, function: Any, *args: Any) -> fx.Node:
        assert self._last is not None
        with self._graph.inserting_after(self._last):
            node = self._last = self._graph.call_function(function, args)
        node.meta["val"] = self._value(function, args)
        return node

    def _value(self, function: Any, args: tuple[Any, ...]) -> Any:
        if function is torch.ops.aten.sym_size.int:
            return args[0].meta["val"].shape[args[1]]
        return function(*(each.meta["val"] if isinstance(each, fx.Node) else each for each in args))


def _alone(atom: Symbol | Call) -> Dim:
    return Expr((((atom,), 1),))


def _linear(dim: Dim, name: str) -> tuple[int, int] | None:
    """(a, b) where the dim is a*name + b."""
    if (
        isinstance(dim, int)
        or dim.symbols != {name}
        or any(isinstance(atom, Call) for term, _ in dim.terms for atom in term)
    ):
        return None
    if any(len(monomial) > 1 for monomial, _ in dim.terms):
        return None
    offset = evaluate(dim, {name: 0})
    return evaluate(dim, {name: 1}) - offset, offset
