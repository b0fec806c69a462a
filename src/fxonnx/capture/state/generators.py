"""Generators of random numbers outside of torch: what a model draws from them is a constant in a file."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Generator:
    """One of them, and the state that it was in."""

    name: str
    before: Any
    state: Callable[[], Any]
    set_state: Callable[[Any], None]

    def has_moved(self) -> bool:
        """Whether something was drawn."""
        return bool(self.state() != self.before)

    def restore(self) -> None:
        """Put it back."""
        if self.has_moved():
            self.set_state(self.before)


def generators() -> list[Generator]:
    """Those that everybody shares, as they are now."""
    return [
        Generator("Python's random numbers", random.getstate(), random.getstate, random.setstate),
        Generator("NumPy's random numbers", _numpy_state(), _numpy_state, _set_numpy_state),
    ]


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()  # noqa: NPY002 (the one that a bare np.random.rand() draws from)
    return state[0], state[1].tobytes(), *state[2:]


def _set_numpy_state(state: tuple[Any, ...]) -> None:
    name, key, *rest = state
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
