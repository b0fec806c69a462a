"""How long calls take, fairly: candidates take turns, so that a slow moment of the machine falls on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

_ROUND_SECONDS = 0.01  # one turn lasts about this long: fast calls are repeated, slow ones made once


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per call: one figure for each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round: what to compare."""
        return median(self.rounds)

    @property
    def best(self) -> float:
        """The fastest round: what the machine can do undisturbed."""
        return min(self.rounds)

    def __str__(self) -> str:
        return _seconds(self.median)


def latency(calls: Mapping[str, Callable[[], object]], *, rounds: int = 30, warmup: int = 2) -> dict[str, Latency]:
    """The latency of each call, measured in turns: one round of the first, one of the second, …, again and again.

    Args:
        calls: functions of nothing, by name.
        rounds: turns each one gets.
        warmup: calls of each before anything is timed, at least one.
    """
    repeats = {name: _repeats(call, max(warmup, 1)) for name, call in calls.items()}
    figures: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            figures[name].append(_time(call, repeats[name]))
    return {name: Latency(tuple(rows)) for name, rows in figures.items()}


def _repeats(call: Callable[[], object], warmup: int) -> int:
    """How many calls fill one turn, after warming up."""
    fastest = min(_time(call, 1) for _ in range(warmup))
    return max(1, int(_ROUND_SECONDS / max(fastest, 1e-9)))


def _time(call: Callable[[], object], count: int) -> float:
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count


def _seconds(value: float) -> str:
    """With a unit that suits it: "12.3 µs"."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
