"""Names that stand for others while a model runs: put into namespaces of modules, and classes, and taken out again,
however the run ends."""

from __future__ import annotations

from typing import Any, TypeAlias

Owner: TypeAlias = "dict[str, Any] | type"
_ABSENT = object()
_put: list[tuple[Owner, str, Any]] = []  # owner, name, what it meant before


def put(owner: Owner, name: str, value: Any) -> None:
    """Let a name mean `value` in a namespace, or a class, from now on."""
    namespace = vars(owner) if isinstance(owner, type) else owner
    _put.append((owner, name, namespace.get(name, _ABSENT)))
    _let(owner, name, value)


def count() -> int:
    """How many names mean something else now."""
    return len(_put)


def take_back(*_: Any) -> None:
    """Let every name mean what it did. May be interrupted, and done again."""
    while _put:
        _let(*_put[-1])
        _put.pop()


def _let(owner: Owner, name: str, value: Any) -> None:
    if isinstance(owner, type):
        if value is not _ABSENT:
            setattr(owner, name, value)
        elif name in vars(owner):
            delattr(owner, name)
    elif value is _ABSENT:
        owner.pop(name, None)
    else:
        owner[name] = value
