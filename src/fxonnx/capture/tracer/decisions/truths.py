"""The functions of torch's that give Python a truth of data, and the condition that each asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

NOT_ONE = NotImplemented
"""What `condition_of` says of a call that asks for no truth."""


def condition_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The tensor of one element whose truth a function of torch's gives to Python; NOT_ONE for any other function."""
    condition = _CONDITIONS.get(func)
    return NOT_ONE if condition is None else condition(*args, **kwargs)


def _itself(tensor: torch.Tensor) -> Any:
    return tensor if tensor.numel() == 1 else NOT_ONE


def _item(tensor: torch.Tensor) -> Any:
    return tensor if tensor.dtype is torch.bool and tensor.numel() == 1 else NOT_ONE


def _equal(one: torch.Tensor, other: torch.Tensor) -> Any:
    return (one == other).all() if one.shape == other.shape else one.new_zeros((), dtype=torch.bool)


def _all_close(*args: Any, **kwargs: Any) -> Any:
    return torch.isclose(*args, **kwargs).all()


def _contains(tensor: torch.Tensor, element: Any) -> Any:
    return (element == tensor).any() if isinstance(element, (torch.Tensor, int, float, bool)) else NOT_ONE


_CONDITIONS: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__bool__: _itself,
    torch.Tensor.__contains__: _contains,
    torch.Tensor.allclose: _all_close,
    torch.Tensor.equal: _equal,
    torch.Tensor.is_nonzero: _itself,
    torch.Tensor.item: _item,
    torch.allclose: _all_close,
    torch.equal: _equal,
    torch.is_nonzero: _itself,
}
