"""The ops with which a graph checks sizes and numbers, as torch.export writes them.

What is known holds; what hangs on the sizes of the inputs is assumed, as any comparison of them; what comes from data,
or is no dim, is checked at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

aten = torch.ops.aten


def _hold(condition: Any, text: str) -> None:
    """`_assert_scalar`"""
    if isinstance(condition, torch.SymBool) and condition.node.is_checked_when_called():
        condition.node.guard_log.check(condition.node, text)
    elif not condition:
        raise RuntimeError(text)


def _constrain(size: Any, min: int | None = None, max: int | None = None) -> None:
    """`sym_constrain_range`"""
    if min is not None:
        _hold(size >= min, f"{size} >= {min}")
    if max is not None:
        _hold(size <= max, f"{size} <= {max}")


def _constrain_size(size: Any, min: int | None = None, max: int | None = None) -> None:
    """`sym_constrain_range_for_size`"""
    _constrain(size, min or 0, max)


SIZE_CHECKS: dict[Any, Callable[..., None]] = {
    aten._assert_scalar.default: _hold,
    aten.sym_constrain_range.default: _constrain,
    aten.sym_constrain_range_for_size.default: _constrain_size,
}
"""op -> what it checks, of the same arguments"""
