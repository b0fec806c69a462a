"""What the functions of this room have in common: a body of its own for each, for calls that have a size where the
schema says a plain number."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def is_size(value: Any) -> bool:
    """Whether it is a size, or has one: a None in a list stands for one of the input."""
    if isinstance(value, torch.Tensor):
        return is_size(tuple(value.shape))
    if isinstance(value, (list, tuple)):
        return any(each is None or is_size(each) for each in value)
    return isinstance(value, (torch.SymInt, torch.SymFloat))


def where_sizes(body: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """The body, which has the function's own parameters, where a size is among the arguments that it says it takes, or
    a tensor in the place of a number, which torch reads; it returns NotImplemented for what it does not say."""
    signature = inspect.signature(body)
    sized = [name for name, each in signature.parameters.items() if "Size" in str(each.annotation)]
    numbers = [name for name in sized if signature.parameters[name].annotation in ("Size", "Sizes")]

    def either(func: Any, args: Any, kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return func(*args, **kwargs)
        given.arguments.update({name: read(given.arguments[name]) for name in numbers if name in given.arguments})
        has_size = any(is_size(given.arguments.get(name)) for name in sized)
        result = body(*given.args, **given.kwargs) if has_size else NotImplemented
        return func(*args, **kwargs) if result is NotImplemented else result

    return either


def read(value: Any) -> Any:
    """A number, or several, where tensors without axes stand for them: what torch reads of these."""
    if isinstance(value, (list, tuple)):
        return [read(each) for each in value] if any(isinstance(each, torch.Tensor) for each in value) else value
    return value.item() if isinstance(value, torch.Tensor) and not value.dim() else value


Size = Any  # an int, a torch.SymInt, or a torch.SymFloat that is computed of sizes
Sizes = Any  # one for each axis, or one for all
OfSizes = Any  # a tensor whose shape has some


def each_of(value: Any, count: int) -> list[Any]:
    """One for each axis, where it is one for all."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * count if len(values) == 1 else values
