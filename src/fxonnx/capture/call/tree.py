"""Nested arguments and results as flat leaves, and back.

Tuples, lists, dicts, dataclasses, whatever is registered with `torch.utils._pytree` (transformers' ModelOutput), and
plain objects that hold tensors (transformers' caches) are opened; nothing is registered anywhere on the user's
behalf. A tensor leaf is a value; every other leaf is a constant that belongs to the structure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias

import torch

# the face of torch's pytrees that other libraries register with; torch.export takes the same registry
from torch.utils import _pytree as pytree

Path: TypeAlias = "tuple[str, ...]"
SYMBOLIC = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the next value goes."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A leaf that is no tensor: it is part of what was captured, and a later call must bring an equal one."""

    value: Any

    def matches(self, other: Any) -> bool:
        """Whether `other` may stand in for the captured constant."""
        mine = self.value
        if mine is other:
            return True
        return (
            type(mine) is type(other)
            and isinstance(mine, _COMPARABLE)
            and (mine == other or (mine != mine and other != other))
        )


@dataclass(frozen=True, slots=True)
class Branch:
    """A container: its type, the names of its parts, the parts, and how to put it together again.

    `rebuild` follows from the other fields.
    """

    type: type
    keys: tuple[Any, ...]
    parts: tuple[Tree, ...]
    rebuild: Callable[[list[Any]], Any] = dataclasses.field(compare=False, repr=False)


Tree: TypeAlias = Slot | Constant | Branch

SLOT = Slot()
_COMPARABLE = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    tuple,
    frozenset,
    slice,
)
_CLOSED = (torch.nn.Module, FunctionType, type, torch.Generator)


def flatten(value: Any) -> tuple[list[Any], list[Path], Tree]:
    """Take `value` apart: its tensor (and symbolic) leaves, the path to each, and the structure that `unflatten`
    fills again."""
    leaves: list[Any] = []
    paths: list[Path] = []
    tree = _open(value, (), leaves, paths, frozenset())
    return leaves, paths, tree


def unflatten(tree: Tree, leaves: Iterable[Any]) -> Any:
    """Put a structure together again, taking one leaf for every slot, in order."""
    return _fill(tree, iter(leaves))


def _fill(tree: Tree, leaves: Iterator[Any]) -> Any:
    if isinstance(tree, Slot):
        return next(leaves)
    if isinstance(tree, Constant):
        return tree.value
    return tree.rebuild([_fill(part, leaves) for part in tree.parts])


def match(tree: Tree, value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves of `value` in the order of `tree`'s slots, with their paths.

    Raises Mismatch where `value` is not built alike.
    """
    if isinstance(tree, Slot):
        if not isinstance(value, SYMBOLIC):
            raise Mismatch(path, "a tensor", _describe(value))
        yield path, value
        return
    if isinstance(tree, Constant):
        if not tree.matches(value):
            raise Mismatch(path, repr(tree.value), _describe(value))
        return
    parts = _parts(value)
    if parts is None or parts[0] is not tree.type or parts[1] != tree.keys:
        raise Mismatch(path, _describe_branch(tree), _describe(value))
    for key, part, child in zip(tree.keys, tree.parts, parts[2], strict=True):
        yield from match(part, child, (*path, _segment(tree.type, key)))


class Mismatch(Exception):
    """A value that is not built like the captured one.

    Callers say which argument it came from and raise an error of ours.
    """

    def __init__(self, path: Path, wanted: str, got: str) -> None:
        super().__init__(f"{'.'.join(path) or 'the value'}: wanted {wanted}, got {got}")
        self.path, self.wanted, self.got = path, wanted, got


def _open(value: Any, path: Path, leaves: list[Any], paths: list[Path], parents: frozenset[int]) -> Tree:
    if isinstance(value, SYMBOLIC):
        leaves.append(value)
        paths.append(path)
        return SLOT
    parts = _parts(value) if id(value) not in parents else None
    if parts is None:
        return Constant(value)
    kind, keys, children, rebuild = parts
    inside = parents | {id(value)}
    opened = tuple(
        _open(child, (*path, _segment(kind, key)), leaves, paths, inside)
        for key, child in zip(keys, children, strict=True)
    )
    return Branch(kind, keys, opened, rebuild)


Parts: TypeAlias = "tuple[type, tuple[Any, ...], list[Any], Callable[[list[Any]], Any]]"


def _parts(value: Any) -> Parts | None:
    """A container's type, keys, children and rebuilder; None for a leaf."""
    kind = type(value)
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor, torch.dtype, torch.device)):
        return None
    if kind is tuple or kind is list:
        return kind, tuple(range(len(value))), list(value), kind
    if kind is dict:
        keys = tuple(value)
        return kind, keys, list(value.values()), lambda children: dict(zip(keys, children, strict=True))
    return _registered(value) or _dataclass(value) or _object(value)


def _registered(value: Any) -> Parts | None:
    """One level of a type that torch's pytree registry knows."""
    children, spec = pytree.tree_flatten(value, is_leaf=lambda node: node is not value)
    if len(children) == 1 and children[0] is value:
        return None
    return (
        type(value),
        _registered_keys(value, len(children)),
        children,
        lambda parts: pytree.tree_unflatten(parts, spec),
    )


def _registered_keys(value: Any, count: int) -> tuple[Any, ...]:
    """Names for the children of a registered type, as far as it tells them."""
    keys = tuple(value) if isinstance(value, Mapping) else getattr(value, "_fields", ())
    return keys if len(keys) == count else tuple(range(count))


def _dataclass(value: Any) -> Parts | None:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    names = tuple(field.name for field in dataclasses.fields(value))
    return _attributes(value, names)


def _object(value: Any) -> Parts | None:
    """A plain object, opened when it holds a tensor, or is a cache (the model writes into it, so it must be ours to
    give away)."""
    if isinstance(value, _CLOSED) or callable(value) or not hasattr(value, "__dict__"):
        return None
    if not type(value).__name__.endswith("Cache") and not _holds_tensor(vars(value), 3):
        return None
    return _attributes(value, tuple(vars(value)))


def _attributes(value: Any, names: tuple[str, ...]) -> Parts:
    kind = type(value)

    def rebuild(children: list[Any]) -> Any:
        made = object.__new__(kind)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(made, name, child)  # a frozen dataclass refuses plain assignment
        return made

    return kind, names, [getattr(value, name) for name in names], rebuild


def _holds_tensor(value: Any, depth: int) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    if depth == 0 or isinstance(value, _CLOSED):
        return False
    if isinstance(value, dict):
        return any(_holds_tensor(item, depth - 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(item, depth - 1) for item in value)
    return hasattr(value, "__dict__") and _holds_tensor(vars(value), depth - 1)


_CACHE_WORDS = {"layers": "", "keys": "key", "values": "value"}


def _segment(kind: type, key: Any) -> str:
    """A key as a part of a leaf's name. A cache's `layers.0.keys` reads `0.key`."""
    if kind.__module__.startswith("transformers.cache_utils"):
        return _CACHE_WORDS.get(key, str(key))
    return str(key)


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
