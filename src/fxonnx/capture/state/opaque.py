"""Objects that keep something which is no attribute of theirs: generators of random numbers, buffers of bytes,
context variables, the environment. What a model takes from them is a constant in a file."""

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
import torch


class _Kind(NamedTuple):
    """How the state of an object is read, as what can be compared, and how it is set. `mark` sets one that nobody else
    does, so that what sets the state which it has already is told from what does not."""

    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]
    mark: Callable[[Any], Any] | None = None


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


def _read_seed(generator: torch.Generator) -> bytes:
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():  # no tensor of the model's
        return generator.get_state().numpy().tobytes()


def _write_seed(generator: torch.Generator, state: bytes) -> None:
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _mark_seed(generator: torch.Generator) -> None:
    generator.manual_seed(_NOBODYS_SEED)


_NOBODYS_SEED = 0x5C1F_72D3_90AB_E641
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
    torch.Generator: _Kind(_read_seed, _write_seed, _mark_seed),
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
    """One of them, a name for it, the state that it was in, and the one that it was left in since."""

    owner: Any
    before: Any
    name: str
    left: Any

    @staticmethod
    def of(owner: Any, name: str) -> OpaqueSnapshot:
        """As it is now; one that can be marked is, until it is restored."""
        kind = _KINDS[type(owner)]
        before = kind.read(owner)
        if kind.mark is None:
            return OpaqueSnapshot(owner, before, name, before)
        kind.mark(owner)
        return OpaqueSnapshot(owner, before, name, kind.read(owner))

    def has_changed(self) -> bool:
        """Whether something was drawn, read or written."""
        return bool(_KINDS[type(self.owner)].read(self.owner) != self.left)

    def restore(self) -> None:
        """Put it back; what is as it was is not touched."""
        kind = _KINDS[type(self.owner)]
        if kind.read(self.owner) != self.before:
            kind.write(self.owner, self.before)


def shared_by_all() -> list[OpaqueSnapshot]:
    """What belongs to no model and any may use, as it is now: generators of random numbers, the environment."""
    shared = {
        "Python's random numbers": random._inst,
        "NumPy's random numbers": np.random.mtrand._rand,
        "os.environ": os.environ,
    }
    return [OpaqueSnapshot.of(each, name) for name, each in shared.items()]
