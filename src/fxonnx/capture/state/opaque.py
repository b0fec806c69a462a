"""Objects that keep something which is no attribute of theirs: generators of random numbers outside of torch, buffers
of bytes. What a model takes from them is a constant in a file."""

from __future__ import annotations

import array
import io
import pickle
import random
from collections.abc import Callable
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


def shared_generators() -> list[OpaqueSnapshot]:
    """The generators of random numbers that everybody shares, as they are now."""
    shared = {"Python's random numbers": random._inst, "NumPy's random numbers": np.random.mtrand._rand}
    return [OpaqueSnapshot.of(generator, name) for name, generator in shared.items()]
