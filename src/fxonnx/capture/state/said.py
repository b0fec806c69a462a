"""Which names the code of a model says: what it does not name, others keep, and may change meanwhile.

CACHE, RESULTS = {}, []                     globals of one file

class Model: … CACHE[key] = table …         said, as are the functions of the file that its methods name, and theirs
def worker(): … RESULTS.append(…)           not said: the list of another thread is not to be put back
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from functools import _lru_cache_wrapper, cached_property, partial
from types import CodeType, FunctionType, MethodType
from typing import Any

from fxonnx.capture.state.snapshot import closed_over

_ANY = frozenset({"globals", "vars", "exec", "eval"})  # with these, code reaches what it does not name


class Names(Set[str]):
    """The names that some code says; all there are, where it reaches what it does not name."""

    def __init__(self, said: Iterable[str]) -> None:
        self._said = frozenset(said)
        self._is_all = bool(self._said & _ANY)

    def __contains__(self, name: object) -> bool:
        return self._is_all or name in self._said

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)


def names_said(code: Iterable[Any], namespaces: Iterable[Mapping[str, Any]]) -> Names:
    """The names in functions and classes, and in those that they name and the namespaces have."""
    spaces, waiting = list(namespaces), list(code)
    said: set[str] = set()
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        waiting.extend(_parts(value))
        new = set(_in_code(value.__code__)) - said if type(value) is FunctionType else set()
        said |= new
        waiting.extend(space[name] for name in new for space in spaces if name in space)
    return Names(said)


def _in_code(code: CodeType) -> Iterator[str]:
    """The names that code says: globals and attributes, in what it defines as well."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant)


def _parts(value: Any) -> Iterator[Any]:
    """The functions that a value is made of. The value is not asked: some are loaded when they are asked."""
    kind = type(value)
    if kind is FunctionType:
        yield from closed_over(value).values()
    elif issubclass(kind, type):
        yield from vars(value).values()
    elif kind in (staticmethod, classmethod, MethodType):
        yield value.__func__
    elif kind is property:
        yield from (value.fget, value.fset, value.fdel)
    elif kind in (partial, cached_property):
        yield value.func
    elif kind is _lru_cache_wrapper:
        yield value.__wrapped__
