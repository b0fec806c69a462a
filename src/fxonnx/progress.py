"""What the compiler is doing: told to Python's logging under "fxonnx", and to whoever listens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

LOGGER = logging.getLogger("fxonnx")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the compiler: it begins, and has no `seconds` yet; or it is done, and as many `nodes` are left, where
    it leaves a graph."""

    name: str
    seconds: float | None = None
    nodes: int | None = None

    def __str__(self) -> str:
        left = f", {self.nodes} nodes" if self.nodes is not None else ""
        return self.name if self.seconds is None else f"{self.name}: {self.seconds * 1000:.1f} ms{left}"


Listener: TypeAlias = Callable[[Step], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Tell a listener of all steps inside. What it raises ends them."""
    token = _LISTENER.set(listener or _LISTENER.get())
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def step(name: str) -> Iterator[Callable[[Callable[[], int]], None]]:
    """A step, told when it begins and when it is done. What it yields is told how to count the nodes that are left,
    which is asked for only if somebody listens."""
    counts: list[Callable[[], int]] = []
    _tell(lambda: Step(name))
    start = perf_counter()
    yield counts.append
    seconds = perf_counter() - start
    _tell(lambda: Step(name, seconds, counts[0]() if counts else None))


def _tell(step: Callable[[], Step]) -> None:
    listener = _LISTENER.get()
    if listener is None and not LOGGER.isEnabledFor(logging.DEBUG):
        return
    said = step()
    if said.seconds is not None:
        LOGGER.debug("%s", said)
    if listener is not None:
        listener(said)
