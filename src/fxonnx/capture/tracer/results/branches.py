"""Branch probes: whether what torch compares inside an op, besides checking its arguments, chooses its result.

Most of it chooses how memory is laid out, some of it what the result is: a transform of 10 points pads the axis or cuts
it. Which of the two it is shows at sizes that take the other branch: torch's meta kernel computes the op there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fxonnx.capture.graph.other_sizes import REFUSALS, at_sizes, other_branch
from fxonnx.capture.tracer.sizes.guards import Guard
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import (
    FakeTensorMode,
    in_kernel_invocation_manager,
    no_python_dispatcher,
)
from fxonnx.ir.dims import evaluate


def branch_matters(
    guard: Guard, func: Any, arguments: Any, result: Any, mode: FakeTensorMode, hints: Mapping[str, int]
) -> bool:  # fmt: skip
    """Whether an op that compared sizes inside has results of other shapes on the other branch. `hints` are the sizes
    of this run."""
    if not guard.inside or guard.relation == "==":
        return False
    return any(not _agrees(func, arguments, result, mode, sizes) for sizes in other_branch(guard, hints))


def data_matters(
    guard: Guard, func: Any, arguments: Any, result: Any, mode: FakeTensorMode, values: Mapping[str, int]
) -> bool:  # fmt: skip
    """The same of sizes that come from data, which may be anything."""
    points = other_branch(guard, values, (0, 1), most=None)
    return any(not _agrees(func, arguments, result, mode, sizes) for sizes in points)


def _agrees(func: Any, arguments: Any, result: Any, mode: FakeTensorMode, sizes: Mapping[str, int]) -> bool:
    """Whether the op's result has the shape that was found, where the dims have these sizes. What it refuses is the
    runtime's to refuse, and a dim that is divided by 0 tells nothing."""
    try:
        with in_kernel_invocation_manager(mode), no_python_dispatcher():
            args, kwargs = at_sizes(arguments, dim_of, sizes)
            return bool(_shapes(func(*args, **kwargs), sizes) == _shapes(result, sizes))
    except REFUSALS:
        return True


def _shapes(result: Any, sizes: Mapping[str, int]) -> Any:
    """The shapes of a result's tensors."""
    if isinstance(result, (list, tuple)):
        return [_shapes(each, sizes) for each in result]
    return [evaluate(dim_of(each), sizes) for each in result.shape] if isinstance(result, torch.Tensor) else None
