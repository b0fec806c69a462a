"""Captures that are tried again: remedies, in the order in which they are thought of.

print(PLAN)    at primes; else at the example's sizes; else …
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Attempt = TypeVar("Attempt")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Remedy(Generic[Attempt, Outcome]):
    """`apply(attempt, outcome)` is another attempt where that may help, else None; `what` says it in words."""

    what: str
    apply: Callable[[Attempt, Outcome], Attempt | None]


@dataclass(frozen=True, slots=True)
class RetryPlan(Generic[Attempt, Outcome]):
    """A first attempt, and remedies for what comes of attempts. Each remedy takes something away, so that it ends."""

    first: str
    remedies: tuple[Remedy[Attempt, Outcome], ...]

    def __str__(self) -> str:
        return "; else ".join([self.first, *(each.what for each in self.remedies)])

    def carry_out(
        self, attempt: Attempt, run: Callable[[Attempt], Outcome]
    ) -> tuple[Attempt, Outcome, tuple[str, ...]]:
        """The last attempt, what came of it, and what was tried, in words."""
        tried, outcome = [self.first], run(attempt)
        while (found := self._next(attempt, outcome)) is not None:
            remedy, attempt = found
            tried.append(remedy.what)
            outcome = run(attempt)
        return attempt, outcome, tuple(tried)

    def _next(self, attempt: Attempt, outcome: Outcome) -> tuple[Remedy[Attempt, Outcome], Attempt] | None:
        for remedy in self.remedies:
            again = remedy.apply(attempt, outcome)
            if again is not None:
                return remedy, again
        return None
