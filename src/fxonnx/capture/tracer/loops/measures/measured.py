"""Numbers and sizes that come from data, as steps tell them: in each iteration of a loop they have other symbols.

    u3 - u3_below, 8 * u4      of `x[i, : lengths[i]]`, in iteration 3
    the number that the second step of the body returned, and 8 times the first size of what its third step did
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import fx

from fxonnx.capture.tracer.sizes.data import BELOW, numbers_in
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import Dim, Expr, maximum, substitute, symbol, symbols_of

_STANDS = "_measure"  # before a number, for what is measured


class Ref(NamedTuple):
    """What a step returns, or one of its results."""

    step: int
    result: Any = None


class Axis(NamedTuple):
    """In place of a result: one of its sizes; the number that it is, where there is no axis."""

    result: int | None
    axis: int | None


class Measured(NamedTuple):
    """A dim in which there are symbols from data, and what tells each number or size; None is told by nothing."""

    dim: Dim
    measures: tuple[tuple[str, Ref | Total | None], ...]

    @property
    def refs(self) -> list[Ref | Total | None]:
        """What tells them, in order."""
        return [ref for _, ref in self.measures]

    @property
    def alike(self) -> Dim:
        """The dim, with names that are the same for all that is computed alike."""
        return substitute(self.dim, renamed(name for name, _ in self.measures))


class Sized(NamedTuple):
    """A source: a dim, in which the sources of what is measured stand by their number."""

    dim: Any
    measures: tuple[Any, ...]


class Running(NamedTuple):
    """In a body: a number that grows in each iteration by another one; `grown` by that of this iteration, too."""

    initial: Any
    growth: Any
    grown: bool


class Total(NamedTuple):
    """What a step of a body told in all of its iterations: the sum or the maximum (a function of aten's) of it."""

    loop: int
    step: int
    result: Any
    function: str


def renamed(names: Iterable[str]) -> dict[str, Dim]:
    """Names of symbols -> those of their numbers."""
    found: dict[str, Dim] = {}
    for number, name in enumerate(names):
        found |= {name: symbol(f"{_STANDS}{number}"), f"{name}{BELOW}": symbol(f"{_STANDS}{number}{BELOW}")}
    return found


@dataclass(slots=True, eq=False)
class Measures:
    """What tells the symbols from data of one run, as its steps are read. `data` are their names; `by` is the one that
    loops go by, which only plain numbers may be left of."""

    data: frozenset[str]
    by: str
    told: dict[str, Ref] = field(default_factory=dict)

    def tell(self, node: fx.Node, step: int) -> None:
        """Let a step tell what it is the first to return."""
        for name, axis in self._told_by(node):
            self.told.setdefault(name, Ref(step, axis))

    def _told_by(self, node: fx.Node) -> Iterator[tuple[str, Axis]]:
        value = node.meta.get("val")
        many = list(enumerate(value)) if isinstance(value, (list, tuple)) else [(None, value)]
        for result, each in many:
            for axis, size in _sizes(each):
                names = numbers_in([dim_of(size)])
                is_alone = axis is None or getattr(dim_of(size), "name", None) is not None
                for name in names & self.data if is_alone else ():
                    yield name, Axis(result, axis)

    def tellers(self, graph: fx.Graph) -> Iterator[fx.Node]:
        """The call that tells the number that loops go by, if there is one."""
        told = (node for node in graph.nodes if any(name == self.by for name, _ in self._told_by(node)))
        return islice(told, 1)

    def leaf(self, dim: Dim) -> Dim | Measured:
        """A dim, with what tells its symbols from data, in the order in which that was told."""
        names = numbers_in([dim]) & self.data if self.data else None
        if not names:
            return dim
        order = {name: at for at, name in enumerate(self.told)}
        ordered = sorted(names, key=lambda name: (order.get(name, -1), name))
        return Measured(dim, tuple((name, self.told.get(name)) for name in ordered))


def _sizes(value: Any) -> Iterator[tuple[int | None, Any]]:
    if isinstance(value, torch.Tensor):
        yield from ((axis, size) for axis, size in enumerate(value.shape) if isinstance(size, torch.SymInt))
    elif isinstance(value, torch.SymInt):
        yield None, value


def less(one: Any, other: Any) -> Any:
    """The difference of two leaves."""
    known = {**dict(_measures(other)), **dict(_measures(one))}
    dim = _dim(one) - _dim(other)
    names = numbers_in([dim])
    left = tuple((name, ref) for name, ref in known.items() if name in names)
    return Measured(dim, left) if left else dim


def without(leaf: Any, told_by: Any) -> Any:
    """A leaf with 0 for what is told by a step of which this is so."""
    gone = {name: ref for name, ref in _measures(leaf) if told_by(ref)}
    return less(Measured(substitute(_dim(leaf), _nothing(gone)), _measures(leaf)), 0) if gone else leaf


def _nothing(names: Iterable[str]) -> dict[str, Dim]:
    return {each: 0 for name in names for each in (name, f"{name}{BELOW}")}


def with_total(leaf: Measured, names: Sequence[str], total: Total) -> Measured | None:
    """A leaf in which a total stands for the sum or the maximum of all numbers with these names; None where that is not
    in it."""
    numbers: list[Dim] = list(map(symbol, names))
    whole = _sum(names) if total.function == "sum" else reduce(maximum, numbers)
    found = symbol(f"{total.function}_of_{total.loop}_{total.step}")
    for each in (whole - _sum(names, BELOW), whole) if total.function == "sum" else (whole,):
        for factor in dict.fromkeys((_factor(leaf.dim, names), 1, -1)):
            dim = leaf.dim + factor * (found - each)
            if isinstance(dim, Expr) and len(numbers_in([dim]).intersection(names)) < len(names) - 1:
                left = [(name, ref) for name, ref in leaf.measures if name in numbers_in([dim])]
                return Measured(dim, ((found.name or "", total), *left))
    return None


def _factor(dim: Dim, names: Sequence[str]) -> int:
    """How often the first of these numbers is in a dim, where the others are not."""
    others = substitute(dim, _nothing(names[1:]))
    found = substitute(others, {names[0]: 1}) - substitute(others, _nothing(names[:1]))
    return found if isinstance(found, int) else 1


def _sum(names: Sequence[str], suffix: str = "") -> Dim:
    return sum((symbol(f"{name}{suffix}") for name in names), start=0)


def _dim(leaf: Any) -> Dim:
    return leaf.dim if isinstance(leaf, Measured) else leaf


def _measures(leaf: Any) -> tuple[tuple[str, Ref | Total | None], ...]:
    return leaf.measures if isinstance(leaf, Measured) else ()


def put(dim: Dim, values: Sequence[Dim]) -> Dim:
    """A dim with what was measured for what stands for it."""
    found: dict[str, Dim] = {}
    for number, value in enumerate(values):
        name = f"{_STANDS}{number}"
        above, below = _parts(value)
        found |= {name: above, f"{name}{BELOW}": below}
    return substitute(dim, found)


def _parts(value: Dim) -> tuple[Dim, Dim]:
    """A number of either sign as its parts above and below 0, where it is their difference."""
    names = sorted(symbols_of([value]), key=len)
    if len(names) == 2 and names[1] == names[0] + BELOW and value == symbol(names[0]) - symbol(names[1]):
        return symbol(names[0]), symbol(names[1])
    return value, 0
