"""Branch probes: whether what torch compares inside an op, besides checking its arguments, chooses its result.

Most of it chooses how memory is laid out, some of it what the result is: a transform of 10 points pads the axis or cuts
it, tensor_split(3) makes pieces of two sizes. Which of the two it is shows at sizes that take the other branch: torch's
meta kernel computes the op there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
_PROBES = 3  # of each guard


def branch_matters(
    guard: Guard, func: Any, arguments: Any, result: Any, mode: FakeTensorMode, hints: Mapping[str, int]
) -> bool:  # fmt: skip
    """Whether an op that compared sizes inside has results of other shapes on the other branch. `hints` are the sizes
    of this run."""
    if not guard.inside or guard.relation == "==":
        return False
    points = islice(_other_branch(guard, hints), _PROBES)
    return any(not _agrees(func, arguments, result, mode, sizes) for sizes in points)


def data_matters(
    guard: Guard, func: Any, arguments: Any, result: Any, mode: FakeTensorMode, values: Mapping[str, int]
) -> bool:  # fmt: skip
    """The same of sizes that come from data, which may be anything."""
    points = _other_branch(guard, values, (0, 1))
    return any(not _agrees(func, arguments, result, mode, sizes) for sizes in points)


def _agrees(func: Any, arguments: Any, result: Any, mode: FakeTensorMode, sizes: Mapping[str, int]) -> bool:
    """Whether the op's result has the shape that was found, where the dims have these sizes. What it refuses is the
    runtime's to refuse, and a dim that is divided by 0 tells nothing."""
    try:
        with in_kernel_invocation_manager(mode), no_python_dispatcher():
            args, kwargs = tree_map(lambda leaf: _concrete(leaf, sizes), arguments)
            return bool(_shapes(func(*args, **kwargs), sizes) == _shapes(result, sizes))
    except REFUSALS:
        return True


def _other_branch(guard: Guard, hints: Mapping[str, int], more: Sequence[int] = ()) -> Iterator[dict[str, int]]:
    """Sizes at which a guard does not hold: one dim has another size, or that of another dim."""
    difference = guard.left - guard.right
    for name in sorted(symbols_of([difference]) & hints.keys()):
        for size in (*more, *_TRIED, *hints.values()):
            sizes = {**hints, name: size}
            with suppress(KeyError, ZeroDivisionError):
                if not RELATIONS[guard.relation](evaluate(difference, sizes), 0):
                    yield sizes


def _concrete(leaf: Any, sizes: Mapping[str, int]) -> Any:
    """An argument without symbols."""
    if isinstance(leaf, FakeTensor):
        shape, strides = ([evaluate(dim_of(each), sizes) for each in dims] for dims in (leaf.shape, leaf.stride()))
        return torch.empty_strided(shape, strides, dtype=leaf.dtype, device="meta")
    return evaluate(dim_of(leaf), sizes) if isinstance(leaf, torch.SymInt) else leaf


def _shapes(result: Any, sizes: Mapping[str, int]) -> Any:
    """The shapes of a result's tensors."""
    if isinstance(result, (list, tuple)):
        return [_shapes(each, sizes) for each in result]
    return [evaluate(dim_of(each), sizes) for each in result.shape] if isinstance(result, torch.Tensor) else None
