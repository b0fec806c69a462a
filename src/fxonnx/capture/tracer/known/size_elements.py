"""The elements of small tensors that are computed of sizes: sizes again, where Python asks for one.

    shapes = torch.tensor([[h, w], [h // 2, w // 2]])
    x.split(shapes.prod(1).tolist(), 1)                  [h*w, (h//2)*(w//2)]
    torch.div(n, 8, rounding_mode="trunc")               n // 8
    torch.ceil((n - self.kernel) / self.stride)          ceil of a quotient, where self.kernel is a buffer

Else they would be numbers that come from data, of which nothing is known.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from fxonnx.capture.graph.views import storage
from fxonnx.capture.tracer.known.ramps import Ramps
from fxonnx.capture.tracer.known.values import KnownValues, name_of
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.capture.tracer.torch_private import eager

_MOST = 64  # elements
_MOST_DEEP = 100  # calls, one computed of the other
_WHOLE = (torch.int64, torch.int32)
_DTYPES = (*_WHOLE, torch.float32, torch.float64, torch.bool)
_EXACT = 2**22  # below it quotients of whole numbers, and their sums with such, are rounded as they are in float64


class _NoSizes(Exception):
    """An element hangs on something else than on sizes and on what is known."""


@dataclass(slots=True, eq=False)
class SizeElements:
    """The elements of one tape's tensors, as far as they are sizes; `known` are those that are plain numbers."""

    known: KnownValues
    _found: dict[fx.Node, Any] = field(default_factory=dict)
    _depth: int = 0  # of what is being computed
    _ramps: Ramps = field(init=False)

    def __post_init__(self) -> None:
        self._ramps = Ramps(self.known)

    def item(self, node: fx.Node) -> Any:
        """The one number of a tensor; None where it is not computed of sizes, and is not the same for all of them."""
        found = self._item(node)
        if found is not None:
            self.known.note_use(node, of_sizes=True)
        return found

    def _item(self, node: fx.Node) -> Any:
        try:
            found = self._elements(node)
            if found.size != 1:
                return None
            is_float = node.meta["val"].dtype.is_floating_point
            return torch.sym_float(_exact(found.item())) if is_float else found.item()
        except _NoSizes:
            return self._ramps.item(node)

    def content(self, node: fx.Node) -> Any:
        """What is known of a tensor's elements, to be compared with another tape's; None where nothing is."""
        plain = self.known.content(node)
        if plain is not None:
            return plain
        try:
            return self._elements(node).tolist()
        except _NoSizes:
            return None

    def _elements(self, node: fx.Node) -> np.ndarray:
        """The elements of a tensor as objects, in its shape."""
        value = node.meta.get("val")
        if not _is_small(value) or self.known.is_lost(storage(value)):
            raise _NoSizes
        if node not in self._found:
            self._found[node] = self._computed_or_none(node)
        found = self._found[node]
        if found is None:
            raise _NoSizes
        return found

    def _computed_or_none(self, node: fx.Node) -> np.ndarray | None:
        """None of what is no number of sizes, or is computed of them in more calls than anybody writes."""
        if self._depth == _MOST_DEEP:
            return None
        self._depth += 1
        try:
            return self._computed(node)
        except _NoSizes:
            return None
        finally:
            self._depth -= 1

    def _computed(self, node: fx.Node) -> np.ndarray:
        plain = self.known.value(node)
        if plain is not None:
            with eager():
                return plain.detach().numpy().astype(object)
        if node.target is operator.getitem:
            many, index = node.args
            return self._computed_by(many)[index]
        return _array(self._computed_by(node))

    def _computed_by(self, node: fx.Node) -> Any:
        kernel = _KERNELS.get(name_of(node.target))
        if kernel is None:
            raise _NoSizes
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._operand)
        try:
            return kernel(*args, **kwargs)
        except (TypeError, ZeroDivisionError):  # an overload that takes other arguments; inf
            raise _NoSizes from None

    def _operand(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        return value if isinstance(value, (torch.SymInt, torch.SymFloat)) else self._elements(node)


def _is_small(value: Any) -> bool:
    is_plain = isinstance(value, torch.Tensor) and not value._has_symbolic_sizes_strides
    return is_plain and value.dtype in _DTYPES and value.numel() <= _MOST


def _array(values: Any, shape: Sequence[int] = ()) -> np.ndarray:
    """An array of objects of a list of them, or of a lone one."""
    if isinstance(values, np.ndarray):
        return values
    found = np.empty(shape, object)
    for at, each in enumerate(values if isinstance(values, list) else [values]):
        found.flat[at] = each
    return found


def _filled(size: Sequence[int], value: Any, **options: Any) -> np.ndarray:
    return np.broadcast_to(_array(value), tuple(size))


def _itself(x: Any, *others: Any, **options: Any) -> Any:
    return x


def _selected(x: Any, dim: int, index: Any) -> Any:
    if not isinstance(index, int):
        raise _NoSizes
    return x.take(index, dim)


def _sliced(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    if not all(each is None or isinstance(each, int) for each in (start, end)):
        raise _NoSizes
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _squeezed(x: Any, dim: Any = None) -> Any:
    axes = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return x.squeeze(tuple(axis for axis in axes if x.shape[axis] == 1))


def _divided(x: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return x / other
    if not _are_whole(x, other) or not (rounding_mode == "floor" or _are_natural(x, other)):
        raise _NoSizes
    return x // other


def _are_whole(*numbers: Any) -> bool:
    return all(isinstance(each, (int, torch.SymInt)) for many in numbers for each in _array(many).flat)


def _are_natural(*numbers: Any) -> bool:
    """Whether none of these numbers is negative, for any size."""
    return all(
        each >= 0 if isinstance(each, int) else each.node.guard_log.statically_known(">=", dim_of(each), 0) is True
        for many in numbers
        for each in _array(many).flat
    )


def _rounded(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """A quotient of dims as a whole number: in float32 too, for dims that are not too great."""

    def of_one(number: Any) -> Any:
        if isinstance(number, torch.SymFloat):
            log, quotient = number.node.guard_log, number.node.quotient
            if quotient is None:
                raise _NoSizes
            _exact(sym_size(quotient[0], log))
        return function(number)

    return lambda x: _array([of_one(each) for each in x.flat], x.shape)


def _exact(number: Any) -> Any:
    """A whole number that float32 has room for, which the model holds for."""
    if not _are_whole(number) or not number <= _EXACT:
        raise _NoSizes
    return number


_truncated = _rounded(math.trunc)


def _converted(x: Any, dtype: Any = None, *others: Any, **options: Any) -> Any:
    dtype = options.get("dtype", dtype)
    return _truncated(x) if dtype in _WHOLE else x


def _reduced(function: Any) -> Callable[..., Any]:
    def reduce(x: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
        axis = (tuple(dim) or None) if isinstance(dim, list) else dim
        return function.reduce(x, axis=axis, keepdims=keepdim)

    return reduce


def _compared(relation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A comparison of whole numbers, which float32 may not tell of others."""
    each = np.frompyfunc(relation, 2, 1)

    def compare(x: Any, other: Any) -> Any:
        if not _are_whole(x, other):
            raise _NoSizes
        return each(x, other)

    return compare


_sym_max, _sym_min = (np.frompyfunc(each, 2, 1) for each in (torch.sym_max, torch.sym_min))
_KERNELS: dict[str, Callable[..., Any]] = {
    "full": _filled,
    "scalar_tensor": _itself,
    **dict.fromkeys(("clone", "detach", "alias", "contiguous", "lift_fresh_copy"), _itself),
    **dict.fromkeys(("to", "_to_copy"), _converted),
    "stack": lambda tensors, dim=0: np.stack(tensors, dim),
    **dict.fromkeys(("cat", "concat"), lambda tensors, dim=0: np.concatenate(tensors, dim)),
    "select": _selected,
    "slice": _sliced,
    "unbind": lambda x, dim=0: [_array(each) for each in np.moveaxis(x, dim, 0)],
    "unsqueeze": np.expand_dims,
    "squeeze": _squeezed,
    **dict.fromkeys(("view", "reshape"), lambda x, shape: x.reshape(shape)),
    "permute": np.transpose,
    "transpose": np.swapaxes,
    "t": np.transpose,
    "flip": np.flip,
    "add": lambda x, other, alpha=1: x + other * alpha,
    **dict.fromkeys(("sub", "subtract"), lambda x, other, alpha=1: x - other * alpha),
    "rsub": lambda x, other, alpha=1: other - x * alpha,
    **dict.fromkeys(("mul", "multiply"), operator.mul),
    **dict.fromkeys(("neg", "negative"), operator.neg),
    "floor_divide": lambda x, other: _divided(x, other, rounding_mode="floor"),
    **dict.fromkeys(("div", "divide", "true_divide"), _divided),
    "ceil": _rounded(math.ceil),
    "floor": _rounded(math.floor),
    "trunc": _truncated,
    "remainder": operator.mod,
    "maximum": _sym_max,
    "minimum": _sym_min,
    **{name: _compared(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "sum": _reduced(np.add),
    "prod": _reduced(np.multiply),
    "cumsum": np.cumsum,
    "max": lambda x: _sym_max.reduce(x, axis=None),
    "min": lambda x: _sym_min.reduce(x, axis=None),
}
"""op -> what it computes, of arrays of sizes"""


__all__ = ["SizeElements"]
