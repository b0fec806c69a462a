"""What an argument of an op may be: a strategy for every kind that the table's templates name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import hypothesis.strategies as st
import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor

DTYPES = (torch.float32, torch.int64, torch.bool, torch.float64, torch.int32, torch.float16, torch.uint8)


def broadcasts(one: Tensor, other: Tensor) -> bool:
    """Whether torch broadcasts them."""
    pairs = zip(reversed(one.shape), reversed(other.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def broadcasts_to(one: Tensor, other: Tensor) -> bool:
    """Whether `one` broadcasts to the shape of `other`."""
    pairs = zip(reversed(one.shape), reversed(other.shape), strict=False)
    return one.dim() <= other.dim() and all(a in (b, 1) for a, b in pairs)


# Tensors by dtype; `float>=2` asks for a rank too.
CLASSES: Mapping[str, Callable[[Tensor], bool]] = {
    "any": lambda value: True,
    "number": lambda value: value.dtype is not torch.bool,
    "float": lambda value: value.dtype.is_floating_point,
    "integer": lambda value: not value.dtype.is_floating_point and value.dtype is not torch.bool,
    "bool": lambda value: value.dtype is torch.bool,
}

MEMBERS = re.compile(r"(any|number|float|integer|bool)(?:(>=|==)([0-9]))?")

# Tensors by what they are to another one, `x`.
RELATIONS: Mapping[str, Callable[[Tensor, Tensor], bool]] = {
    "like": lambda value, x: value.dtype is x.dtype and broadcasts(value, x),
    "same": lambda value, x: value.dtype is x.dtype and value.shape == x.shape,
    "typed": lambda value, x: value.dtype is x.dtype,
    "broadcast": lambda value, x: broadcasts(value, x),
    "into": lambda value, x: broadcasts_to(value, x),
    "shaped": lambda value, x: value.shape == x.shape,
    "along": lambda value, x: value.dtype is x.dtype and value.dim() == x.dim(),
    "right": lambda value, x: value.dtype is x.dtype and value.dim() in (1, 2) and len(value) == len(x),
    "part": lambda value, x: value.dtype is x.dtype and value.shape == x.shape[1:],
}


class Scope:
    """What a statement can name, with the values at the example's sizes; the newest first, which is the simplest."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.sizes: dict[str, int] = {}

    def add(self, name: str, value: object) -> None:
        """Make a value known by its name; tensors of a tuple by their index."""
        if isinstance(value, Tensor):
            self.tensors[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            self.sizes[name] = int(value)
        elif isinstance(value, tuple | list):
            for index, each in enumerate(value[:3]):
                self.add(f"{name}[{index}]", each)

    def which(self, wanted: Callable[[Tensor], bool]) -> list[str]:
        """The names of tensors that are wanted."""
        return [name for name, value in reversed(self.tensors.items()) if wanted(value)]


def argument(kind: str, scope: Scope, chosen: Mapping[str, str]) -> SearchStrategy[str]:
    """Strategy: an argument of a kind, as it is written; `chosen` are those before it.

    Where nothing in scope is of the kind, the strategy is empty.
    """
    word, *rest = kind.split(" ")
    if word == "=":
        return st.sampled_from([each for each in rest if each])
    if word == "size":
        return sizes(scope)
    if word in FIXED:
        return st.sampled_from(FIXED[word])
    if word in RELATIONS:
        return related(word, scope, scope.tensors[chosen[rest[0]]], rest[1] if rest[1:] else "any")
    if word in OF_TENSOR:
        return OF_TENSOR[word](scope.tensors[chosen[rest[0]]], *rest[1:])
    return members(kind, scope)


def members(kind: str, scope: Scope) -> SearchStrategy[str]:
    """Strategy: a tensor of a dtype class, of a rank where the kind says one."""
    name, sign, rank = MEMBERS.fullmatch(kind).groups("0")
    fits = {">=": int.__ge__, "==": int.__eq__, "0": int.__ge__}[sign]
    return _one_of(scope.which(lambda value: CLASSES[name](value) and fits(value.dim(), int(rank))))


def related(word: str, scope: Scope, x: Tensor, kind: str) -> SearchStrategy[str]:
    """Strategy: a tensor that is something to another one."""
    return _one_of(scope.which(lambda value: CLASSES[kind](value) and RELATIONS[word](value, x)))


def _one_of(names: list[str]) -> SearchStrategy[str]:
    return st.sampled_from(names) if names else st.nothing()


def sizes(scope: Scope) -> SearchStrategy[str]:
    """Strategy: a Python number: a size in scope, an axis of a tensor, a small constant."""
    names = list(scope.sizes)
    axes = [f"{name}.shape[{axis}]" for name, value in list(scope.tensors.items())[-3:] for axis in range(value.dim())]
    return st.sampled_from([*(names * 2), *axes, "2", "3", "1"])


FIXED: Mapping[str, list[str]] = {
    "flag": ["False", "True"],
    "dtype": [str(dtype) for dtype in DTYPES],
    "bound": ["", "1", "-1", "2", "-2", "0", "3", "-3", "-1 - 1", "7"],
    "step": ["1", "2", "3"],
}


def scalar(x: Tensor) -> SearchStrategy[str]:
    """Strategy: a number that suits a tensor's dtype, now and then one of another."""
    if x.dtype.is_floating_point:
        return st.sampled_from(["2", "0.5", "-1.5", "1", "0", "3", "True"])
    if x.dtype is torch.bool:
        return st.sampled_from(["True", "False"])
    return st.sampled_from(["2", "1", "3", "0", "-1" if x.dtype.is_signed else "5", "0.5"])


def _positions(rank: int) -> SearchStrategy[str]:
    return st.integers(-rank, rank - 1).map(str) if rank else st.sampled_from(["0", "-1"])


def _axes(x: Tensor) -> SearchStrategy[str]:
    if not x.dim():
        return st.just("()")
    axes = st.lists(st.integers(0, x.dim() - 1), min_size=1, max_size=x.dim(), unique=True)
    return axes.map(lambda chosen: f"({', '.join(map(str, chosen))},)")


def _position_on(x: Tensor, axis: str) -> SearchStrategy[str]:
    size = x.shape[int(axis)]
    return st.integers(-size, size - 1).map(str) if size else st.nothing()


OF_TENSOR: Mapping[str, Callable[..., SearchStrategy[str]]] = {
    "scalar": scalar,
    "dim": lambda x: _positions(x.dim()),
    "dims": _axes,
    "order": lambda x: st.permutations(range(x.dim())).map(tuple).map(str),
    "axis": _position_on,
}
