"""Sizes that no dim says, floats that the model rounds: `int(n * 0.3)`. Each run has symbols of its own for them; the
tape on which its calls are played knows them by the same names, of floats of its own sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fxonnx.capture.tracer.loops.calls import filled
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.steps import Leaf, real
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.data import Rounded
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import sym_size
from fxonnx.ir.dims import Dim


def know_rounded(tape: Tape, runs: Sequence[GuardLog], fit: Callable[[Sequence[Any]], Dim | None]) -> None:
    """Let a tape compute what runs at several lengths have rounded, before the bodies that may read it; `fit` says what
    a number of theirs is at all lengths. Raises NotRolled where they have rounded other floats."""
    log = tape.cache.guard_log
    for name, first in runs[0].rounded.items():
        found = [each.rounded[name] for each in runs if name in each.rounded]
        forms, leaves = zip(*map(_form, found), strict=True)
        if len(found) < len(runs) or len(set(forms)) > 1:
            raise NotRolled("it rounds another float of sizes at another length")
        sources = [_alike(column, fit) for column in zip(*leaves, strict=True)]
        number = filled(forms[0][-1], iter(sources), lambda each: sym_size(each, log) if _is_dim(each) else each)
        log.know_rounded(name, replace(first, number=number.node), number.node.any_dim())
    for each in runs[0].rounded.values():
        tape.operand(sym_size(each.dim, log))


def _form(rounded: Rounded) -> tuple[Any, list[Leaf]]:
    """How a rounded float is computed, with holes; and what is in those."""
    leaves: list[Leaf] = []
    return (rounded.dim, rounded.rounding, rounded.sign, real(rounded.number, lambda dim: dim, leaves)), leaves


def _alike(column: Sequence[Any], fit: Callable[[Sequence[Any]], Dim | None]) -> Any:
    """What a size, or a number, in a float is at all lengths."""
    if not _is_dim(column[0]) and len(set(column)) == 1:
        return column[0]
    found = fit(column) if all(map(_is_dim, column)) else None
    if found is None:
        raise NotRolled("it rounds a float that is made of other numbers at another length")
    return found


def _is_dim(value: Any) -> bool:
    return not isinstance(value, float)
