"""After capture: which of the dims that were asked for are still dynamic, under which name and in which range.

What froze is said, never passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import sympy
import torch
from torch import fx

from fxonnx.capture.call.dynamic import Axis, Request, Requests
from fxonnx.capture.export.sizes import Sizes
from fxonnx.ir.dims import Dim, Expr, symbol, symbols_of


@dataclass(frozen=True, slots=True)
class Freeze:
    """A dim that was asked for and is not free: it is always `fixed`, a size or an expression of other dims."""

    axis: Axis
    request: Request
    fixed: Dim

    @property
    def tied(self) -> bool:
        """Whether it still varies, though only together with other dims."""
        return not isinstance(self.fixed, int)


@dataclass(slots=True)
class Naming:
    """The captured symbols: what each of torch's is called, and the dims that are not free."""

    dims: dict[str, Dim] = field(default_factory=dict)  # torch's symbol -> our dim
    frozen: list[Freeze] = field(default_factory=list)
    axes: dict[Axis, Dim] = field(default_factory=dict)  # the dims that were asked for and are free

    def sizes(self) -> Sizes:
        """A converter that knows these names."""
        return Sizes(self.dims)


def name_symbols(ranges: Mapping[Any, Any], inputs: Sequence[fx.Node], table: Requests) -> Naming:
    """Give torch's symbols the user's names, or names of ours in the order of the inputs: d0, d1, …"""
    naming = Naming()
    _name_requested(naming, inputs, table)
    _name_rest(naming, ranges, inputs, table)
    _check_expressions(naming, inputs, table)
    _note_free(naming, inputs, table)
    return naming


def _name_requested(naming: Naming, inputs: Sequence[fx.Node], table: Requests) -> None:
    for axis, request in table.items():
        expression = _expression(inputs, axis)
        if isinstance(expression, int):
            naming.frozen.append(Freeze(axis, request, expression))
        elif isinstance(expression, sympy.Symbol) and request.dim is not None:
            known = naming.dims.setdefault(expression.name, request.dim)
            if known != request.dim:
                naming.frozen.append(Freeze(axis, request, known))


def _name_rest(naming: Naming, ranges: Mapping[Any, Any], inputs: Sequence[fx.Node], table: Requests) -> None:
    """Names for the symbols that nobody named: sizes of inputs, then sizes that come from data (torch calls those
    u0, u1, …)."""
    taken = symbols_of(naming.dims.values()) | symbols_of(
        request.dim for request in table.values() if request.dim is not None
    )
    fresh = (f"d{number}" for number in count() if f"d{number}" not in taken)
    for expression in _input_expressions(inputs):
        for each in sorted(expression.free_symbols, key=str):
            if each.name not in naming.dims:
                naming.dims[each.name] = symbol(next(fresh))
    fresh_data = (f"u{number}" for number in count() if f"u{number}" not in taken)
    for each in sorted((key for key in ranges if key.is_Symbol), key=_number):
        if each.name.startswith("u") and each.name not in naming.dims:
            naming.dims[each.name] = _read_from_data(next(fresh_data), ranges[each].lower)


def _read_from_data(name: str, lower: sympy.Expr) -> Dim:
    """A number that the model reads with `.item()`. Dims take a bare symbol for a size, which is never negative: what
    may be is the difference of its parts above and below 0."""
    low = _bound(lower)
    return symbol(name) if low is not None and low >= 0 else symbol(name) - symbol(f"{name}_below")


def _number(each: sympy.Symbol) -> tuple[int, str]:
    return len(each.name), each.name


def _check_expressions(naming: Naming, inputs: Sequence[fx.Node], table: Requests) -> None:
    """A dim that torch solved for others (9 - s0) is what was asked for only if the user's names say the same."""
    sizes = naming.sizes()
    for axis, request in table.items():
        expression = _expression(inputs, axis)
        if isinstance(expression, (int, sympy.Symbol)) or request.dim is None:
            continue
        if (found := sizes.expression(expression)) != request.dim:
            naming.frozen.append(Freeze(axis, request, found))


def _note_free(naming: Naming, inputs: Sequence[fx.Node], table: Requests) -> None:
    fixed = {each.axis for each in naming.frozen}
    sizes = naming.sizes()
    for axis in table:
        expression = _expression(inputs, axis)
        if axis not in fixed and not isinstance(expression, int):
            naming.axes[axis] = sizes.expression(expression)


def asked_bounds(naming: Naming, requests: Requests) -> tuple[dict[str, int], dict[str, int]]:
    """The least and the greatest size that was asked for, by the dim's name."""
    names = symbols_of(naming.dims.values())
    asked = {request.name: request for request in requests.values() if request.name in names}
    lows = dict.fromkeys(names, 2) | {str(name): max(each.minimum, 2) for name, each in asked.items()}
    return lows, {str(name): each.maximum for name, each in asked.items() if each.maximum is not None}


def upper_bounds(naming: Naming, ranges: Mapping[Any, Any]) -> dict[str, int]:
    """The greatest sizes that torch found, by the dim's name.

    What it found for the least says nothing: 2 where it left out smaller ones, more mostly by its own bookkeeping (a
    size of 2 or more after five poolings has another memory layout than 1). Guards of the model tell.
    """
    found: dict[str, int] = {}
    for key, each in ((str(key), each) for key, each in ranges.items()):
        dim, high = naming.dims.get(key, 0), _bound(each.upper)
        if isinstance(dim, Expr) and dim.name is not None and high is not None:
            found[dim.name] = min(high, found.get(dim.name, high))
    return found


def example_sizes(naming: Naming, inputs: Sequence[fx.Node], leaves: Sequence[torch.Tensor]) -> dict[str, int]:
    """The size that each named dim had in the traced example."""
    sizes: dict[str, int] = {}
    for node, leaf in zip(inputs, leaves, strict=True):
        for size, known in zip(node.meta["val"].shape, leaf.shape, strict=True):
            dim = None if isinstance(size, int) or not size.node.expr.is_Symbol else naming.dims[size.node.expr.name]
            if dim is not None and not isinstance(dim, int) and dim.name is not None:
                sizes[dim.name] = known
    return sizes


def _bound(bound: sympy.Expr) -> int | None:
    """A bound, or None for one of torch's several infinities."""
    return int(bound) if bound.is_Integer and abs(bound) < 2**60 else None


def _expression(inputs: Sequence[fx.Node], axis: Axis) -> int | sympy.Expr:
    size = inputs[axis[0]].meta["val"].shape[axis[1]]
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression) if expression.is_Integer else expression


def _input_expressions(inputs: Sequence[fx.Node]) -> Iterator[sympy.Expr]:
    """All symbolic sizes of the inputs, in order."""
    for node in inputs:
        value = node.meta.get("val")
        for size in value.shape if isinstance(value, torch.Tensor) else ():
            if not isinstance(size, int):
                yield size.node.expr
