"""Sizes and numbers that come from data: a symbol for each, u0, u1, …, with a value of its own in the run.

A size is between 0 and a limit, which may be a dim: of n elements at most n are selected. A number that is read may be
negative: dims take a bare symbol for a size, so that it is the difference of its parts above and below 0, until a check
says that it is not. A float of sizes that is rounded has a symbol with a value as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fxonnx.capture.tracer.sizes.primes import prime_near
from fxonnx.ir.dims import Call, Dim, Expr, bound, evaluate, substitute, symbol, symbols_of

ROUNDINGS: dict[str, Callable[[float], int]] = {
    "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "round": round,
}  # fmt: skip
_SMALL = 3
BELOW = "_below"  # behind the name of a number, for its part below 0
ITERATION = "iteration"
"""How sizes are called that number the iterations of loops, with a number behind."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """A float (a node), rounded to a whole number in a way that has a name, and the `dim` that stands for it; of two
    symbols in that one is the part above 0, of `sign` 1, the other the part below, of `sign` -1."""

    dim: Dim
    rounding: str
    number: Any
    sign: int

    @property
    def value(self) -> int:
        """What the symbol is in the run."""
        whole = ROUNDINGS[self.rounding](self.number.hint)
        return max(self.sign * whole, 0) if self.sign else whole


@dataclass(slots=True, eq=False)
class DataSymbols:
    """The symbols of one run that come from data.

    `sizes` are those of the inputs in it, by name; `lows` and `highs` the bounds of all symbols, to which these join;
    `rounded` are symbols of rounded floats, which limits may have.
    """

    sizes: Mapping[str, int]
    lows: Sequence[dict[str, int]]
    highs: dict[str, int]
    hints: dict[str, int] = field(default_factory=dict)
    limits: dict[str, Dim] = field(default_factory=dict)  # bounds that are dims
    nothing: dict[str, Dim] = field(default_factory=dict)  # parts below 0 of numbers that are not: 0
    renamed: dict[str, Dim] = field(default_factory=dict)  # names of other ways of the model -> what they are here
    names: list[str] = field(default_factory=list)  # in the order in which they were made
    planned: Iterator[str] = field(default_factory=lambda: iter(()))  # names that come first
    rounded: Mapping[str, Rounded] = field(default_factory=dict)
    taken: Set[str] = frozenset()  # names that stand for something else in another way of the model
    given: Mapping[str, int] = field(default_factory=dict)  # values of this run -> plain numbers where Python asks

    def __bool__(self) -> bool:
        return bool(self.hints)

    def new_size(self, limit: Dim | None = None) -> Dim:
        """A size that is `limit` at most."""
        name = self._new_name("u")
        most = None if limit is None else self.value(limit)
        prime = prime_near(most or 0, (*self.sizes.values(), *self.hints.values()))
        self._add(name, self.given.get(name, prime if most is None else min(prime, most)))
        if isinstance(limit, int):
            self.highs[name] = limit
        elif limit is not None:
            self.limits[name] = limit
        return symbol(name)

    def new_number(self) -> Dim:
        """A whole number of either sign; a small one in this run, that fits into most sizes."""
        above = self.new_size()
        self.hints[str(above)] = self.given.get(str(above), _SMALL)
        below = symbol(f"{above}{BELOW}")
        self._add(str(below), 0)
        return above - below

    def new_value(self) -> Dim:
        """What stands for a float or a truth that is read: no size."""
        name = self._new_name("v")
        self._add(name, 1)
        return symbol(name)

    def in_another_way(self, count: int, taken: Set[str]) -> DataSymbols:
        """None yet, for another way of the model that goes along with this one until `count` of these are made."""
        for lows in (*self.lows, self.highs):
            for name in self.hints:
                lows.pop(name, None)
        planned = iter(self.names[:count])
        return DataSymbols(
            self.sizes, self.lows, self.highs, planned=planned, rounded=self.rounded, taken=taken, given=self.given
        )

    def join(self, other: DataSymbols) -> None:
        """Let those of another way be known too. What a check of one way says is known there only."""
        both = self.hints.keys() & other.hints.keys()
        nothing = self.nothing.keys() & other.nothing.keys()
        self.nothing = {
            name: dim for name, dim in (other.nothing | self.nothing).items() if name in nothing or name not in both
        }
        self.hints, self.limits = other.hints | self.hints, other.limits | self.limits
        for lows in self.lows:
            lows.update(dict.fromkeys(self.hints, 0))

    def new_iteration(self, trips: Dim) -> Expr:
        """The number of an iteration of a loop that has so many."""
        name = self._new_name(ITERATION)
        self._add(name, 1)
        self.limits[name] = trips - 1
        return symbol(name)

    def _new_name(self, kind: str) -> str:
        used = self.hints.keys() | self.sizes.keys() | self.taken
        fresh = (name for number in count() if (name := f"{kind}{number}") not in used)
        name = next(self.planned, None) or next(fresh)
        self.names.append(name)
        return name

    def _add(self, name: str, hint: int) -> None:
        self.hints[name] = hint
        for lows in self.lows:
            lows[name] = 0

    def are_in(self, *dims: Dim) -> bool:
        """Whether one of these dims comes from data."""
        return bool(self.hints) and not symbols_of(dims).isdisjoint(self.hints)

    def are_given(self, *dims: Dim) -> bool:
        """Whether all that comes from data in these dims has the value that was given for this run."""
        return numbers_in(dims) & numbers_in(map(symbol, self.hints)) <= self.given.keys()

    @property
    def values(self) -> Mapping[str, int]:
        """The values of all symbols in the run, by name."""
        return {**self.sizes, **self.hints} if self.hints else self.sizes

    def value(self, dim: Dim) -> int:
        """A dim's value in the run."""
        rounded = {name: each.value for name, each in self.rounded.items()}
        return dim if isinstance(dim, int) else evaluate(dim, {**self.values, **rounded} if rounded else self.values)

    @property
    def said(self) -> Mapping[str, Dim]:
        """What stands for symbols in the graph: another's name, or 0 for a part that is none in any way that has it."""
        elsewhere = symbols_of(dim for name, dim in self.renamed.items() if name not in self.nothing)
        nothing = {name: dim for name, dim in self.nothing.items() if name not in elsewhere}
        return nothing | {name: substitute(dim, nothing) for name, dim in self.renamed.items()}

    def simplified(self, dim: Dim) -> Dim:
        """A dim without the parts below 0 that are known to be none."""
        return substitute(dim, self.nothing) if self.nothing else dim

    # ── bounds ──

    def learn(self, relation: str, difference: Dim) -> None:
        """Let what a check says of `difference relation 0` be known: a bound of a size or of a number."""
        numbers = {f"{name}{BELOW}": 0 for name in symbols_of([difference])}
        found = bound(relation, substitute(difference, numbers))
        if found is not None and found[0] in self.hints:
            name, low, high = found
            if low is not None and low >= 0:
                self._raise(name, low)
            if high is not None and high >= 0:
                self.highs[name] = min(high, self.highs.get(name, high))

    def _raise(self, name: str, low: int) -> None:
        below = f"{name}{BELOW}"
        if below in self.hints:
            self.highs[below] = self.nothing[below] = 0
        for lows in self.lows:
            lows[name] = max(low, lows[name])

    def ends(self, dim: Expr) -> tuple[Dim, Dim]:
        """What a dim is at least and at most, where what has a dim for its limit is nothing, or that."""
        least: Dim = dim
        most: Dim = dim
        for name, factor in _linear(dim):
            if name in self.limits:
                without, limited = (factor * (end - symbol(name)) for end in (0, self.limits[name]))
                least, most = least + (without if factor > 0 else limited), most + (limited if factor > 0 else without)
        return least, most


def numbers_in(dims: Iterable[Dim]) -> frozenset[str]:
    """The symbols in dims; the parts of a number of either sign by its own name."""
    return frozenset(name.removesuffix(BELOW) for name in symbols_of(dims))


def _linear(dim: Expr) -> Iterator[tuple[str, int]]:
    """The symbols of which a dim has a multiple, and that stand nowhere else in it; with their factors."""
    lone = {each[0].text: factor for each, factor in dim.terms if len(each) == 1 and not isinstance(each[0], Call)}
    rest: Dim = dim
    for name, factor in lone.items():
        rest = rest - factor * symbol(name)
    others = symbols_of([rest])
    return ((name, factor) for name, factor in lone.items() if name not in others)


__all__ = ["BELOW", "ROUNDINGS", "DataSymbols", "Rounded", "numbers_in"]
