"""What tests of lowerings share: compile a function, run it in ONNX Runtime, compare with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import fxonnx


def check(
    function: Callable[..., Any],
    *args: Any,
    dynamic: dict[str, dict[int, str]] | None = None,
    again: tuple[Any, ...] | None = None,
    opset: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> fxonnx.Compiled:
    """Compile `function` for `args` and compare dtype, shape and values with torch on them, and on `again`, the
    arguments at other sizes."""
    compiled = fxonnx.compile(function, args, dynamic_shapes=dynamic, opset=opset)
    for inputs in (args, again):
        if inputs is not None:
            expected = function(*(clone(item) for item in inputs))
            torch.testing.assert_close(compiled(*inputs), expected, rtol=rtol, atol=atol, equal_nan=True)
    return compiled


def compiled_for_draws(function: Callable[..., Any], x: torch.Tensor, **options: Any) -> fxonnx.Compiled:
    """The function for opset 21: from 22 on ONNX Runtime has no kernel for random operators."""
    return fxonnx.compile(function, (x,), opset=21, **options)


def check_draws(function: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor) -> None:
    """Compare dtype, shape, mean and deviation of thousands of draws with torch's; never the draws themselves."""
    torch.manual_seed(0)
    ours, theirs = compiled_for_draws(function, like)(like), function(like)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    ours, theirs = ours.double(), theirs.double()
    spread = max(theirs.std().item(), 1e-6)
    assert abs(ours.mean() - theirs.mean()) < 0.15 * spread  # a standard error of the difference is 0.022 of it
    assert abs(ours.std() - theirs.std()) < 0.2 * spread + 1e-6


def clone(item: Any) -> Any:
    """A copy of a tensor, so that functions that write in place leave the original alone."""
    return item.clone() if isinstance(item, torch.Tensor) else item


def operators(compiled: fxonnx.Compiled, stage: str | int = -1) -> list[str]:
    """The ONNX operators of a stage, in order."""
    found = compiled.stages[stage] if isinstance(stage, int) else next(s for s in compiled.stages if s.name == stage)
    return [node.op for node in found.graph.all_nodes()]
