"""`range`, `enumerate` and `len` as the model's files see them in a run whose loops are to be rolled up.

`range(n)` gives numbers that are plain, and that floats are computed of as of sizes: 0.9 ** t, t / n and math.cos(t)
stand on the tape as they were computed, so that what they are in each iteration can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from fxonnx.capture.tracer.python.types import SizeRange
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import IntNode


class Iteration(torch.SymInt):
    """A plain number as a size without symbols. It is hashed and written as a number is."""

    __slots__ = ()

    @staticmethod
    def of(number: int, guard_log: GuardLog) -> Iteration:
        """The number."""
        return Iteration(IntNode(number, number, guard_log))

    def __hash__(self) -> int:
        return hash(int(self))

    def __repr__(self) -> str:
        return str(self.node.text())

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(int(self.node.text()), form)


def counting(guard_log: GuardLog, known: dict[str, Any]) -> dict[str, Any]:
    """name of a builtin -> what stands for it, where the `known` ones do for sizes."""

    def numbers(*args: Any) -> Any:
        found = known["range"](*args)
        has_size = any(isinstance(each, torch.SymInt) for each in args)
        return [Iteration.of(int(each), guard_log) for each in found] if has_size else found

    def numbered(values: Iterable[Any], start: int = 0) -> Iterator[tuple[Any, Any]]:
        for number, each in enumerate(values, int(start)):
            yield Iteration.of(number, guard_log) if _has_tensor(each) else number, each

    def length(value: Any, /) -> Any:
        found = known["len"](value)
        is_recorded = isinstance(found, int) and isinstance(value, (list, tuple)) and any(map(_is_of_loop, value[:1]))
        return Iteration.of(found, guard_log) if is_recorded else found

    return {"range": _range(numbers), "enumerate": numbered, "len": length}


def _range(numbers: Any) -> Any:
    """A class that is taken for `range`, whose calls are these."""
    kind: Any = type("range", (type(SizeRange),), {"__call__": lambda _, *args: numbers(*args)})
    return kind("range", (), {})


def _is_of_loop(value: Any) -> bool:
    """Whether an element of a list may be what one iteration left."""
    return isinstance(value, torch.SymInt) or _has_tensor(value)


def _has_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or (isinstance(value, tuple) and any(map(_has_tensor, value)))
