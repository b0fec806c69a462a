"""What is wrong with a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.constraints import pinned_error
from fxonnx.capture.failures import Translating
from fxonnx.capture.tracer.attempts.attempt import Failure
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.torch_private import DynamicOutputShapeException
from fxonnx.errors import CaptureRefused, Error
from fxonnx.ir.dims import Dim, Expr, substitute, symbol, symbols_of
from fxonnx.location import Location


def failures_of(done: Run) -> tuple[Failure, ...]:
    """Run, and what is wrong with it."""
    log, raised = done.guard_log, None
    try:
        with Translating():
            carry_out(done)
    except Error as error:
        if not log.specializations:
            return (_failure(error, done),)
        raised = error.__cause__ if isinstance(error, CaptureRefused) else None
    labels = done.symbols.labels(done.example.names)
    specializations = {(each.dim, each.location, each.op): each for each in log.specializations}
    if specializations:
        return tuple(Failure(_because(each.error(labels), raised), symbols_of([each.dim]))
                     for each in specializations.values())  # fmt: skip
    return pinned(done)


def _because(error: Error, raised: BaseException | None) -> Error:
    """An error about a plain number, which may be what the run was stopped by as well."""
    error.__cause__ = raised
    return error


def pinned(done: Run) -> tuple[Failure, ...]:
    """A failure for each equality that pins a dim."""
    labels, found = done.symbols.labels(done.example.names), done.constraints
    lone = [
        Assumption(symbol(name), "==", low, _asking(name, found.assumptions))
        for name, low in found.lows.items()
        if found.highs.get(name) == low != done.symbols.highs.get(name)
    ]
    return tuple(Failure(pinned_error(each, labels), each.symbols, each) for each in (*found.equalities, *lone))


def ties_of(failures: Iterable[Failure], names: Sequence[str]) -> dict[str, Dim]:
    """The dims that unnamed ones always are, by the names that those have in the run; of two the first stays."""
    ties: dict[str, Dim] = {}
    for failure in failures:
        if failure.equality is None:
            continue
        one, other = (substitute(side, ties) for side in (failure.equality.left, failure.equality.right))
        sides = (one, other) if failure.is_tie else _alike(one, other, names)
        pairs = ((a.name, b) for a, b in permutations(sides, 2) if isinstance(a, Expr) and a.name in names)
        free = [(name, dim) for name, dim in pairs if name and name not in symbols_of([dim])]
        if free:
            name, dim = max(free, key=lambda pair: names.index(pair[0]))
            ties = {each: substitute(known, {name: dim}) for each, known in ties.items()} | {name: dim}
    return ties


def _alike(computed: Dim, number: Dim, names: Sequence[str]) -> tuple[Dim, ...]:
    """Two unnamed dims of a computed size that is always that number where they are one, or none: (4*m) // n is 4."""
    for one, other in combinations(sorted(symbols_of([computed]).intersection(names)), 2):
        if substitute(computed, {one: symbol(other)}) == number:
            return symbol(one), symbol(other)
    return ()


def _asking(name: str, assumptions: Iterable[Assumption]) -> Location:
    """The place of a comparison that bounds a dim."""
    return next((each.location for each in reversed(list(assumptions)) if name in each.symbols), Location())


def _failure(error: Error, done: Run) -> Failure:
    """What the model or torch raised, in words: about modes torch means a higher-order op, about its shape_env a size
    of its own."""
    cause = error.__cause__
    if "shape_env" in str(cause):
        error = CaptureRefused("a size cannot be said by an expression", cause=error.what, location=error.locations)
    elif isinstance(cause, DynamicOutputShapeException):
        error = CaptureRefused(
            f"{cause.func} has a result whose size comes from data",
            cause="the tracer follows sizes that come from the sizes of the inputs",
            cure="select with a mask, torch.where, which keeps the size",
            location=error.locations,
        )
    elif "directly modify sizes" in str(cause):
        error = CaptureRefused(
            "a tensor is resized in place that has a size which varies",
            cause="what resize_ and resize_as_ leave of its memory, or add, is known of plain sizes only",
            cure="x.reshape(…), x[:n] or torch.cat, which say what becomes of the elements; or leave the dim out of "
            "dynamic_shapes",
            location=error.locations,
        )
        return Failure(error, frozenset(done.symbols.hints))
    elif "Recorder" in str(cause) or type(cause).__name__ == "UncapturedHigherOrderOpError":
        error = CaptureRefused(
            "a higher-order op (torch.cond, while_loop, scan, …) cannot be recorded",
            cause="its branches are not run as calls",
            cure="call what its branches do, or give the op a decomposition with torch.library.register_fake",
            location=error.locations,
        )
    return Failure(error)
