"""What torch compares inside an op, besides checking its arguments: most of it chooses how memory is laid out, some of
it what the result is. A transform of 10 points pads the axis or cuts it, tensor_split(3) makes pieces of two sizes.

Which of the two it is shows at sizes where the choice is the other one: the op is asked again, of plain tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import torch
from torch.utils._pytree import tree_map

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.tracer.sizes.guards import Guard
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import (
    REFUSALS,
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
    no_python_dispatcher,
)
from fxonnx.ir.dims import evaluate, symbols_of

_TRIED = (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 60, 101, 256, 1000, 4099, 2**20, 2**25)
_ASKED = 3  # points at which an op is asked again


def branch_matters(
    choice: Guard, func: Any, arguments: Any, result: Any, mode: FakeTensorMode, hints: Mapping[str, int]
) -> bool:  # fmt: skip
    """Whether an op that chose by sizes inside has results of other sizes where the choice is the other one. `hints`
    are the sizes of this run."""
    if not choice.inside or choice.relation == "==":
        return False
    points = islice(_otherwise(choice, hints), _ASKED)
    return any(not _agrees(func, arguments, result, mode, sizes) for sizes in points)


def _agrees(func: Any, arguments: Any, result: Any, mode: FakeTensorMode, sizes: Mapping[str, int]) -> bool:
    """Whether the op's result has the sizes that were found, where the dims have these. What it refuses is the
    runtime's to refuse, and where a dim is divided by 0 nothing is said."""
    try:
        with in_kernel_invocation_manager(mode), no_python_dispatcher():
            args, kwargs = tree_map(lambda leaf: _plain(leaf, sizes), arguments)
            return bool(_sizes(func(*args, **kwargs), sizes) == _sizes(result, sizes))
    except REFUSALS:
        return True


def _otherwise(choice: Guard, hints: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Sizes for which a comparison comes out otherwise: one dim has another size, or that of another dim."""
    difference = choice.left - choice.right
    for name in sorted(symbols_of([difference]) & hints.keys()):
        for size in (*_TRIED, *hints.values()):
            sizes = {**hints, name: size}
            with suppress(KeyError, ZeroDivisionError):
                if not RELATIONS[choice.relation](evaluate(difference, sizes), 0):
                    yield sizes


def _plain(leaf: Any, sizes: Mapping[str, int]) -> Any:
    """An argument without symbols."""
    if isinstance(leaf, FakeTensor):
        shape, strides = ([evaluate(dim_of(each), sizes) for each in dims] for dims in (leaf.shape, leaf.stride()))
        return torch.empty_strided(shape, strides, dtype=leaf.dtype, device="meta")
    return evaluate(dim_of(leaf), sizes) if isinstance(leaf, torch.SymInt) else leaf


def _sizes(result: Any, sizes: Mapping[str, int]) -> Any:
    """The sizes of a result."""
    if isinstance(result, (list, tuple)):
        return [_sizes(each, sizes) for each in result]
    return [evaluate(dim_of(each), sizes) for each in result.shape] if isinstance(result, torch.Tensor) else None
