"""What a meta kernel asks of sizes that the model's own line depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def is_told_by_data(comparison: Any) -> bool:
    """Whether only data tells what a comparison is."""
    node = comparison.node if isinstance(comparison, torch.SymBool) else None
    return node is not None and node.comes_from_data and node.statically_known() is None


def is_open(comparison: Any) -> bool:
    """Whether it can be asked: where data tells, somebody has to go both ways."""
    if not is_told_by_data(comparison):
        return True
    decide = comparison.node.guard_log.decide
    return decide is not None and decide() is not None


def said_or_checked(comparison: Any, ask: Callable[[Any], bool] = bool) -> bool:
    """What is asked of dims; of a number that no dim says, what it is in the run, which each call is checked for."""
    node = comparison.node if isinstance(comparison, torch.SymBool) else None
    if node is None or node.comes_from_data or not node.is_checked_when_called():
        return ask(comparison)
    with _as_the_models(node.guard_log):
        (node if node.hint else node.sym_not()).expect_true()
    return bool(node.hint)


def assume(comparison: Any) -> bool:
    """What a comparison is in this run, logged as a guard of the model's own: the result depends on it."""
    if not isinstance(comparison, torch.SymBool):
        return bool(comparison)
    with _as_the_models(comparison.node.guard_log):
        return bool(comparison)


@contextmanager
def _as_the_models(guard_log: Any) -> Iterator[None]:
    """What is asked here is asked by a line of the model's, not inside of an op."""
    op, guard_log.op = guard_log.op, ""
    try:
        yield
    finally:
        guard_log.op = op
