"""What a run assumed about sizes, sorted: ranges of a dim, comparisons that every call must answer alike, and dims that
are no longer free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.program import SymbolInfo
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.sizes.guards import Guard, Specialization
from fxonnx.errors import Error, FrozenDimension
from fxonnx.ir.dims import Bounds, Call, Dim, Expr, bound, certain, lone_atom

_MULTIPLES = (2, 3, 4, 5, 6, 8, 12, 60)


@dataclass(slots=True)
class Constraints:
    """What a run's guards mean: for each symbol its least and greatest size, the assumptions that no range says,
    and those that pin a dim."""

    lows: dict[str, int] = field(default_factory=dict)
    highs: dict[str, int] = field(default_factory=dict)
    assumptions: list[Assumption] = field(default_factory=list)
    equalities: list[Assumption] = field(default_factory=list)
    facts: dict[Dim, Dim] = field(default_factory=dict)  # a min or max -> the dim that it always is

    def narrowed(self, chosen: SymbolTable) -> list[Error]:
        """An error for each dim whose range was asked for, and is smaller."""
        found: list[Error] = []
        for name, asked in chosen.highs.items():
            low, high = self.lows.get(name, 0), self.highs.get(name)
            if low > chosen.lows[name] or (high is not None and high < asked):
                given = f"{_asked(chosen.lows[name])} to {asked}"
                found.append(
                    FrozenDimension(
                        f"dim {name!r} is asked for in sizes {given}, and the model works for {low} to {high}",
                        cause="the model decides by this size",
                        cure="narrow the range in dynamic_shapes",
                    )
                )
        return found

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the run is right for these sizes."""
        ranges = all(self.lows.get(name, 0) <= size <= self.highs.get(name, size) for name, size in sizes.items())
        return ranges and all(holds(each, sizes) for each in self.assumptions if each.symbols <= sizes.keys())

    def infos(self, chosen: SymbolTable) -> dict[str, SymbolInfo]:
        """The dims and their ranges: what was asked for, and what the model allows."""
        return {
            name: SymbolInfo(
                name,
                max(self.lows.get(name, 0), _asked(chosen.lows.get(name, 0))),
                min(
                    (each for each in (self.highs.get(name), chosen.highs.get(name)) if each is not None), default=None
                ),
            )
            for name in chosen.hints
        }


def _asked(low: int) -> int:
    return low if low > 2 else 0


def classify(guards: Iterable[Guard], hints: Mapping[str, int]) -> Constraints:
    """Sort the guards of a run whose symbols had these sizes."""
    constraints = Constraints()
    for taken in guards:
        each = _without_extremum(taken, constraints.facts)
        assumption = Assumption(each.left, each.relation, each.right, each.location)
        if not assumption.symbols <= hints.keys() or _is_layout(each):
            continue
        if each.relation == "==" and not _varies(assumption, hints):
            constraints.equalities.append(assumption)
        else:
            _note_range(assumption, constraints)
            constraints.assumptions.append(assumption)
    constraints.equalities = _first_causes(constraints.equalities)
    constraints.assumptions = _telling(constraints)
    return constraints


def holds(each: Assumption, sizes: Mapping[str, int]) -> bool:
    """Whether an assumption holds; sizes for which it cannot be computed speak neither for it nor against."""
    try:
        return each.holds(sizes)
    except ZeroDivisionError:
        return True


def _telling(constraints: Constraints) -> list[Assumption]:
    """The assumptions that say more than the ranges do, and for each end of a range those that it comes from."""
    told: dict[tuple[str, Dim], Assumption] = {}
    for each in constraints.assumptions:
        if not _is_implied(each, constraints) or _is_edge(each, constraints):
            told.setdefault((each.relation, each.left - each.right), each)
    return list(told.values())


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


def _is_layout(each: Guard) -> bool:
    """Whether an op compared sizes without checking that they agree: to lay out memory, or to choose a kernel."""
    return each.inside and each.relation != "=="


def _without_extremum(each: Guard, facts: dict[Dim, Dim]) -> Guard:
    """n == min(n, 512), which is what comes of slicing, as n <= 512; where it holds, the one is the other."""
    if each.relation == "==":
        for one, other in ((each.left, each.right), (each.right, each.left)):
            atom = lone_atom(other)
            if isinstance(atom, Call) and atom.function in ("min", "max") and one in (atom.left, atom.right):
                rest = atom.right if one == atom.left else atom.left
                facts[other] = one
                return replace(
                    each, left=one, relation="<=" if atom.function == "min" else ">=", right=rest, inside=False
                )
    return each


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


def _varies(each: Assumption, hints: Mapping[str, int]) -> bool:
    """Whether an equality leaves every one of its dims some other size, alone or together with the others."""
    together = any(holds(each, _scaled(hints, each.symbols, multiple)) for multiple in _MULTIPLES)
    return (together and len(each.symbols) == 1) or all(
        any(holds(each, _scaled(hints, {name}, multiple)) for multiple in _MULTIPLES) for name in each.symbols
    )


def _scaled(hints: Mapping[str, int], names: object, multiple: int) -> dict[str, int]:
    return {name: known * multiple if name in names else known for name, known in hints.items()}  # type: ignore[operator]


# ── errors ────────────────────────────────────────


def specialization_error(specialization: Specialization, labels: Mapping[str, str]) -> Error:
    """The error for a dim of which something made a plain number. `labels` say where a symbol is: "x, axis 0"."""
    if specialization.as_text:
        return FrozenDimension(
            f"{_said(specialization.dim, labels)} freezes",
            cause="this line goes on with the size as text",
            cure="text of a size is free where it is only said: as an argument of print() or of a logger, or in raise; "
            "or leave the dim static",
            location=specialization.location,
        )
    asks = f"{specialization.op} needs" if specialization.op else "this line makes"
    return FrozenDimension(
        f"{_said(specialization.dim, labels)} freezes",
        cause=f"{asks} a plain number of the size",
        cure="compute with the size itself, x.shape[0] // 2, not with int(), len(), range() or numpy on it; "
        "or leave the dim static",
        location=specialization.location,
    )


def pinned_error(each: Assumption, labels: Mapping[str, str]) -> Error:
    """The error for an equality that leaves a dim one size, or ties two dims."""
    one, other = each.left, each.right
    if isinstance(one, int) or (isinstance(other, Expr) and other.name and str(one) < str(other)):
        one, other = other, one
    if isinstance(other, int):
        return FrozenDimension(
            f"{_said(one, labels)} freezes at {other}",
            cause="this line, or an op it calls, works for that size only",
            cure="use x.shape[…] or -1 instead of the number, or leave the dim out of dynamic_shapes",
            location=each.location,
        )
    return FrozenDimension(
        f"{_said(one, labels)} is always {other}",
        cause="the model only works where the two agree",
        cure="give both dims one name in dynamic_shapes, or make the model work for sizes that differ",
        location=each.location,
    )


def special_error(each: Assumption, labels: Mapping[str, str]) -> Error:
    """The error for an equality that the example's sizes meet, and for which the model does what it does for no
    others."""
    return FrozenDimension(
        f"{_said(each.left if isinstance(each.left, Expr) else each.right, labels)} freezes: the example has {each}",
        cause="the model takes a way of its own for this, and another one for other sizes",
        cure="give an example of other sizes: those are captured then, and a call with these is refused; "
        "or leave the dim static",
        location=each.location,
    )


def _said(dim: Dim, labels: Mapping[str, str]) -> str:
    where = labels.get(str(dim))
    return f"dim {str(dim)!r} ({where})" if where else f"dim {str(dim)!r}"
