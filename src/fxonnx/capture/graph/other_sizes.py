"""A call at other sizes than those of the run: torch's meta kernel computes it there, which costs microseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import torch
from torch.utils._pytree import tree_map

from fxonnx.capture.assumption import RELATIONS, Assumption
from fxonnx.ir.dims import Dim, evaluate, symbols_of

REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, LookupError, ArithmeticError)
"""What torch's kernels, many of which are in Python, raise for arguments that they do not take."""

_TRIED = (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 60, 101, 256, 1000, 4099, 2**20, 2**25)
_PROBES = 3  # of each comparison


def other_branch(
    comparison: Assumption, hints: Mapping[str, int], more: Sequence[int] = (), *, most: int | None = _PROBES
) -> Iterator[dict[str, int]]:
    """Sizes at which a comparison comes out otherwise, and at `most` so many: one dim has another size, or that of
    another dim, or one of `more`."""
    return islice(_other_branch(comparison, hints, more), most)


def _other_branch(
    comparison: Assumption, hints: Mapping[str, int], more: Sequence[int]
) -> Iterator[dict[str, int]]:
    difference = comparison.left - comparison.right
    for name in sorted(symbols_of([difference]) & hints.keys()):
        for size in (*more, *_TRIED, *hints.values()):
            sizes = {**hints, name: size}
            with suppress(KeyError, ZeroDivisionError):
                if not RELATIONS[comparison.relation](evaluate(difference, sizes), 0):
                    yield sizes


def at_sizes(arguments: Any, dim: Callable[[Any], Dim], sizes: Mapping[str, int]) -> Any:
    """Arguments with these sizes for dims, and tensors on the meta device. Raises KeyError for a dim that has none."""

    def concrete(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            shape, strides = ([evaluate(dim(each), sizes) for each in dims] for dims in (leaf.shape, leaf.stride()))
            return torch.empty_strided(shape, strides, dtype=leaf.dtype, device="meta")
        return evaluate(dim(leaf), sizes) if isinstance(leaf, torch.SymInt) else leaf

    return tree_map(concrete, arguments)
