"""Two halves are a whole: n // 2 + (n + 1) // 2 is n, and n // 4 - (n + 4) // 8 is n // 8.

Hermite's identity for two, a // h = a // 2h + (a + h) // 2h (Graham, Knuth, Patashnik, Concrete Mathematics, (3.26)).
A network that halves its images over and over, rounding up here and down there, says the same size in both ways. Of
divisor 2 one half is in the normal form anyway: (n + 1) // 2 is n - n // 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fxonnx.ir.dims.terms import Call, Terms, collected, floors, summed, times, without


def joined(terms: Terms, nothing: Callable[[Call], Terms]) -> Terms:
    """The sum with halves put together, as far as that leaves fewer terms; `nothing(floor)` is a sum that is 0, in
    which the floor stands beside its other half and the whole. Not a normal form: sums that are equal may stay apart.
    """
    shorter = next(_shorter(terms, nothing), None)
    return terms if shorter is None else joined(shorter, nothing)


def _shorter(terms: Terms, nothing: Callable[[Call], Terms]) -> Iterator[Terms]:
    halves = [each for each in floors(terms) if isinstance(each.right, int) and each.right > 2 and each.right % 2 == 0]
    if not halves:
        return
    met = {atom for monomial, _ in terms for atom in monomial}
    for floor in sorted(halves):
        zero = nothing(floor)
        sign = dict(zero).get((floor,), 0)
        if abs(sign) == 1 and any(atom in met for monomial, _ in zero for atom in monomial if atom != floor):
            yield from _without_floor(terms, floor, zero, sign)


def _without_floor(terms: Terms, floor: Call, zero: Terms, sign: int) -> Iterator[Terms]:
    """The sum plus such multiples of `zero` that a product with the floor is in it no longer."""
    for monomial, factor in terms:
        others = without(monomial, (floor,))
        if others is not None:
            sums = summed((*terms, *times(((others, -factor * sign),), zero)))
            if len(sums) < len(terms):
                yield collected(sums)
