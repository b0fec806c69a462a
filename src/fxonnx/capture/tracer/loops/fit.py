"""What numbers are of a length, from what they were at several lengths: 3, 5 and 8 at 11, 13 and 16 are n - 8."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from fxonnx.ir.dims import (
    FUNCTIONS,
    Atom,
    Call,
    Dim,
    Substitution,
    evaluate,
    fold,
    of_atom,
    product,
    symbol,
    symbols_of,
)

LONGEST = 600  # of runs, where loops do not go by more
_PARTS = (2, 3, 4, 5, 6, 8, 10, 16)  # of a length, which Python divides before anything sees it: a half, three quarters
_TIMES = {3: (1, 2), 4: (1, 3)}
_NEAR = (-2, -1, 1, 2)
_FAR = (1_000, 4_097, 10_007, 65_537, 1_000_003, 2**31 - 1)


class Undecided(Exception):
    """Two dims have the same values at all lengths so far, and not at this `length`."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a run at {length} tells two dims apart")
        self.length = length


@dataclass(frozen=True, slots=True)
class Fit:
    """The lengths of several runs, by the name of the dim, and the numbers that it may be divided by; `plain` are the
    dims that Python asked plain numbers of, which those are made of: min(n, 50) is n at all lengths up to 50."""

    name: str
    lengths: tuple[int, ...]
    divisors: tuple[int, ...] = ()
    plain: tuple[Dim, ...] = ()

    def __call__(self, values: Sequence[Dim]) -> Dim | None:
        """The dim that has these values at the lengths, or None where none is found."""
        if all(value == values[0] for value in values):
            return values[0]
        whole = [value for value in values if isinstance(value, int)]
        if len(whole) == len(values):
            return self._of_numbers(whole)
        return self._of_terms([(((), value),) if isinstance(value, int) else value.terms for value in values])

    def _of_numbers(self, values: Sequence[int]) -> Dim | None:
        found = _found(self, tuple(values))
        return _found(replace(self, divisors=_PARTS), tuple(values)) if found is None else found

    def of_plain(self, values: Sequence[int]) -> list[Dim]:
        """The dims with these values that are a multiple of one that was made plain, and a constant."""
        return list(self._holding(self._multiples(values), values))

    def of_length(self, values: Sequence[int]) -> list[Dim]:
        """Those that are a multiple of the length, or of a quotient of it, and a constant."""
        return list(self._holding(self._candidates(values), values))

    def _multiples(self, values: Sequence[int]) -> Iterable[Dim]:
        for dim in self.plain:
            first, last = self._at(dim, self.lengths[0]), self._at(dim, self.lengths[-1])
            slope, rest = divmod(values[-1] - values[0], last - first) if last != first else (0, 1)
            if not rest:
                yield slope * dim + (values[0] - slope * first)

    def _candidates(self, values: Sequence[int]) -> Iterable[Dim]:
        length = symbol(self.name)
        slope, rest = divmod(values[-1] - values[0], self.lengths[-1] - self.lengths[0])
        if not rest:
            yield slope * length + (values[0] - slope * self.lengths[0])
        for divisor in self.divisors:
            for times, offset in itertools.product(_TIMES.get(divisor, (1,)), (divisor - 1, *range(divisor - 1))):
                quotients = [(each * times + offset) // divisor for each in self.lengths]
                factor, rest = divmod(values[-1] - values[0], (quotients[-1] - quotients[0]) or 1)
                if not rest and factor in (1, -1, divisor, -divisor) and _grow_alike(values, quotients, factor):
                    yield (length * times + offset) // divisor * factor + (values[0] - factor * quotients[0])

    def parting(self, one: Dim, other: Dim) -> int | None:
        """The least length, beyond the shortest run, at which two dims are not the same."""
        near = (each + rest for each in self.lengths if each > LONGEST for rest in _NEAR)
        lengths = (*range(self.lengths[0], LONGEST + 1), *near, *_FAR)
        return next((each for each in lengths if self._at(one, each) != self._at(other, each)), None)

    @property
    def longest(self) -> int:
        """How long a run may be that tells two dims apart."""
        return max(LONGEST, self.lengths[-1] + _NEAR[-1])

    def _at(self, dim: Dim, length: int) -> int:
        return evaluate(dim, {self.name: length})

    def _holding(self, dims: Iterable[Dim], values: Sequence[int]) -> Iterable[Dim]:
        return (dim for dim in dict.fromkeys(dims) if self._holds(dim, values))

    def _holds(self, dim: Dim, values: Sequence[int]) -> bool:
        return all(self._at(dim, length) == value for length, value in zip(self.lengths, values, strict=True))

    def _of_terms(self, all_terms: Sequence[Sequence[tuple[tuple[Atom, ...], int]]]) -> Dim | None:
        """Sums of as many products, term by term; else by the products that they have in common."""
        shapes = {tuple(tuple(map(_kind, monomial)) for monomial, _ in terms) for terms in all_terms}
        if len(shapes) != 1:
            return self._by_products(all_terms)
        total: Dim = 0
        for column in zip(*all_terms, strict=True):
            factor = self([factor for _, factor in column])
            atoms = [self._atom(each) for each in zip(*(monomial for monomial, _ in column), strict=True)]
            if factor is None or any(each is None for each in atoms):
                return None
            total = total + factor * product(each for each in atoms if each is not None)
        return total

    def _by_products(self, all_terms: Sequence[Sequence[tuple[tuple[Atom, ...], int]]]) -> Dim | None:
        tables = [dict(terms) for terms in all_terms]
        total: Dim = 0
        for monomial in dict.fromkeys(each for table in tables for each in table):
            factor = self([table.get(monomial, 0) for table in tables])
            if factor is None:
                return None
            total = total + factor * product(map(of_atom, monomial))
        return total

    def _atom(self, atoms: Sequence[Atom]) -> Dim | None:
        """One atom of several runs: the same, or a call of dims that fit."""
        first = atoms[0]
        if all(each == first for each in atoms):
            return of_atom(first)
        calls = [each for each in atoms if isinstance(each, Call)]
        if len(calls) < len(atoms):
            return None
        left, right = self([each.left for each in calls]), self([each.right for each in calls])
        return None if left is None or right is None else FUNCTIONS[calls[0].function](left, right)


@cache
def _found(fit: Fit, values: tuple[int, ...]) -> Dim | None:
    """The dim that has these values where no other one has; what was made plain rather than what only looks alike. None
    where a long run would have to tell. Raises Undecided where a short one does."""
    known, others = fit.of_plain(values), fit.of_length(values)
    found = dict.fromkeys((*known, *others))
    if not found:
        return None
    first, *rest = found
    partings = {dim: at for dim in rest if (at := fit.parting(first, dim)) is not None}
    near = sorted(at for at in partings.values() if at <= fit.longest)
    if near:
        raise Undecided(near[len(near) // 2])
    return first if partings.keys().isdisjoint(known) else None


class _Settled(Substitution):
    """Minima and maxima as the one that they are at some sizes."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__({})
        self._sizes = sizes

    def call(self, atom: Call, left: Dim, right: Dim) -> Dim:
        """See `Algebra`."""
        if atom.function not in ("min", "max"):
            return super().call(atom, left, right)
        is_less = evaluate(left, self._sizes) <= evaluate(right, self._sizes)
        return left if is_less is (atom.function == "min") else right


def settled_at(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """A dim without minima and maxima, as it is at some sizes."""
    return fold(dim, _Settled(sizes)) if symbols_of([dim]) <= sizes.keys() else dim


def _grow_alike(values: Sequence[int], quotients: Sequence[int], factor: int) -> bool:
    """Whether numbers differ by a factor times what quotients do."""
    pairs = zip(values, quotients, strict=True)
    return all(value - values[0] == factor * (each - quotients[0]) for value, each in pairs)


def _kind(atom: Atom) -> str:
    return atom.function if isinstance(atom, Call) else atom.text
