"""Iterators that a model keeps. What `next` takes of one nobody can put back, and a file takes nothing: so none is
taken while the model is captured."""

from __future__ import annotations

import linecache
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from types import CellType, FunctionType
from typing import Any, NoReturn

from fxonnx.capture.locate import is_users, strip
from fxonnx.capture.state.snapshot import slots_of
from fxonnx.errors import CaptureRefused
from fxonnx.location import Location


class Kept:
    """What forward sees in the place of an iterator that was there before the call."""

    def __init__(self, name: str) -> None:
        self.name = strip(name) or "the model"

    def __iter__(self) -> Kept:
        """Itself, as of every iterator."""
        return self

    def __next__(self) -> NoReturn:
        """Refuse: raises CaptureRefused."""
        raise CaptureRefused(
            f"forward takes the next element of an iterator that it keeps: {self.name}",
            cause="each call takes another one, and a file does the same at each call",
            cure="keep the elements in a list or tensor, and in a buffer (register_buffer) how many are taken",
            location=_asking_line(),
        )

    send = throw = __next__


def _asking_line() -> Location:
    frame = sys._getframe(2)
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return Location(file=file, line=line, function=frame.f_code.co_name, code=linecache.getline(file, line).strip())


@dataclass(frozen=True, slots=True)
class Place:
    """Where an iterator is kept: a container, a class, a module, an object with slots or a function; the key or the
    name of the attribute there, nothing for the defaults of a function; and a name for messages."""

    owner: Any
    key: Any
    name: str

    def now(self) -> Any:
        """What is there."""
        if isinstance(self.owner, FunctionType) and self.key:
            return self._cell().cell_contents
        if isinstance(self.owner, (dict, list, deque)):
            return self.owner[self.key]
        return getattr(self.owner, self.key or "__defaults__")

    def exchange(self, value: Any) -> Any:
        """Put another value there; what was there."""
        before = self.now()
        if isinstance(self.owner, FunctionType) and self.key:
            self._cell().cell_contents = value
        elif isinstance(self.owner, (dict, list, deque)):
            self.owner[self.key] = value
        else:
            setattr(self.owner, self.key or "__defaults__", value)
        return before

    def _cell(self) -> CellType:
        return self.owner.__closure__[self.owner.__code__.co_freevars.index(self.key)]


@contextmanager
def kept(places: Iterable[Place]) -> Iterator[None]:
    """Exchange iterators for what refuses to be one."""
    with ExitStack() as stack:
        for place in places:
            before = place.exchange(None)
            stack.callback(place.exchange, before)
            place.exchange(_refusing(before, place.name))
        yield


def holds_iterator(value: Any) -> bool:
    """Whether it is one, or a tuple of some."""
    return _is_iterator(value) or (type(value) is tuple and any(map(holds_iterator, value)))


def _is_iterator(value: Any) -> bool:
    """Whether a value is an iterator of Python's own, a generator too: its state is in no attribute."""
    kind: Any = type(value)
    return _has_no_attributes(kind)


@cache
def _has_no_attributes(kind: Any) -> bool:
    return issubclass(kind, Iterator) and not kind.__dictoffset__ and not slots_of(kind)


def _refusing(value: Any, name: str) -> Any:
    if type(value) is tuple:
        return tuple(_refusing(each, name) for each in value)
    return Kept(name) if _is_iterator(value) else value
