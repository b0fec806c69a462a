"""What a run assumed about sizes, sorted: ranges of a dim, comparisons that every call must answer alike, and dims that
are no longer free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from fxonnx.capture.assumption import Assumption, Guard
from fxonnx.capture.program import SymbolInfo
from fxonnx.errors import Error, FrozenDimension
from fxonnx.ir.dims import (
    Bounds,
    Call,
    Dim,
    Expr,
    bound,
    certain,
    floor_divide,
    lone_atom,
    modulo,
    of_atom,
    solved,
    substitute,
    symbol,
    without_common_factor,
)
from fxonnx.location import Location


@dataclass(slots=True)
class Constraints:
    """What guards mean: for each symbol its least and greatest size, the assumptions that no range says, and the
    equalities that leave a dim one size or tie it to others."""

    lows: dict[str, int] = field(default_factory=dict)
    highs: dict[str, int] = field(default_factory=dict)
    assumptions: list[Assumption] = field(default_factory=list)
    equalities: list[Assumption] = field(default_factory=list)
    facts: dict[Dim, Dim] = field(default_factory=dict)  # a min or max -> the dim that it always is
    multiples: dict[str, Dim] = field(default_factory=dict)  # {n: 3*n} where n is always a multiple of 3

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the capture is right for these sizes."""
        ranges = all(self.lows.get(name, 0) <= size <= self.highs.get(name, size) for name, size in sizes.items())
        return ranges and all(
            each.holds(sizes, undefined=True) for each in self.assumptions if each.symbols <= sizes.keys()
        )

    def infos(self, names: Iterable[str], lows: Mapping[str, int], highs: Mapping[str, int]) -> dict[str, SymbolInfo]:
        """The dims of these names and their ranges: what was asked for, and what the model allows."""
        return {
            name: SymbolInfo(
                name,
                max(self.lows.get(name, 0), _asked(lows.get(name, 0))),
                min((each[name] for each in (self.highs, highs) if name in each), default=None),
            )
            for name in names
        }

    def narrowed(self, lows: Mapping[str, int], highs: Mapping[str, int]) -> list[Error]:
        """An error for each dim whose range was asked for, and is smaller."""
        return [
            FrozenDimension(
                f"dim {name!r} is asked for in sizes {_asked(lows[name])} to {asked}, and the model works for "
                f"{self.lows.get(name, 0)} to {self.highs.get(name)}",
                cause="the model decides by this size",
                cure="narrow the range in dynamic_shapes",
            )
            for name, asked in highs.items()
            if self._decides_beyond(name, lows[name]) or self.highs.get(name, asked) < asked
        ]

    def _decides_beyond(self, name: str, low: int) -> bool:
        """Whether the model decides otherwise by sizes as small as `low`: what an op refuses eager refuses as well."""
        least = self.lows.get(name, 0)
        ends = [each for each in self.assumptions if _bounds_below(each, name, least)]
        return least > low and not any(isinstance(each, Guard) and each.required for each in ends)


def _asked(low: int) -> int:
    return low if low > 2 else 0


def classify(guards: Iterable[Guard], hints: Mapping[str, int]) -> Constraints:
    """Sort the guards of a capture whose symbols had these sizes. Those of sizes that come from data say nothing."""
    constraints = Constraints()
    for guard in guards:
        each = _without_extremum(guard, constraints.facts)
        if not each.symbols <= hints.keys() or _is_layout(each):
            continue
        if each.relation == "==" and not each.leaves_free(hints):
            constraints.equalities.append(each)
        else:
            each = _bounded(each) if each.required else each
            _note_range(each, constraints)
            constraints.assumptions.append(each)
    constraints.equalities = _first_causes(constraints.equalities)
    constraints.assumptions = _telling(constraints)
    return constraints


def _telling(constraints: Constraints) -> list[Assumption]:
    """The assumptions that say more than the ranges do, and for each end of a range those that it comes from.

    Where n is a multiple of 3, torch's own steps from there on (n = 3 * (n // 3), n % (n // 3) == 0) say nothing more.
    """
    told: dict[tuple[str, Dim], Assumption] = {}
    multiples = constraints.multiples
    for each in constraints.assumptions:
        difference = each.left - each.right
        follows = substitute(difference, multiples) == 0 and each.relation == "=="
        if not follows and (not _is_implied(each, constraints) or _is_edge(each, constraints)):
            told.setdefault((each.relation, difference), each)
            multiples.update(_multiples(each, constraints) if each.relation == "==" else {})
    return list(told.values())


def _multiples(each: Assumption, constraints: Constraints) -> Mapping[str, Dim]:
    """{n: 3*n} for an equality that says that n is a multiple of 3, alone or times what is not 0."""
    difference = each.left - each.right
    bounds = Bounds(constraints.lows, constraints.highs, least=2)
    for name, divisor in _divided(difference):
        rest = modulo(symbol(name), divisor)
        factor = floor_divide(difference, rest)
        if factor * rest == difference and certain("!=", *bounds.interval(factor)):
            return {name: divisor * symbol(name)}
    return {}


def _divided(difference: Dim) -> Iterator[tuple[str, int]]:
    """The symbols that are divided by a number, and that."""
    for atom in (atom for monomial, _ in getattr(difference, "terms", ()) for atom in monomial):
        if isinstance(atom, Call) and isinstance(atom.left, Expr) and isinstance(atom.right, int) and atom.left.name:
            yield atom.left.name, atom.right


def _is_implied(each: Assumption, constraints: Constraints) -> bool:
    """Whether an assumption holds for all sizes in the ranges, those of 0 and 1 as well."""
    bounds = Bounds(constraints.lows, constraints.highs)
    return certain(each.relation, *bounds.interval(each.left - each.right)) is True


def _is_edge(each: Assumption, constraints: Constraints) -> bool:
    """Whether one end of a range is what an assumption says."""
    found = bound(each.relation, each.left - each.right)
    if found is None:
        return False
    name, low, high = found
    return constraints.lows.get(name) == low if low is not None else constraints.highs.get(name) == high


def _bounds_below(each: Assumption, name: str, low: int) -> bool:
    """Whether an assumption says that a size is no less than `low`."""
    return bound(each.relation, each.left - each.right) == (name, low, None)


def _is_layout(each: Guard) -> bool:
    """Whether an op compared sizes without checking that they agree: to lay out memory, or to choose a kernel."""
    return each.inside and each.relation != "==" and not each.required


def _bounded(each: Guard) -> Guard:
    """A size that is less than no other, as the bound that this is for a dim: of h // 32 - 2 >= 1 h >= 96."""
    match bound(each.relation, each.left - each.right):
        case (name, int() as low, None):
            return replace(each, left=symbol(name), right=low)
    return each


_MIRRORED = {"<=": ">=", ">=": "<="}


def _without_extremum(each: Guard, facts: dict[Dim, Dim]) -> Guard:
    """n == min(n, 512), which is what comes of slicing, as n <= 512; where it holds, the one is the other. And of an
    equality what is left without the sizes on both sides: of 2 and more here, those of 0 have captures of their own."""
    if each.relation == "==":
        left, right = without_common_factor(each.left, each.right)
        each = _solved(replace(each, left=left, right=right), facts)
        for one, other in ((each.left, each.right), (each.right, each.left)):
            atom = lone_atom(other)
            if isinstance(atom, Call) and atom.function in ("min", "max") and one in (atom.left, atom.right):
                rest = atom.right if one == atom.left else atom.left
                facts[other] = one
                relation = "<=" if atom.function == "min" else ">="
                left, right = (one, rest) if isinstance(one, Expr) else (rest, one)
                relation = relation if left is one else _MIRRORED[relation]
                return replace(each, left=left, relation=relation, right=right, inside=False)
    return each


def _solved(each: Guard, facts: dict[Dim, Dim]) -> Guard:
    """An equality that says what the only call in it is, of that: max(0, min(3, n) - 2) == 1 as min(3, n) == 3."""
    match getattr(each.left - each.right, "terms", ()):
        case (((Call() as call,), slope),):
            offset = 0
        case (((Call() as call,), slope), ((), offset)):
            pass
        case _:
            return each
    if offset % slope:
        return each
    value = -offset // slope
    facts[of_atom(call)] = value
    solved = replace(each, left=of_atom(call), right=value)
    sides = [side for side in (call.left, call.right) if not isinstance(side, int)]
    others = [side for side in (call.left, call.right) if isinstance(side, int)]
    if call.function in ("min", "max") and len(sides) == 1 and others[0] != value:
        return _solved(replace(solved, left=sides[0]), facts)  # a number that is not the extremum
    return solved


def _first_causes(equalities: list[Assumption]) -> list[Assumption]:
    """The first pin of each dim, and ties of dims that are not pinned: what comes after follows from those."""
    pinned: set[str] = set()
    first: list[Assumption] = []
    for each in sorted(equalities, key=lambda each: len(each.symbols) > 1):
        if not each.symbols & pinned:
            first.append(each)
        if len(each.symbols) == 1:
            pinned |= each.symbols
    return first


def _note_range(each: Assumption, constraints: Constraints) -> None:
    """Note the bound of a symbol that a comparison says."""
    found = bound(each.relation, each.left - each.right)
    if found is not None:
        name, low, high = found
        if low is not None:
            constraints.lows[name] = max(constraints.lows.get(name, 0), low)
        if high is not None:
            constraints.highs[name] = min(constraints.highs.get(name, high), high)


# ── errors ────────────────────────────────────────


def pinned_error(each: Assumption, labels: Mapping[str, str]) -> Error:
    """The error for an equality that leaves a dim one size, or ties two dims."""
    one, other = each.left, each.right
    if isinstance(one, int) or (_has_name(other) and (not _has_name(one) or str(one) < str(other))):
        one, other = other, one
    if _has_name(one) and not isinstance(other, int):
        return tied(describe(one, labels), other, each.location)
    if (found := solved(one - other)) is not None and found[0] in labels:
        return related(each, *found)
    if isinstance(other, int):
        return frozen_at(describe(one, labels), other, each.location)
    return FrozenDimension(
        f"{one} and {other} are always equal",
        cause="the model only works where the two agree",
        cure="make the model work for sizes that differ, or leave one of the dims static",
        location=each.location,
    )


def _has_name(dim: Dim) -> bool:
    """Whether a dim is what dynamic_shapes names, not computed."""
    return isinstance(dim, Expr) and dim.name is not None


def frozen_at(dim: str, size: int, location: Location) -> Error:
    """The error for a dim, in words, that has one size."""
    return FrozenDimension(
        f"{dim} freezes at {size}",
        cause="this line, or an op it calls, works for that size only",
        cure="use x.shape[…] or -1 instead of the number, or leave the dim out of dynamic_shapes",
        location=location,
    )


def tied(dim: str, other: Dim, location: Location) -> Error:
    """The error for a dim, in words, that is always another one."""
    name = "give both dims one name" if _has_name(other) else f'write it as "{other}"'
    return FrozenDimension(
        f"{dim} is always {other}",
        cause="the model only works where the two agree",
        cure=f"{name} in dynamic_shapes, or make the model work for sizes that differ",
        location=location,
    )


def related(each: Assumption, name: str, others: Dim) -> Error:
    """The error for an equality of several dims, of which the named one is told by the others."""
    return FrozenDimension(
        f"{each.left} and {each.right} are always equal",
        cause="this line, or an op it calls, works only where they agree",
        cure=f'write {name} as "{others}" in dynamic_shapes, or make the model work for sizes that differ',
        location=each.location,
    )


def special_error(each: Assumption, labels: Mapping[str, str]) -> Error:
    """The error for an equality that the example's sizes meet, and for which the model does what it does for no
    others."""
    return FrozenDimension(
        f"{describe(each.left if isinstance(each.left, Expr) else each.right, labels)} freezes: the example has {each}",
        cause="the model takes a way of its own for this, and another one for other sizes",
        cure="give an example of other sizes: those are captured then, and a call with these is refused; "
        "or leave the dim static",
        location=each.location,
    )


def small_error(
    small: Mapping[str, int], difference: str, location: Location, labels: Mapping[str, str]
) -> FrozenDimension:
    """The error for sizes of 0 or 1 that the example has, and for which the model does what it does for no others."""
    dims = ", ".join(describe(symbol(name), labels) for name in small)
    sizes = ", ".join(f"{name} = {size}" for name, size in small.items())
    return FrozenDimension(
        f"{dims} freezes: the example has {sizes}",
        cause=f"with this size the model takes another way: {difference}",
        cure="give an example of larger sizes: those are captured then, and a call with these is run by a program of "
        "its own; or leave the dim static",
        location=location,
    )


def describe(dim: Dim, labels: Mapping[str, str]) -> str:
    """A dim in words: "dim 'n' (x, axis 0)". `labels` say where a symbol is found."""
    where = labels.get(str(dim))
    return f"dim {str(dim)!r} ({where})" if where else f"dim {str(dim)!r}"
