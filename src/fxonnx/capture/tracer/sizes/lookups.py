"""Plain numbers of iterations, which a run whose loops are rolled up cannot follow: where they look up tensors, what is
found tells; anything else may be another thing at greater lengths.

outputs[t - 1]     states[t] = h     a tensor is where it comes from
schedule[t]        bin(t)            nobody knows what further iterations find
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, product
from types import FrameType
from typing import Any

import torch
from torch import nn

from fxonnx.capture.locate import is_users
from fxonnx.capture.syntax import around
from fxonnx.capture.tracer.sizes.text import Key
from fxonnx.ir.dims import Dim, Expr, evaluate

_MOST_KEYS = 32
_MOST_HASHED = 5
_LARGEST_STEP = 65  # by which a size is divided before it is looked up: x.shape[2] // 16
_DOORS = (
    "torch/__init__.py", "experimental/sym_node.py", "modules/container.py", "tracer/torch_private.py",
    "python/iterations.py", "python/keys.py",
)  # fmt: skip


def tells_by_what_it_finds() -> bool:
    """Whether the number that Python asks for now is of no consequence but for a tensor that it finds, or is none of
    the model's own questions."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_users(frame.f_code.co_filename):
        file = frame.f_code.co_filename
        if "/sizes/" not in file and not file.endswith(_DOORS):
            return True
        frame = frame.f_back
    match around(frame)[-1:] if frame is not None else ():
        case [ast.Subscript(ctx=ast.Store() | ast.Del())]:
            return True
        case [ast.Subscript(value=value)] if frame is not None:
            return _holds_tensors(_value(value, frame))
    return False


def _value(node: ast.expr, frame: FrameType) -> Any:
    """What a name, or an attribute of one, is in a frame; None for what is computed."""
    match node:
        case ast.Name(id=name):
            return frame.f_locals.get(name, frame.f_globals.get(name))
        case ast.Attribute(value=owner, attr=name):
            return getattr(_value(owner, frame), name, None)
    return None


def _holds_tensors(value: Any) -> bool:
    """Whether nothing but tensors, modules and places for them are in a collection."""
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (torch.Tensor, nn.Module)) or value is None:
        return value is not None
    return isinstance(value, (list, tuple, Mapping)) and all(each is None or _holds_tensors(each) for each in parts)


def looked_up(given: Mapping[str, int], keys: Collection[Key], dims: Sequence[Expr]) -> Iterator[dict[str, int]]:
    """Sizes at which something is among the keys that the model looks it up in: each of the `given` and all together,
    and the `dims` of which plain numbers are made, which stand in a key in their order."""
    for key in sorted(keys, key=lambda key: (len(key) == 1, key))[:_MOST_KEYS]:
        if len(key) == 1:
            yield from ({**given, name: key[0]} for name in given)
            yield dict.fromkeys(given, key[0])
        count = min(len(key), len(dims))
        for chosen, numbers in product(combinations(dims, count), combinations(key, count)):
            sizes = [_size_at(dim, number) for dim, number in zip(chosen, numbers, strict=True)]
            names = [next(iter(dim.symbols)) for dim in chosen]
            if None not in sizes and len(set(names)) == len(names):
                yield {**given, **{name: size for name, size in zip(names, sizes, strict=True) if size is not None}}


def alike(given: Mapping[str, int], hashed: Collection[Dim]) -> Iterator[dict[str, int]]:
    """Sizes at which two of what was hashed are one key: {n, m} has one element, a cache one entry for both."""
    known = (dim for dim in hashed if isinstance(dim, Expr) and len(dim.symbols) == 1 and dim.symbols <= given.keys())
    dims = sorted(known, key=str)
    for one, other in combinations(dims[:_MOST_HASHED], 2):
        sizes = {**given, next(iter(other.symbols)): _size_at(other, evaluate(one, given)) or 0}
        if evaluate(one, sizes) == evaluate(other, sizes):
            yield sizes


def _size_at(dim: Expr, number: int) -> int | None:
    """A size at which a dim of it is a number, where it is that, or a part of it."""
    name = next(iter(dim.symbols))
    steps = range(1, _LARGEST_STEP)
    candidates = (near + rest for step in steps for near in (number * step, number // step) for rest in (0, 1, -1))
    return next((size for size in candidates if size > 0 and evaluate(dim, {name: size}) == number), None)
