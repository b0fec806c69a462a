"""Names that stand for others while a model runs: put into namespaces of modules, and classes, and taken out again,
however the run ends."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Owner: TypeAlias = "dict[str, Any] | type"
_IMMUTABLE = 1 << 8  # of the flags of a class: C defines it, setattr refuses it
_NOTHING: Mapping[str, Any] = {}
_put: list[tuple[Owner, Mapping[str, Any], Mapping[str, Any]]] = []  # owner, names, what those it had meant before


def put(owner: Owner, names: Mapping[str, Any]) -> None:
    """Let names mean other values in a namespace, or a class, from now on. They are put into thousands of namespaces at
    each run of a model, most of which have none of them."""
    own = vars(owner) if isinstance(owner, type) else owner
    before = _NOTHING if own.keys().isdisjoint(names) else {name: own[name] for name in names if name in own}
    _put.append((owner, names, before))
    _let(owner, names)


def count() -> int:
    """In how many places names mean something else now."""
    return len(_put)


def take_back(*_: Any) -> None:
    """Let every name mean what it did. May be interrupted, and done again."""
    while _put:
        owner, names, before = _put[-1]
        _remove(owner, names.keys() - before.keys() if before else names)
        _let(owner, before)
        _put.pop()


def _let(owner: Owner, names: Mapping[str, Any]) -> None:
    if isinstance(owner, dict):
        owner.update(names)
    elif owner.__flags__ & _IMMUTABLE:
        _names_in_c(owner).update(names)
        _forget_found(owner)
    else:
        for name, value in names.items():
            setattr(owner, name, value)


def _remove(owner: Owner, names: Iterable[str]) -> None:
    if isinstance(owner, dict):
        for name in names:
            owner.pop(name, None)
    elif owner.__flags__ & _IMMUTABLE:
        _remove(_names_in_c(owner), names)
        _forget_found(owner)
    else:
        for name in names:
            if name in vars(owner):
                delattr(owner, name)


def _names_in_c(owner: type) -> dict[str, Any]:
    """What the class reads its names from, behind the view of it that `vars` gives."""
    (names,) = gc.get_referents(vars(owner))
    return names


def _forget_found(owner: type) -> None:
    """Let the interpreter look up anew what it has found in a class so far."""
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))
