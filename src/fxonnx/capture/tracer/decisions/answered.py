"""What follows from the answers of a run for what it is asked about sizes from data later: bounds.

    if len(kept) > 0: best = kept.max()
    ...
    if len(kept) > 0: x = x - best          one way: a run that answered no before has no `best`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from fxonnx.capture.assumption import OPPOSITE
from fxonnx.ir.dims import Expr, certain
from fxonnx.ir.dims.expression import terms_of

_ENDS = {">": (1, inf), ">=": (0, inf), "<": (-inf, -1), "<=": (-inf, 0), "==": (0, 0)}
"""relation -> what a whole number is at least and at most that has it to 0"""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a difference of sizes is at least and at most, and the number of the first decision that says so."""

    low: float
    high: float
    since: int


@dataclass(slots=True, eq=False)
class Answered:
    """What the answers of one call say. `uses` are those of them that something followed from: the number of the
    decision, and that of the one that it answers."""

    uses: list[tuple[int, int]] = field(default_factory=list)
    _bounds: dict[Expr, _Bounds] = field(default_factory=dict)

    def forget(self) -> None:
        """Another call begins."""
        self._bounds.clear()

    def says(self, condition: Any, number: int) -> bool | None:
        """What the answers so far say of a condition, which the decision with this number is to answer; None where they
        say nothing."""
        comparison = _comparison(condition)
        if comparison is None:
            return None
        relation, difference = comparison
        base, sign, offset = _parts(difference)
        known = self._bounds.get(base)
        if known is None:
            return None
        low, high = sorted(sign * end + offset for end in (known.low, known.high))
        relation, is_opposite = _one_sided(relation, difference, condition)
        answer = certain(relation, low, high)
        if answer is None:
            return None
        self.uses.append((known.since, number))
        return answer is not is_opposite

    def keep(self, condition: Any, answer: bool, number: int) -> None:
        """Keep what the decision with this number has answered."""
        comparison = _comparison(condition)
        if comparison is None:
            return
        relation, difference = comparison
        relation = relation if answer else OPPOSITE[relation]
        if relation == "!=":  # what is not 0, and not below it, is above it
            relation = {"<=": ">", ">=": "<"}.get(_one_sided(relation, difference, condition)[0], relation)
        if relation in _ENDS:
            base, sign, offset = _parts(difference)
            low, high = sorted(sign * (end - offset) for end in _ENDS[relation])
            known = self._bounds.get(base, _Bounds(-inf, inf, number))
            self._bounds[base] = _Bounds(max(known.low, low), min(known.high, high), known.since)


def _comparison(condition: Any) -> tuple[str, Expr] | None:
    """A comparison of sizes as a relation of a difference to 0; None of anything else."""
    match getattr(condition, "tree", None):
        case ("not", part):
            found = _comparison(part)
            return None if found is None else (OPPOSITE[found[0]], found[1])
        case (relation, int() | Expr() as left, int() | Expr() as right) if relation in OPPOSITE:
            difference = left - right
            return (relation, difference) if isinstance(difference, Expr) else None
    return None


def _parts(difference: Expr) -> tuple[Expr, int, int]:
    """A difference as `sign * base + offset`, with one base for it and for what is opposite to it."""
    offset = sum(factor for atoms, factor in terms_of(difference) if not atoms)
    base: Any = difference - offset
    return (base, 1, offset) if str(base) <= str(-base) else (-base, -1, offset)


def _one_sided(relation: str, difference: Expr, condition: Any) -> tuple[str, bool]:
    """The relation to ask for, and whether its answer is the opposite one: what is never below 0 is 0 where it is not
    above it."""
    if relation in ("==", "!="):
        log = condition.guard_log
        if log.statically_known(">=", difference, 0):
            return "<=", relation == "!="
        if log.statically_known("<=", difference, 0):
            return ">=", relation == "!="
    return relation, False


__all__ = ["Answered"]
