"""Tensors that count along their axes, however long those are: what is asked of them holds for every size.

    positions = torch.arange(n)[None]                          element [i, j] is 0 + 0·i + 1·j
    steps = torch.diff(positions, prepend=positions[:, :1] - 1)   all are 1: the first is taken off what is 1 less
    if ((steps != 1).cumsum(-1)[:, -1] == 0).all():            yes, for every n

Else such a truth would come from data, and the model be captured both ways.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.known.values import KnownValues, name_of
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import eager

_DTYPES = (torch.int64, torch.int32, torch.bool)


class _NoRamp(Exception):
    """The elements do not count along the axes, or it is not seen that they do."""


@dataclass(frozen=True, slots=True, eq=False)
class Ramp:
    """A tensor whose element [i, j, …] is start + steps[0]·i + steps[1]·j + …: `start` is a number or a size."""

    start: Any
    steps: tuple[int, ...]
    shape: Sequence[Any]

    @property
    def is_uniform(self) -> bool:
        """Whether all elements are one and the same."""
        return not any(step for step, size in zip(self.steps, self.shape, strict=True) if not _is_one(size))

    def broadcast(self, rank: int) -> tuple[int, ...]:
        """The steps along the axes of what it is broadcast to; along one of size 1 nothing is counted."""
        steps = (0 if _is_one(size) else step for step, size in zip(self.steps, self.shape, strict=True))
        return (*[0] * (rank - len(self.steps)), *steps)


@dataclass(slots=True, eq=False)
class Ramps:
    """The ramps among one tape's tensors; `known` are those that are plain numbers."""

    known: KnownValues
    _found: dict[fx.Node, Ramp | None] = field(default_factory=dict)

    def item(self, node: fx.Node) -> Any:
        """The one number of a tensor; None where it is not made of ramps, or is a size."""
        try:
            ramp = self._ramp(node)
        except _NoRamp:
            return None
        start = ramp.start if all(map(_is_one, ramp.shape)) else None
        return start if isinstance(start, (bool, int)) else None

    def _ramp(self, node: fx.Node) -> Ramp:
        value = node.meta.get("val")
        is_whole = isinstance(value, torch.Tensor) and value.dtype in _DTYPES
        if not is_whole or self.known.is_lost(storage(value)):
            raise _NoRamp
        if node not in self._found:
            self._found[node] = self._computed(node, value)
        found = self._found[node]
        if found is None:
            raise _NoRamp
        return found

    def _computed(self, node: fx.Node, value: Any) -> Ramp | None:
        try:
            plain = self.known.value(node)
            if plain is not None:
                return _measured(plain)
            kernel = _KERNELS.get(name_of(node.target))
            if kernel is None:
                return None
            start, steps = kernel(value.dim(), *fx.map_arg(node.args, self._operand), **_options(node))
            return Ramp(_converted(start, steps, value.dtype), tuple(steps), value.shape)
        except (_NoRamp, TypeError):  # an overload that takes other arguments
            return None

    def _operand(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        return value if isinstance(value, torch.SymInt) else self._ramp(node)


def _options(node: fx.Node) -> dict[str, Any]:
    """What a kernel may be told by name; where and how a result is stored is no matter of its elements."""
    return {name: each for name, each in node.kwargs.items() if name in ("alpha", "dim", "step")}


def _converted(start: Any, steps: Sequence[int], dtype: torch.dtype) -> Any:
    """The first element as one of a dtype; truths count as 0 and 1, and numbers are true but for 0."""
    if dtype is not torch.bool:
        return int(start) if isinstance(start, bool) else start
    if any(steps) or not isinstance(start, (bool, int)):
        raise _NoRamp
    return bool(start)


def _measured(plain: torch.Tensor) -> Ramp | None:
    """The ramp that a tensor with known elements is."""
    with eager():
        if not plain.numel():
            return None
        first = plain.flatten()[0]
        steps = [int(plain.select(axis, 1).flatten()[0]) - int(first) if size > 1 else 0
                 for axis, size in enumerate(plain.shape)]  # fmt: skip
        counted = first.long()
        for axis, (step, size) in enumerate(zip(steps, plain.shape, strict=True)):
            along = [-1 if each == axis else 1 for each in range(plain.dim())]
            counted = counted + (torch.arange(size) * step).view(along)
        return Ramp(first.item(), tuple(steps), plain.shape) if bool((counted == plain).all()) else None


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _difference(one: Any, other: Any) -> int:
    """By how much numbers or sizes differ, for every size."""
    dims = (dim_of(each) if isinstance(each, torch.SymInt) else int(each) for each in (one, other))
    found = operator.sub(*dims)
    if not isinstance(found, int):
        raise _NoRamp
    return found


# ── what makes ramps, of the rank of the result and an op's arguments ──

Made = tuple[Any, Sequence[int]]


def _counted(rank: int, *bounds: Any) -> Made:
    start, step = (bounds[0] if len(bounds) > 1 else 0), (bounds[2] if len(bounds) > 2 else 1)
    if not isinstance(start, (int, torch.SymInt)) or not isinstance(step, int):
        raise _NoRamp
    return start, [step]


def _filled(rank: int, like: Any, value: Any) -> Made:
    if not isinstance(value, (bool, int)):
        raise _NoRamp
    return value, [0] * rank


def _itself(rank: int, x: Ramp, *others: Any) -> Made:
    return x.start, x.steps


def _unsqueezed(rank: int, x: Ramp, dim: int) -> Made:
    at = dim % rank
    return x.start, (*x.steps[:at], 0, *x.steps[at:])


def _squeezed(rank: int, x: Ramp, *dims: Any) -> Made:
    axes = range(len(x.steps)) if not dims else dims[0] if isinstance(dims[0], list) else dims
    gone = {axis % len(x.steps) for axis in axes if _is_one(x.shape[axis])}
    return x.start, [step for axis, step in enumerate(x.steps) if axis not in gone]


def _expanded(rank: int, x: Ramp, size: Any, implicit: bool = False) -> Made:
    return x.start, x.broadcast(rank)


def _transposed(rank: int, x: Ramp, one: int = 0, other: int = 1) -> Made:
    steps = list(x.steps)
    steps[one], steps[other] = steps[other], steps[one]
    return x.start, steps


def _permuted(rank: int, x: Ramp, dims: Sequence[int]) -> Made:
    return x.start, [x.steps[dim] for dim in dims]


def _selected(rank: int, x: Ramp, dim: int, index: Any) -> Made:
    at, step = dim % len(x.steps), x.steps[dim]
    place = index if not step or index >= 0 else x.shape[dim] + index
    return (x.start + step * place if step else x.start), [*x.steps[:at], *x.steps[at + 1 :]]


def _sliced(rank: int, x: Ramp, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Made:
    first, at = start or 0, dim % rank
    if x.steps[at] and not (isinstance(first, int) and first >= 0):
        raise _NoRamp  # from the end, of which as much is taken as there is
    moved = x.start + x.steps[at] * first if x.steps[at] else x.start
    return moved, [*x.steps[:at], x.steps[at] * step, *x.steps[at + 1 :]]


def _joined(rank: int, parts: Sequence[Ramp], dim: int = 0) -> Made:
    """Parts of which each goes on where the one before it ends."""
    at = dim % rank
    step = next((part.steps[at] for part in parts if not _is_one(part.shape[at])), None)
    if step is None:
        step = _difference(parts[1].start, parts[0].start) if len(parts) > 1 else 0
    steps = [*parts[0].broadcast(rank)[:at], step, *parts[0].broadcast(rank)[at + 1 :]]
    place = parts[0].start
    for part in parts:
        along = [*part.broadcast(rank)[:at], step, *part.broadcast(rank)[at + 1 :]]
        goes_on = _is_one(part.shape[at]) or part.steps[at] == step
        if not goes_on or along != steps or _difference(part.start, place):
            raise _NoRamp
        place = place + step * part.shape[at]
    return parts[0].start, steps


def _stepped(rank: int, x: Ramp, n: int = 1, dim: int = -1, before: Any = None, after: Any = None) -> Made:
    """The differences of neighbours, which are the step."""
    if n != 1:
        raise _NoRamp
    _, steps = _joined(rank, [part for part in (before, x, after) if part is not None], dim)
    return steps[dim], [0] * rank


def _summed(sign: int) -> Callable[..., Made]:
    def combine(rank: int, x: Any, other: Any, alpha: int = 1) -> Made:
        (start, steps), (added, more) = _of(rank, x), _of(rank, other)
        factor = sign * alpha
        return start + factor * added, [step + factor * each for step, each in zip(steps, more, strict=True)]

    return combine


def _of(rank: int, x: Any) -> Made:
    """A ramp, or a number, along the axes of what it is broadcast to."""
    if isinstance(x, Ramp):
        return int(x.start) if isinstance(x.start, bool) else x.start, x.broadcast(rank)
    if not isinstance(x, (int, torch.SymInt)):
        raise _NoRamp
    return x, [0] * rank


def _multiplied(rank: int, x: Ramp, factor: Any) -> Made:
    if isinstance(factor, Ramp) and factor.is_uniform:
        factor = factor.start
    if not isinstance(factor, int):
        raise _NoRamp
    return x.start * factor, [step * factor for step in x.broadcast(rank)]


def _cumulative(rank: int, x: Ramp, dim: int) -> Made:
    if not x.is_uniform or not isinstance(x.start, (bool, int)):
        raise _NoRamp
    return int(x.start), [int(x.start) if axis == dim % rank else 0 for axis in range(rank)]


def _compared(relation: Callable[[Any, Any], bool]) -> Callable[..., Made]:
    def compare(rank: int, x: Any, other: Any) -> Made:
        (start, steps), (against, more) = _of(rank, x), _of(rank, other)
        if list(steps) != list(more):
            raise _NoRamp
        return relation(_difference(start, against), 0), [0] * rank

    return compare


def _negated(rank: int, x: Ramp) -> Made:
    if not x.is_uniform or not isinstance(x.start, (bool, int)):
        raise _NoRamp
    return not x.start, [0] * rank


def _agreed(of_none: bool) -> Callable[..., Made]:
    """What all() or any() says of elements that are one and the same; of none at all they say what they say of none, so
    that there has to be one."""

    def agree(rank: int, x: Ramp, *axes: Any) -> Made:
        if not x.is_uniform or not isinstance(x.start, (bool, int)):
            raise _NoRamp
        if bool(x.start) is not of_none and not all(map(_is_some, x.shape)):
            raise _NoRamp
        return bool(x.start), [0] * rank

    return agree


def _is_some(size: Any) -> bool:
    """Whether a size is not 0, whatever the sizes that it is made of; those of inputs are asked about by themselves."""
    if isinstance(size, int):
        return size > 0
    return size.node.guard_log.statically_known(">=", dim_of(size), 1) is True


_KERNELS: dict[str, Callable[..., Made]] = {
    "arange": _counted,
    "full": _filled,
    "zeros": lambda rank, size: (0, [0] * rank),
    "ones": lambda rank, size: (1, [0] * rank),
    **dict.fromkeys(("to", "_to_copy", "clone", "detach", "alias", "contiguous", "lift_fresh_copy"), _itself),
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "expand": _expanded,
    **dict.fromkeys(("transpose", "t"), _transposed),
    "permute": _permuted,
    "select": _selected,
    "slice": _sliced,
    **dict.fromkeys(("cat", "concat"), _joined),
    "diff": _stepped,
    "add": _summed(1),
    **dict.fromkeys(("sub", "subtract"), _summed(-1)),
    **dict.fromkeys(("mul", "multiply"), _multiplied),
    "cumsum": _cumulative,
    **{name: _compared(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "logical_not": _negated,
    "all": _agreed(True),
    "any": _agreed(False),
}
"""op -> the ramp that it makes of ramps"""


__all__ = ["Ramps"]
