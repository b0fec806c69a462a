"""Ops on lists of tensors, as the calls for each tensor that they stand for.

    torch._foreach_add([a, b], [c, d], alpha=2)   ──▶   [torch.add(a, c, alpha=2), torch.add(b, d, alpha=2)]
    torch._foreach_mul_([a, b], [0.5, 2.0])       ──▶   a.mul_(0.5), b.mul_(2.0)
    torch.unbind_copy(x, out=[a, b])              ──▶   a.copy_(x[0]), b.copy_(x[1])

So torch's kernels for the CPU do it (ATen/native/ForeachOpsKernels.cpp); on GPUs one kernel does the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

_PREFIX = "_foreach_"
_OF_ONE = {  # what an op does to one tensor, where that is not the op of its name
    "maximum.Scalar": "clamp_min",
    "maximum.ScalarList": "clamp_min",
    "minimum.Scalar": "clamp_max",
    "minimum.ScalarList": "clamp_max",
    "norm.Scalar": "linalg_vector_norm",
    "powsum.Scalar": "linalg__powsum",
}
_BY_NAME = frozenset({"alpha", "dtype", "memory_format", "value"})  # arguments of the op of one tensor


@cache
def composed_of_lists(func: Any) -> Callable[..., Any] | None:
    """How an op on lists is composed of others, a function of it and its arguments; None for all others."""
    if not isinstance(func, torch._ops.OpOverload):
        return None
    if torch.Tag.out in func.tags:
        return None if func._schema.returns else write_to_places
    return each_of_lists if func.__name__.startswith(_PREFIX) else None


def each_of_lists(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
    """The result for each tensor; None of an op that writes them in place. Raises RuntimeError, as torch does, where
    there are no tensors, or lists differ in length."""
    arguments = func._schema.arguments
    given = {each.name: value for each, value in zip(arguments, args, strict=False)} | kwargs
    if isinstance(numbers := given.get("scalars"), torch.Tensor):
        given["scalars"] = [each.item() for each in numbers.unbind()]
    lists: dict[str, Sequence[Any]] = {name: value for name, value in given.items() if isinstance(value, (list, tuple))}
    _check_lengths(lists)
    of_one = _of_one(func)
    found = []
    for row in zip(*lists.values(), strict=True):
        ones = given | dict(zip(lists, row, strict=True))
        if "tensor2" in ones and "scalars" in ones:
            ones["value"] = ones.pop("scalars")
        named = {name: ones.pop(name) for name in _BY_NAME & ones.keys()}
        found.append(of_one(*ones.values(), **named))
    return None if func._schema.name.endswith("_") else found


def write_to_places(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Each result, copied into its place. Raises RuntimeError where there are more places, or fewer."""
    places = kwargs["out"]
    found = func.overloadpacket(*args, **{name: value for name, value in kwargs.items() if name != "out"})
    if len(found) != len(places):
        raise RuntimeError(f"{func.overloadpacket}: expected an out= list of {len(found)} tensors, got {len(places)}")
    for place, each in zip(places, found, strict=True):
        place.copy_(each)


def _of_one(func: Any) -> Any:
    """The op of one tensor, of whichever overload fits."""
    name, _, overload = func.__name__.removeprefix(_PREFIX).partition(".")
    plain = name.removesuffix("_")
    return getattr(torch.ops.aten, _OF_ONE.get(f"{plain}.{overload}", plain) + name[len(plain) :])


def _check_lengths(lists: dict[str, Sequence[Any]]) -> None:
    first, *others = (len(each) for each in lists.values())
    if not first:
        raise RuntimeError("Tensor list must have at least one tensor.")
    if "scalars" in lists and len(lists["scalars"]) != first:
        raise RuntimeError("Tensor list must have same number of elements as scalar list.")
    for other in others:
        if other != first:
            raise RuntimeError(f"Tensor lists must have the same number of tensors, got {first} and {other}")
