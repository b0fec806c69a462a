"""Torch's own database of operators and sample arguments, as cases for lowerings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch.utils import _pytree as pytree

import fxonnx


@cache
def operators_by_name() -> dict[str, list[Any]]:
    """Every entry of the database; an operator has one for each of its variants. None seeds torch's random numbers, nor
    looks through the stack for a test of torch's own, which takes longer than what is tested here."""
    from torch.testing._internal import common_methods_invocations as database
    from torch.testing._internal import common_utils
    from torch.testing._internal.opinfo import core

    database.wrapper_set_seed = _unseeded
    common_utils.extract_test_fn = core.extract_test_fn = lambda: None
    found: dict[str, list[Any]] = {}
    for info in database.op_db:
        found.setdefault(info.name, []).append(info)
    return found


def _unseeded(operator: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The call alone, where the database seeds before it: no file draws the numbers that torch draws."""
    return operator(*args, **kwargs)


def samples(name: str, dtype: torch.dtype, limit: int) -> Iterator[tuple[Callable[..., Any], list[torch.Tensor]]]:
    """Functions of tensors alone, and tensors for them: up to `limit` for each variant, spread over its samples."""
    for info in operators_by_name()[name]:
        if not info.supports_dtype(dtype, "cpu"):
            continue
        every = list(info.sample_inputs("cpu", dtype, requires_grad=False))
        for sample in every[:: max(1, -(-len(every) // limit))]:
            yield of_tensors(info.op, sample)


def of_tensors(function: Callable[..., Any], sample: Any) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """A sample's call as a function of its tensors alone, and those tensors, apart from each other in memory."""
    leaves, structure = pytree.tree_flatten(((sample.input, *sample.args), sample.kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def call(*tensors: torch.Tensor) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        args, kwargs = pytree.tree_unflatten(filled, structure)
        return function(*args, **kwargs)

    return call, [leaves[place].detach().clone() for place in places]


def check_samples(name: str, dtype: torch.dtype, limit: int = 3) -> None:
    """Compile samples of an operator and compare dtype, shape and values with torch."""
    for function, tensors in samples(name, dtype, limit):
        expected = function(*(tensor.clone() for tensor in tensors))
        found = fxonnx.compile(function, tuple(tensors))(*tensors)
        torch.testing.assert_close(found, expected, equal_nan=True)
