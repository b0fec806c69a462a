"""Where numbers that come from data are told: those of a call in each iteration, or outside of loops those of all.

    x[i, : lengths[i]]          the number of this iteration                            Sized
    x[at : at + n]; at += n     the sum of those of the iterations before               Running
    max(lengths.tolist())       the greatest of all                                     Total
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from fxonnx.capture.tracer.loops.measures.measured import (
    Measured,
    Ref,
    Running,
    Sized,
    Total,
    less,
    with_total,
    without,
)
from fxonnx.capture.tracer.loops.periods import Irregular, NotRolled


class Flow(Protocol):
    """What is asked of the flow of values through several runs (`loops.flow.Flow` is it)."""

    def outer(self, leaves: Sequence[Any]) -> Any:
        """What a leaf is at all lengths."""

    def number(self, numbers: Sequence[Any]) -> Any:
        """What a number is at all lengths."""

    def value(self, leaves: Sequence[Any]) -> Any:
        """What tensors, or results, of each tape are."""

    def named(self, tape: int, leaf: Any) -> Any:
        """Where a result is made: outside, or in which iteration."""

    def trips(self, loop: int, tape: int) -> int:
        """How often a loop runs on a tape."""

    def counted(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Any:
        """A number that grows by the same in each iteration."""

    def inner_value(self, loop: int, leaves: Sequence[Sequence[Any]]) -> Any:
        """Where a tensor, or a result, comes from in every iteration."""


def outside(flow: Flow, leaves: Sequence[Any]) -> Any:
    """What a leaf outside of loops is at all lengths."""
    if len({len(_refs(each)) for each in leaves}) > 1:
        leaves = [_with_totals(flow, tape, each) for tape, each in enumerate(leaves)]
    if len({len(_refs(each)) for each in leaves}) > 1:
        raise NotRolled("a number is made in another way, of what data says in each iteration, at another length")
    columns = zip(*map(_refs, leaves), strict=True)
    return Sized(flow.number(list(map(_named_alike, leaves))), tuple(_told(flow.value, each) for each in columns))


def inside(flow: Flow, loop: int, leaves: Sequence[Sequence[Any]]) -> Any:
    """What a leaf of a body is in every iteration, at all lengths."""
    counts = _counts(leaves)
    if len({each for row in counts for each in row}) == 1:
        return _alike(flow, loop, leaves)
    with_totals = [[_with_totals(flow, tape, each) for each in row] for tape, row in enumerate(leaves)]
    if len({each for row in _counts(with_totals) for each in row}) == 1:
        return _alike(flow, loop, with_totals)
    try:
        return _running(flow, loop, leaves)
    except NotRolled:
        if all(each == counts[0][1] for row in counts for each in row[1:]):
            raise Irregular(loop, first=True) from None
        if all(each == counts[0][1] for row in counts for each in row[:-1]):
            raise Irregular(loop, first=False) from None
        raise


def _counts(leaves: Sequence[Sequence[Any]]) -> list[list[int]]:
    return [[len(_refs(each)) for each in row] for row in leaves]


def _with_totals(flow: Flow, tape: int, leaf: Any) -> Any:
    """A leaf with totals for what the iterations of loops have told, where it has all of them."""
    told: dict[tuple[Any, ...], dict[int, str]] = {}
    for name, ref in leaf.measures if isinstance(leaf, Measured) else ():
        if isinstance(ref, Ref) and len(named := flow.named(tape, ref)) > 2:
            told.setdefault(named[:3], {})[named[3]] = name
    for (loop, step, result), names in told.items():
        if len(names) == flow.trips(loop, tape):
            ordered = sorted(names.values())
            totals = (Total(loop, step, result, function) for function in ("sum", "amax"))
            found = (with_total(leaf, ordered, total) for total in totals)
            leaf = next((each for each in found if each is not None), leaf)
    return leaf


def _named_alike(leaf: Any) -> Any:
    return leaf.alike if isinstance(leaf, Measured) else leaf


def _told(value: Callable[[Any], Any], column: Sequence[Any]) -> Any:
    """What tells one measure: the same total everywhere, or what a step returns."""
    if not any(isinstance(each, Total) for each in column):
        return value(column)
    if len(set(column)) > 1:
        raise NotRolled("a number is made of all iterations at one length alone")
    return column[0]


def _alike(flow: Flow, loop: int, leaves: Sequence[Sequence[Any]]) -> Any:
    """A dim of as many measures in each iteration."""
    dim = flow.counted(loop, [list(map(_named_alike, row)) for row in leaves])
    sources = []
    for at in range(len(_refs(leaves[0][1]))):
        column = [[_refs(each)[at] for each in row] for row in leaves]
        totals = {each for row in column for each in row if isinstance(each, Total)}
        if totals and (len(totals) > 1 or next(iter(totals)).loop == loop):
            raise NotRolled("a number in a loop is made of all of its iterations")
        sources.append(next(iter(totals)) if totals else flow.inner_value(loop, column))
    return Sized(dim, tuple(sources))


def _running(flow: Flow, loop: int, leaves: Sequence[Sequence[Any]]) -> Running:
    """A sum that grows by what an iteration, or the one before, has told."""
    before = [_before_loops(flow, tape, row[0]) for tape, row in enumerate(leaves)]
    grown = [_steps([first, *row]) for first, row in zip(before, leaves, strict=True)]
    firsts, growing = [row[0] for row in leaves], list(map(_steps, leaves))
    for initial, growth, is_grown in ((before, grown, True), (firsts, growing, False)):
        try:
            if not is_grown and not all(_has_one_more(flow, loop, tape, row[-1]) for tape, row in enumerate(growth)):
                continue
            return Running(flow.outer(initial), _steady(flow, loop, growth), is_grown)
        except (NotRolled, Irregular):
            continue
    raise NotRolled("a size does not grow by the same number in each iteration, nor by one that the iteration tells")


def _before_loops(flow: Flow, tape: int, leaf: Any) -> Any:
    """What of a number no iteration tells."""
    _refs(leaf)
    return without(leaf, lambda ref: len(flow.named(tape, ref)) > 2)


def _has_one_more(flow: Flow, loop: int, tape: int, leaf: Any) -> bool:
    """Whether the loops that tell a number have an iteration beyond those that do: the last one of this loop asks."""
    named = (flow.named(tape, ref) for ref in _refs(leaf))
    made = [each for each in named if len(each) > 2 and each[0] != loop]
    return all(iteration + 1 < flow.trips(other, tape) for other, _, _, iteration in made)


def _steps(numbers: Sequence[Any]) -> list[Any]:
    return [less(after, before) for before, after in pairwise(numbers)]


def _steady(flow: Flow, loop: int, leaves: Sequence[Sequence[Any]]) -> Any:
    """What a number grows by, which is told by as many measures in each iteration."""
    counts = {len(_refs(each)) for row in leaves for each in row}
    if len(counts) > 1:
        raise NotRolled("a size grows by what data says in some iterations alone")
    return flow.counted(loop, leaves) if counts == {0} else _alike(flow, loop, leaves)


def _refs(leaf: Any) -> list[Any]:
    """What tells its measures. Raises NotRolled where nothing does."""
    found = leaf.refs if isinstance(leaf, Measured) else []
    if None in found:
        raise NotRolled("a loop in a loop has sizes that come from data")
    return [each for each in found if each is not None]


__all__ = ["inside", "outside"]
