"""Nested arguments and results as flat leaves, and back.

Whatever is a container (`containers`) is opened. A tensor leaf is a value; every other leaf is a constant that belongs
to the structure. A container that is met a second time is that one again, so that what is written to it is seen in
both places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch

from fxonnx.capture.call.containers import VIEWS, Rebuild, holds_tensor, is_on_steps, parts

Path: TypeAlias = "tuple[str, ...]"
SYMBOLIC = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the next value goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A leaf that is no tensor: it is part of what was captured, and a later call must bring an equal one."""

    value: Any

    def matches(self, other: Any) -> bool:
        """Whether `other` may stand in for the captured constant."""
        mine = self.value
        if type(mine) is not type(other):
            return False
        if isinstance(mine, np.ndarray):
            return bool(mine.dtype == other.dtype and mine.shape == other.shape and mine.tobytes() == other.tobytes())
        if isinstance(mine, (float, complex)):
            return repr(mine) == repr(other)  # NaN is NaN, and -0.0 is not 0.0: 1 / x tells them apart
        if isinstance(mine, _COMPARABLE):
            return bool(mine == other)
        return mine is other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.matches(other.value)

    def __hash__(self) -> int:
        return hash(type(self.value))


@dataclass(frozen=True, slots=True)
class Again:
    """A container that was met before: the `number`-th of those that are written to where they stand."""

    number: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A container: its type, the names of its parts, the parts, and what else it is known by.

    `rebuild`, which puts it together again, follows from the other fields.
    """

    type: type
    keys: tuple[Any, ...]
    parts: tuple[Tree, ...]
    about: Tree
    rebuild: Rebuild = field(compare=False, repr=False)


Tree: TypeAlias = Slot | Constant | Again | Branch

SLOT = Slot()
_COPIED: dict[type, Callable[[Any], Any]] = {set: set, bytearray: bytearray, np.ndarray: np.copy}  # may be written to
_COMPARABLE = (
    bool, int, str, bytes, bytearray, torch.dtype, torch.device, torch.layout, torch.memory_format,
    tuple, set, frozenset, slice, range,
)  # fmt: skip


def flatten(value: Any) -> tuple[list[Any], list[Path], Tree]:
    """Take `value` apart: its tensor (and symbolic) leaves, the path to each, and the structure that `unflatten`
    fills again."""
    opening = _Opening()
    tree = opening(value, (), frozenset())
    return opening.leaves, opening.paths, tree


def unflatten(tree: Tree, leaves: Iterable[Any], known: list[Any] | None = None) -> Any:
    """Put a structure together again, taking one leaf for every slot, in order.

    `known` are the containers of what was put together before, where this is a part of the same structure.
    """
    return _fill(tree, iter(leaves), [] if known is None else known)


def _fill(tree: Tree, leaves: Iterator[Any], known: list[Any]) -> Any:
    if isinstance(tree, Slot):
        return next(leaves)
    if isinstance(tree, Constant):
        return _own(tree.value)
    if isinstance(tree, Again):
        return known[tree.number]
    made = tree.rebuild([_fill(part, leaves, known) for part in tree.parts])
    if is_shared(type(made)):
        known.append(made)
    return made


def match(tree: Tree, value: Any, path: Path = (), known: list[Any] | None = None) -> Iterator[tuple[Path, Any]]:
    """The leaves of `value` in the order of `tree`'s slots, with their paths.

    `known` are the containers of what was matched before, where this is a part of the same structure. Raises Mismatch
    where `value` is not built alike.
    """
    known = [] if known is None else known
    if isinstance(tree, Slot):
        if not isinstance(value, (*SYMBOLIC, np.ndarray)):
            raise Mismatch(path, "a tensor", _describe(value))
        yield path, value
    elif isinstance(tree, Constant):
        if not tree.matches(value):
            raise Mismatch(path, repr(tree.value), _describe(value))
    elif isinstance(tree, Again):
        if known[tree.number] is not value:
            raise Mismatch(path, "the same object as before", f"another {_describe(value)}")
    else:
        yield from _match_parts(tree, value, path, known)


def _match_parts(tree: Branch, value: Any, path: Path, known: list[Any]) -> Iterator[tuple[Path, Any]]:
    found = parts(value)
    if found is None or found.kind is not tree.type or found.keys != tree.keys:
        raise Mismatch(path, _describe_branch(tree), _describe(value))
    list(match(tree.about, found.about, path))
    for key, part, child in zip(tree.keys, tree.parts, found.children, strict=True):
        yield from match(part, child, (*path, segment(tree.type, key)), known)
    if is_shared(type(value)):
        known.append(value)


def unopened(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The constants that hold tensors, with their paths: what cannot be opened would keep those of one call."""
    if isinstance(tree, Constant):
        if holds_tensor(tree.value) or isinstance(tree.value, Iterator):
            yield path, tree.value
    elif isinstance(tree, Branch):
        yield from unopened(tree.about, path)
        for key, part in zip(tree.keys, tree.parts, strict=True):
            yield from unopened(part, (*path, segment(tree.type, key)))


class Mismatch(Exception):
    """A value that is not built like the captured one.

    Callers say which argument it came from and raise an error of ours.
    """

    def __init__(self, path: Path, wanted: str, got: str) -> None:
        super().__init__(f"{'.'.join(path) or 'the value'}: wanted {wanted}, got {got}")
        self.path, self.wanted, self.got = path, wanted, got


@dataclass(slots=True, eq=False)
class _Opening:
    """One value, being taken apart. Containers that were met are kept, since a freed one's id may be another's."""

    leaves: list[Any] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    met: dict[int, tuple[Any, int]] = field(default_factory=dict)  # id -> the container, its number

    def __call__(self, value: Any, path: Path, parents: frozenset[int]) -> Tree:
        if isinstance(value, SYMBOLIC) and not is_on_steps(value):
            self.leaves.append(value)
            self.paths.append(path)
            return SLOT
        if id(value) in self.met:
            return Again(self.met[id(value)][1])
        found = parts(value) if id(value) not in parents else None
        if found is None:
            return Constant(_own(value))
        inside = parents | {id(value)}
        opened = tuple(
            self(child, (*path, segment(found.kind, key)), inside)
            for key, child in zip(found.keys, found.children, strict=True)
        )
        if is_shared(type(value)):
            self.met[id(value)] = value, len(self.met)
        return Branch(found.kind, found.keys, opened, flatten(found.about)[2], found.rebuild)


def is_shared(kind: type) -> bool:
    """Whether it matters that a container of a type is the same one in two places: it may be written to."""
    return not issubclass(kind, (tuple, *VIEWS))


def _own(value: Any) -> Any:
    """A constant that may be written to, as a copy."""
    return _COPIED.get(type(value), _itself)(value)


def _itself(value: Any) -> Any:
    return value


_PAST = ("past_key_values", "past_key_value", "past", "cache_params")  # arguments of decoders that are caches
_SELF, _CROSS = "decoder ", "encoder "  # with a blank, as no key of a user's

# Caches of transformers in the words of the files that onnxruntime-genai and optimum load.
_CACHE_WORDS = {
    "layers": "", "keys": "key", "values": "value", "self_attention_cache": _SELF, "cross_attention_cache": _CROSS,
    "conv_states": "conv", "recurrent_states": "recurrent",
}  # fmt: skip


def segment(kind: type, key: Any) -> str:
    """A key as a part of a leaf's name. A cache's `layers.0.keys` reads `0.key`."""
    if kind.__module__.startswith("transformers.cache_utils"):
        return _CACHE_WORDS.get(key, str(key))
    return str(key)


def name_of(path: Path) -> str:
    """The name of a leaf: the way to it, with dots. What a cache says of its layers comes behind the layer's number
    ("past_key_values.0.decoder.key"), and the number of a layer's only state is left out."""
    words = [word for word in path if word]
    for at, word in enumerate(words[:-1]):
        if word in (_SELF, _CROSS):
            words[at : at + 2] = [words[at + 1], word.strip()]
    if words[-2:] in (["conv", "0"], ["recurrent", "0"]):
        words.pop()
    return ".".join(words)


def result_name(path: Path) -> str:
    """The name of a leaf that the model returns or leaves in its arguments: a cache's is a "present" one."""
    first, dot, rest = name_of(path).partition(".")
    return f"present.{rest}" if dot and first in _PAST else f"{first}{dot}{rest}"


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return f"{text if len(text) < 60 else '…'} ({type(value).__name__})"


def _describe_branch(tree: Branch) -> str:
    named = any(isinstance(key, str) for key in tree.keys)
    return f"a {tree.type.__name__} " + (f"with {', '.join(map(str, tree.keys))}" if named else f"of {len(tree.keys)}")
