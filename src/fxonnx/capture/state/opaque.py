"""Objects that keep something which is no attribute of theirs: generators of random numbers outside of torch, buffers
of bytes, context variables, the environment. What a model takes from them is a constant in a file."""

from __future__ import annotations

import array
import io
import os
import pickle
import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class _Kind(NamedTuple):
    """How the state of an object is read, as what can be compared, and how it is set."""

    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]


def _write_elements(owner: Any, content: bytes) -> None:
    owner[:] = type(owner)(owner.typecode, content) if isinstance(owner, array.array) else content


def _write_stream(stream: Any, state: tuple[Any, int]) -> None:
    content, position = state
    stream.seek(0)
    stream.truncate()
    stream.write(content)
    stream.seek(position)


def _write_bits(generator: np.random.Generator, state: bytes) -> None:
    generator.bit_generator.state = pickle.loads(state)


_UNSET = (0, None)


def _read_variable(variable: ContextVar[Any]) -> tuple[int, Any]:
    """(its identity, the value), so that the value is not asked whether it is equal to another."""
    try:
        value = variable.get()
    except LookupError:
        return _UNSET
    return id(value), value


def _write_variable(variable: ContextVar[Any], content: tuple[int, Any]) -> None:
    if content is not _UNSET:  # what has been set cannot be taken away again, only set to something else
        variable.set(content[1])


def _read_environment(environment: os._Environ[str]) -> dict[str, str]:
    """What is no setting of torch's own: torch notes there where its caches are, when a part of it is imported."""
    return {name: value for name, value in environment.items() if not name.startswith("TORCH")}


def _write_environment(environment: os._Environ[str], content: dict[str, str]) -> None:
    for name in _read_environment(environment).keys() - content.keys():
        del environment[name]
    environment.update(content)


_KINDS: dict[type, _Kind] = {
    random.Random: _Kind(random.Random.getstate, random.Random.setstate),
    np.random.Generator: _Kind(lambda each: pickle.dumps(each.bit_generator.state), _write_bits),
    np.random.RandomState: _Kind(
        lambda each: pickle.dumps(each.get_state()), lambda each, state: each.set_state(pickle.loads(state))
    ),
    bytearray: _Kind(bytes, _write_elements),
    array.array: _Kind(array.array.tobytes, _write_elements),
    io.BytesIO: _Kind(lambda each: (each.getvalue(), each.tell()), _write_stream),
    io.StringIO: _Kind(lambda each: (each.getvalue(), each.tell()), _write_stream),
    ContextVar: _Kind(_read_variable, _write_variable),
    type(os.environ): _Kind(_read_environment, _write_environment),
}  # fmt: skip

OPAQUE = tuple(_KINDS)
"""the types of those objects; classes derived of them are not among them"""


@dataclass(frozen=True, slots=True)
class OpaqueSnapshot:
    """One of them, a name for it, and the state that it was in."""

    owner: Any
    before: Any
    name: str

    @staticmethod
    def of(owner: Any, name: str) -> OpaqueSnapshot:
        """As it is now."""
        return OpaqueSnapshot(owner, _KINDS[type(owner)].read(owner), name)

    def has_changed(self) -> bool:
        """Whether something was drawn, read or written."""
        return bool(_KINDS[type(self.owner)].read(self.owner) != self.before)

    def restore(self) -> None:
        """Put it back; what is as it was is not touched."""
        if self.has_changed():
            _KINDS[type(self.owner)].write(self.owner, self.before)


def shared_by_all() -> list[OpaqueSnapshot]:
    """What belongs to no model and any may use, as it is now: generators of random numbers, the environment."""
    shared = {
        "Python's random numbers": random._inst,
        "NumPy's random numbers": np.random.mtrand._rand,
        "os.environ": os.environ,
    }
    return [OpaqueSnapshot.of(each, name) for name, each in shared.items()]
