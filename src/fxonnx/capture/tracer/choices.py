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

from fxonnx.capture.tracer.decisions import RELATIONS, Decision
from fxonnx.capture.tracer.symbols import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, in_kernel_invocation_manager, no_python_dispatcher
from fxonnx.ir.dims import evaluate, symbols_of

_TRIED = (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 60, 101, 256, 1000, 4099, 2**20, 2**25)
_ASKED = 3  # points at which an op is asked again


def is_by_size(choice: Decision, func: Any, arguments: Any, result: Any, hints: Mapping[str, int]) -> bool:
    """Whether an op that chose by sizes inside has results of other sizes where the choice is the other one. `hints`
    are the sizes of this run."""
    if not choice.inside or choice.relation == "==":
        return False
    return any(not _agrees(func, arguments, result, sizes) for sizes in islice(_otherwise(choice, hints), _ASKED))


def _agrees(func: Any, arguments: Any, result: Any, sizes: Mapping[str, int]) -> bool:
    """Whether the op's result has the sizes that were found, where the dims have these. What it refuses is the
    runtime's to refuse, and where a dim is divided by 0 nothing is said."""
    try:
        args, kwargs = _plain(arguments, sizes)
        mode = next(each.fake_mode for each in torch.utils._pytree.tree_leaves(arguments) if _is_fake(each))
        with in_kernel_invocation_manager(mode), no_python_dispatcher():
            return bool(_sizes(func(*args, **kwargs), sizes) == _sizes(result, sizes))
    except Exception:  # noqa: BLE001 (whatever a kernel raises)
        return True


def _otherwise(choice: Decision, hints: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Sizes for which a comparison comes out otherwise: one dim has another size, or that of another dim."""
    difference = choice.left - choice.right
    for name in sorted(symbols_of([difference]) & hints.keys()):
        for size in (*_TRIED, *hints.values()):
            sizes = {**hints, name: size}
            with suppress(KeyError, ZeroDivisionError):
                if not RELATIONS[choice.relation](evaluate(difference, sizes), 0):
                    yield sizes


def _plain(value: Any, sizes: Mapping[str, int]) -> Any:
    """Arguments without symbols."""
    if isinstance(value, (list, tuple)):
        return [_plain(each, sizes) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each, sizes) for name, each in value.items()}
    if _is_fake(value):
        shape, strides = ([evaluate(dim_of(each), sizes) for each in dims] for dims in (value.shape, value.stride()))
        with in_kernel_invocation_manager(value.fake_mode):
            return torch.empty_strided(shape, strides, dtype=value.dtype, device="meta")
    return evaluate(dim_of(value), sizes) if isinstance(value, torch.SymInt) else value


def _is_fake(value: Any) -> bool:
    return isinstance(value, FakeTensor)


def _sizes(result: Any, sizes: Mapping[str, int]) -> Any:
    """The sizes of a result."""
    if isinstance(result, (list, tuple)):
        return [_sizes(each, sizes) for each in result]
    return [evaluate(dim_of(each), sizes) for each in result.shape] if isinstance(result, torch.Tensor) else None
