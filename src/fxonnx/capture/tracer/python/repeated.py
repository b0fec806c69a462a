"""Lists that are repeated as often as a size says: `[0] * n`, `[seconds] * batch`, `[x] * n + [y]`.

    torch.tensor([0] * n) ──▶ torch.tensor([0]).repeat(n)        torch.cat([x] * n) ──▶ x.repeat(n, 1)

Only who goes through one, takes elements of it or changes it asks how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.tracer.python.pieces import JOINS


class Repeated(list[Any]):
    """A list of `parts`, each of them some elements and how often they come. As soon as somebody asks for elements it
    is the list of them, and has no parts."""

    parts: list[tuple[list[Any], Any]] | None = None

    @staticmethod
    def of(parts: list[tuple[list[Any], Any]]) -> Repeated:
        """None of its elements are there yet."""
        self = Repeated()
        self.parts = parts
        return self

    def open(self) -> None:
        """Be the list of the elements, of which there are as many as the sizes are plain numbers."""
        parts, self.parts = self.parts or [], None
        for elements, times in parts:
            plain = index(times)
            if isinstance(times, torch.SymInt):
                times.node.guard_log.keep_count(times.node.dim, plain)
            list.extend(self, elements * plain)

    @property
    def all(self) -> list[Any]:
        """The elements, for who asks how many there are."""
        self.open()
        return list.copy(self)

    @property
    def length(self) -> Any:
        """How many there are, as a size."""
        if self.parts is None:
            return list.__len__(self)
        return sum(len(elements) * torch.sym_max(times, 0) for elements, times in self.parts)

    def elements(self) -> list[Any]:
        """One of each."""
        return list.copy(self) if self.parts is None else [each for elements, _ in self.parts for each in elements]

    def tensor(self, made: Callable[[list[Any]], torch.Tensor]) -> torch.Tensor:
        """A tensor of all, where one of some elements can be `made`."""
        if self.parts is None:
            return made(list.copy(self))
        return _joined([(made(elements), times) for elements, times in self.parts if elements], 0)

    def joined(self, join: Callable[..., torch.Tensor], dim: int = 0) -> torch.Tensor | None:
        """What torch.stack or torch.cat makes of tensors, else None."""
        elements = self.elements()
        ranks = {each.dim() if isinstance(each, torch.Tensor) else 0 for each in elements}
        if self.parts is None or len(ranks) != 1 or (ranks == {0} and join is not torch.stack):
            return None
        return _joined([(join(each, dim), times) for each, times in self.parts if each], dim)

    def __mul__(self, times: Any) -> Any:
        if self.parts is None or len(self.parts) > 1 or not isinstance(times, (int, torch.SymInt)):
            return repeated(self.all, times) if isinstance(times, torch.SymInt) else self.all * times
        ((elements, before),) = self.parts
        return Repeated.of([(elements, torch.sym_max(before, 0) * times)])

    __rmul__ = __mul__

    def __add__(self, other: Any) -> Any:
        return NotImplemented if not isinstance(other, list) else Repeated.of([*_parts(self), *_parts(other)])

    def __radd__(self, other: Any) -> Any:
        return NotImplemented if not isinstance(other, list) else Repeated.of([*_parts(other), *_parts(self)])

    def __iadd__(self, other: Any) -> Any:
        self.extend(other)
        return self

    def append(self, value: Any) -> None:
        """One more."""
        self.extend([value])

    def extend(self, values: Any) -> None:
        """Some more, of which a list need not be gone through."""
        if self.parts is not None and isinstance(values, list):
            self.parts = [*self.parts, *_parts(values)]
        else:
            self.open()
            list.extend(self, values)

    def __bool__(self) -> bool:
        return bool(self.length > 0)


def _parts(values: list[Any]) -> list[tuple[list[Any], Any]]:
    parts = values.parts if isinstance(values, Repeated) else None
    return [(list.copy(values), 1)] if parts is None else parts


def _joined(tensors: list[tuple[torch.Tensor, Any]], dim: int) -> torch.Tensor:
    """Tensors, each as often as is said beside it."""
    rows = []
    for tensor, times in tensors:
        counts = [1] * tensor.dim()
        counts[dim] = torch.sym_max(times, 0)
        rows.append(tensor if isinstance(times, int) and times == 1 else tensor.repeat(counts))
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim)


def _opening(name: str) -> Callable[..., Any]:
    """A method of lists, on the elements."""
    method = getattr(list, name)

    def opened(self: Repeated, *args: Any, **kwargs: Any) -> Any:
        self.open()
        return method(self, *args, **kwargs)

    return opened


for _name in (
    "__contains__", "__delitem__", "__eq__", "__ge__", "__getitem__", "__gt__", "__iter__", "__le__",
    "__len__", "__lt__", "__ne__", "__repr__", "__reversed__", "__setitem__", "clear", "copy", "count", "index",
    "insert", "pop", "remove", "reverse", "sort",
):  # fmt: skip
    setattr(Repeated, _name, _opening(_name))

# a result that holds one holds a list
pytree.register_pytree_node(Repeated, lambda each: (each.all, None), lambda children, _: list(children))


def repeated(values: list[Any], times: Any) -> Any:
    """A list, as often as a size says."""
    known = times.node.maybe_as_int()
    if known is not None or not values:
        return values * known if known is not None else []
    return values * times if isinstance(values, Repeated) else Repeated.of([(list(values), times)])


def _over(multiply: Callable[..., Any]) -> Callable[..., Any]:
    def product(size: torch.SymInt, other: Any) -> Any:
        return repeated(other, size) if type(other) in (list, Repeated) else multiply(size, other)

    return product


PRODUCTS = {"__mul__": _over(torch.SymInt.__mul__), "__rmul__": _over(torch.SymInt.__rmul__)}
"""name of a method of sizes -> what they have for it: `[0] * n` asks for a plain number else"""


def joined_lists(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor | None:
    """What torch.stack or torch.cat makes of such a list of tensors; None for all others."""
    given = {"dim": 0, **dict(zip(("tensors", "dim"), args, strict=False))}
    given |= {"dim" if name == "axis" else name: each for name, each in kwargs.items()}
    lists = given.get("tensors")
    if func not in JOINS or given.keys() != {"tensors", "dim"} or not isinstance(lists, Repeated):
        return None
    return lists.joined(func, given["dim"])


def opened_lists(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Arguments with the elements of such lists, for torch, which looks into no class of ours."""
    return tuple(map(_opened, args)), {name: _opened(each) for name, each in kwargs.items()}


def _opened(value: Any) -> Any:
    return value.all if type(value) is Repeated else value
