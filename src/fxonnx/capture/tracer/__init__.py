"""Capture by running: the model once on fake tensors, each aten call recorded before it is decomposed.

    program = trace(flat, table, names, leaves, signature)

Dims that vary are `torch.SymInt`s whose nodes hold our own dims (`sizes`), so that C++ and Python alike compute with
expressions; what a call returns is asked of torch once for each kind of call (`results`). Comparisons of sizes are
logged with the user's line (`guards`) and classified when the run is over (`constraints`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.dynamic import Axis, Requests, without
from fxonnx.capture.call.inputs import Flat, Signature
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.zero_one import Example, ZeroOneCheck
from fxonnx.capture.export.strategy import attempts
from fxonnx.capture.failures import Translating
from fxonnx.capture.locate import strip
from fxonnx.capture.program import Program
from fxonnx.capture.tracer.fake_inputs import SymbolTable, allocate
from fxonnx.capture.tracer.run import Run, program_of
from fxonnx.capture.tracer.sizes.constraints import pinned_error, special_error, specialization_error
from fxonnx.capture.tracer.torch_private import DynamicOutputShapeException
from fxonnx.errors import CaptureRefused, Error, FrozenDimension, ModelRaised, raise_all
from fxonnx.ir.dims import Expr, symbols_of


class Beyond(Exception):
    """What the tracer cannot do and torch.export may. `error` says what."""

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


def trace(
    flat: Flat,
    table: Requests,
    names: Sequence[str],
    leaves: Sequence[torch.Tensor],
    signature: Callable[[], Signature],
    mode: str,
) -> Program:
    """The Program of the flat model, which is in the training `mode` now.

    `signature` is asked for after the model has run. Raises FrozenDimension for each required dim that is not free,
    CaptureRefused, and Beyond for what torch.export may take.
    """
    for fewer, resized in attempts(table, names, leaves):
        run, failures, frozen = _freed(flat, fewer, names, resized)
        if not any(isinstance(failure.error, ModelRaised) for failure in failures):
            break
    said = [
        f"{names[leaf]}, axis {axis}: size {leaves[leaf].shape[axis]} cannot vary"
        for leaf, axis in table
        if (leaf, axis) not in fewer
    ]
    for failure in failures:
        if failure.is_beyond:
            raise Beyond(failure.error) from failure.error.__cause__
    raise_all([failure.error for failure in failures] or run.constraints.narrowed(run.symbols))
    if run.changes.others:
        _check_next_call(run, resized)
    flat.returned = run.returned
    program = program_of(run, signature(), (*said, *frozen))
    return replace(program, zero_one=_zero_one_check(run, mode, resized)) if run.symbols.axes else program


def _check_next_call(run: Run, leaves: Sequence[torch.Tensor]) -> None:
    """Raise CaptureRefused where what forward leaves in Python makes its next call another one."""
    twice = Run.prepare(run.flat, run.names, leaves, run.symbols)
    with Translating():
        if twice.is_repeatable():
            return
    *most, last = sorted(map(strip, run.changes.others))
    raise CaptureRefused(
        f"forward changes {', '.join(most)}{' and ' if most else ''}{last}, and does something else at its next call",
        cause="a file keeps tensors from call to call, and of everything else what it was at the first one",
        cure="keep it in a buffer (register_buffer) and write to that, or make it an argument; draw random numbers "
        "with torch.rand",
    )


def _zero_one_check(run: Run, mode: str, leaves: Sequence[torch.Tensor]) -> ZeroOneCheck:
    """The judge of sizes that the run left out; it does not keep the run."""
    flat, names, symbols = run.flat, run.names, run.symbols

    def record(leaves: Sequence[torch.Tensor], *, dynamic: bool) -> CapturedGraph:
        again = Run.prepare(flat, names, leaves, symbols if dynamic else SymbolTable())
        again()
        return again.recording()

    def assume(leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Sequence[Assumption]:
        again = Run.prepare(flat, names, leaves, symbols.fixed_at(fixed))
        again()
        return [*again.constraints.equalities, *again.constraints.assumptions]

    return ZeroOneCheck(record, assume, flat.model, mode, symbols.axes, symbols.hints, Example.of(leaves))


def _freed(
    flat: Flat, table: Requests, names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> tuple[Run, list[Failure], list[str]]:
    """A run without the optional dims that are not free, what is wrong with it, and why those dims are not."""
    said: list[str] = []
    while True:
        run, failures = _settled(flat, table, names, leaves)
        if tied := _tied(run, table, failures):
            table = {**table, **tied}
            continue
        gone = _optional(run, table, failures)
        if not gone:
            return run, failures, said
        said += [f"{names[leaf]}, axis {axis}: {_reason(run, (leaf, axis), failures)}" for leaf, axis in gone]
        table = without(table, gone)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, the names of the dims that it is about, and the equality that pins them, if one does; or one that
    torch.export need not meet."""

    error: Error
    symbols: frozenset[str] = frozenset()
    pin: Assumption | None = None
    is_beyond: bool = False


def _settled(
    flat: Flat, table: Requests, names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> tuple[Run, list[Failure]]:
    """A run at sizes where nothing comes out right by accident; where that fails, one at the example's own sizes,
    which the model surely takes."""
    first: list[Failure] = []
    for at_example in (False, True) if table else (True,):
        run = Run.prepare(flat, names, leaves, allocate(table, leaves, at_example=at_example))
        failures = _failures(run)
        if not failures:
            return _holding_for_the_example(run, flat, table, names, leaves)
        if run.guard_log.specializations or not table:
            return run, failures
        first = first or failures
    return run, first if isinstance(first[0].error, FrozenDimension) else failures


def _holding_for_the_example(
    run: Run, flat: Flat, table: Requests, names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> tuple[Run, list[Failure]]:
    """The run, if what it assumed holds for the example's own sizes; else one at those.

    Where both leave the same graph, what they decided differently did not matter. Where a size of the example takes a
    way of its own that others do not, there is no graph for both, and a failure; two sizes that are equal in the
    example are so by accident.
    """
    given = allocate(table, leaves, at_example=True)
    if run.constraints.holds(given.hints):
        return run, []
    second = Run.prepare(flat, names, leaves, given)
    failures = _failures(second)
    if failures:
        if all(failure.pin is not None and _is_tie(failure.pin) for failure in failures):
            return run, []
        labels = second.symbols.labels(second.names)
        return second, [replace(each, error=special_error(each.pin, labels)) if each.pin else each for each in failures]
    return run if run.forgets(second) else second, []


def _is_tie(pin: Assumption) -> bool:
    """Whether an equality is of two dims, not of a dim and a number."""
    return isinstance(pin.left, Expr) and isinstance(pin.right, Expr)


def _failures(run: Run) -> list[Failure]:
    """Run, and what is wrong with it."""
    try:
        with Translating():
            run()
    except Error as error:
        if not run.guard_log.specializations:
            scripted = _scripted(error, run.flat)
            if scripted is not None:
                return [Failure(scripted)]
            return [Failure(_said_better(error), is_beyond=not run.tape.refuse.final)]
    specializations = {
        (specialization.dim, specialization.location, specialization.op): specialization
        for specialization in run.guard_log.specializations
    }
    labels = run.symbols.labels(run.names)
    return [
        Failure(specialization_error(specialization, labels), symbols_of([specialization.dim]))
        for specialization in specializations.values()
    ] or [Failure(pinned_error(each, labels), each.symbols, each) for each in run.constraints.equalities]


def _reason(run: Run, axis: Axis, failures: Sequence[Failure]) -> str:
    """Why a dim is not free."""
    dim = run.symbols.axes[axis]
    failure = next(each for each in failures if each.symbols & symbols_of([dim]))
    if failure.pin is None:
        return f"pinned by a plain number made of it: {failure.error.what}"
    if dim in (failure.pin.left, failure.pin.right):
        return f"always {failure.pin.right if dim == failure.pin.left else failure.pin.left}"
    return f"pinned by {failure.pin}"


def _scripted(error: Error, flat: Flat) -> Error | None:
    """The error for a scripted module, which takes itself for its own first argument where torch is told that it is
    exporting."""
    path = next((path for path, each in flat.named_modules() if isinstance(each, torch.jit.ScriptModule)), None)
    if path is None or not isinstance(error.__cause__, TypeError):
        return None
    return CaptureRefused(
        "a scripted module cannot be recorded",
        cause=f"{strip(path) or 'the model'} is TorchScript, whose calls torch hides",
        cure="give the module that it was scripted of",
        location=error.locations,
    )


def _said_better(error: Error) -> Error:
    """What torch asserts, in words: about modes it means a higher-order op, about its shape_env a size of its own."""
    if "shape_env" in str(error.__cause__):
        return CaptureRefused("a size cannot be said by an expression", cause=error.what, location=error.locations)
    if isinstance(error.__cause__, DynamicOutputShapeException):
        return CaptureRefused(
            f"{error.__cause__.func} has a result whose size comes from data",
            cause="the tracer follows sizes that come from the sizes of the inputs",
            cure='capture="export" captures it; or select with a mask, torch.where, which keeps the size',
            location=error.locations,
        )
    if "Recorder" not in str(error.__cause__):
        return error
    return CaptureRefused(
        "a higher-order op (torch.cond, while_loop, scan, …) cannot be recorded",
        cause="its branches are not run as calls",
        cure='capture="export" captures it',
        location=error.locations,
    )


def _tied(run: Run, table: Requests, failures: Sequence[Failure]) -> Requests:
    """Requests without a name of their own that are always another dim, as requests for that one."""
    found: Requests = {}
    for pin in (failure.pin for failure in failures if failure.pin is not None):
        for one, other in ((pin.left, pin.right), (pin.right, pin.left)):
            axes = [axis for axis, dim in run.symbols.axes.items() if dim == one and table[axis].dim is None]
            if isinstance(one, Expr) and isinstance(other, Expr) and axes and not found:
                found = {axis: replace(table[axis], dim=other) for axis in axes}
    return found


def _optional(run: Run, table: Requests, failures: Sequence[Failure]) -> list[Axis]:
    """Dims that were only asked for if possible, and are not."""
    frozen = frozenset().union(*(failure.symbols for failure in failures))
    return [
        axis
        for axis, request in table.items()
        if not request.required and frozen & symbols_of([run.symbols.axes[axis]])
    ]


__all__ = ["Beyond", "trace"]
