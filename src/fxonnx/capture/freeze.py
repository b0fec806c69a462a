"""After capture: which of the dims that were asked for are still dynamic, under which name and in which range. What froze is said, never passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import sympy
import torch
from torch import fx
from torch.export import ExportedProgram

from fxonnx.capture.dynamic import Axis, Request, Requests
from fxonnx.capture.program import SymbolInfo
from fxonnx.capture.sizes import Sizes
from fxonnx.ir.dims import Dim, symbol, symbols_of


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
    """The captured symbols: what each of torch's is called, their ranges, and the dims that are not free."""

    dims: dict[str, Dim] = field(default_factory=dict)  # torch's symbol -> our dim
    symbols: dict[str, SymbolInfo] = field(default_factory=dict)  # torch's symbol -> name and range
    frozen: list[Freeze] = field(default_factory=list)

    def sizes(self) -> Sizes:
        """A converter that knows these names."""
        return Sizes(self.dims)


def name_symbols(exported: ExportedProgram, inputs: Sequence[fx.Node], table: Requests) -> Naming:
    """Give torch's symbols the user's names, or names of ours in the order of the inputs: d0, d1, …"""
    naming = Naming()
    _name_requested(naming, inputs, table)
    _name_rest(naming, exported, inputs, table)
    _check_expressions(naming, inputs, table)
    _add_ranges(naming, exported, table)
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


def _name_rest(naming: Naming, exported: ExportedProgram, inputs: Sequence[fx.Node], table: Requests) -> None:
    """Names for the symbols that nobody named: sizes of inputs, then sizes that come from data (torch calls those u0, u1, …)."""
    taken = symbols_of(naming.dims.values()) | symbols_of(request.dim for request in table.values() if request.dim is not None)
    fresh = (f"d{number}" for number in count() if f"d{number}" not in taken)
    for expression in _input_expressions(inputs):
        for each in sorted(expression.free_symbols, key=str):
            if each.name not in naming.dims:
                naming.dims[each.name] = symbol(next(fresh))
    fresh_data = (f"u{number}" for number in count() if f"u{number}" not in taken)
    for each in sorted((key for key in exported.range_constraints if key.is_Symbol), key=_number):
        if each.name.startswith("u") and each.name not in naming.dims:
            naming.dims[each.name] = symbol(next(fresh_data))


def _number(each: sympy.Symbol) -> tuple[int, str]:
    return len(each.name), each.name


def _check_expressions(naming: Naming, inputs: Sequence[fx.Node], table: Requests) -> None:
    """A dim that torch solved for others (9 - s0) is what was asked for only if the user's names say the same."""
    sizes = naming.sizes()
    for axis, request in table.items():
        expression = _expression(inputs, axis)
        if isinstance(expression, int) or isinstance(expression, sympy.Symbol) or request.dim is None:
            continue
        if (found := sizes.expression(expression)) != request.dim:
            naming.frozen.append(Freeze(axis, request, found))


def _add_ranges(naming: Naming, exported: ExportedProgram, table: Requests) -> None:
    """Ranges by torch's symbol. torch.export captures for sizes of 2 and more and holds smaller ones for the same; a lower bound of 2 says nothing."""
    asked = {request.name: request for request in table.values() if request.name}
    for key, dim in naming.dims.items():
        name = dim.name if not isinstance(dim, int) else None
        if name is None:
            continue
        known = exported.range_constraints.get(sympy.Symbol(key, integer=True, positive=True)) or _range(exported, key)
        low, high = (int(known.lower), _bound(known.upper)) if known is not None else (0, None)
        request = asked.get(name, Request())
        low = max(low if low > 2 else 0, request.minimum)
        naming.symbols[key] = SymbolInfo(name, low, min((each for each in (high, request.maximum) if each is not None), default=None))


def _range(exported: ExportedProgram, key: str):
    return next((value for each, value in exported.range_constraints.items() if str(each) == key), None)


def _bound(upper: sympy.Expr) -> int | None:
    """An upper bound, or None for one of torch's several infinities."""
    return int(upper) if upper.is_Integer and upper < 2**60 else None


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
