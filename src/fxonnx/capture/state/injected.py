"""Names that stand for others while a model runs: put into namespaces of modules, and taken out again, however the run
ends."""

from __future__ import annotations

from typing import Any

_ABSENT = object()
_put: list[tuple[dict[str, Any], str, Any]] = []  # namespace, name, what it meant before


def put(namespace: dict[str, Any], name: str, value: Any) -> None:
    """Let a name mean `value` in a namespace from now on."""
    _put.append((namespace, name, namespace.get(name, _ABSENT)))
    namespace[name] = value


def count() -> int:
    """How many names mean something else now."""
    return len(_put)


def take_back(*_: Any) -> None:
    """Let every name mean what it did. May be interrupted, and done again."""
    while _put:
        namespace, name, before = _put[-1]
        if before is _ABSENT:
            namespace.pop(name, None)
        else:
            namespace[name] = before
        _put.pop()
