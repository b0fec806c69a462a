"""What is tried next where a run fails: a table of remedies, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.retry import Remedy, RetryPlan
from fxonnx.capture.tracer.attempts.attempt import Attempt, Failure, Outcome, Rolled
from fxonnx.capture.tracer.attempts.failures import pinned, ties_of
from fxonnx.capture.tracer.decisions.shortcuts import change_numbers
from fxonnx.capture.tracer.loops.lengths.series import CHUNKS, FEW, STEPS, Lengths
from fxonnx.capture.tracer.loops.rolled import RolledRun
from fxonnx.capture.tracer.sizes.data import numbers_in
from fxonnx.errors import ModelRaised
from fxonnx.ir.dims import Dim, Expr, solved, substitute, symbols_of

_OF_WEIGHTS = 2  # gradients, besides those of tensors
_FACTORS, _LARGEST = (2, 4, 8), 16  # of sizes that are tried beside the example's


def _with_turns_rolled_up(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With the loop rolled up that asks data in each turn whether it goes on."""
    repeated = outcome.run.symbols.repeated
    return replace(attempt, turns=repeated) if outcome.failures and repeated is not None else None


def _turn_by_turn(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With a branch for each turn of such a loop, where it cannot be rolled up."""
    is_about_sizes = any(failure.symbols for failure in outcome.failures)
    is_tried = attempt.turns is None or not outcome.failures or is_about_sizes
    return None if is_tried else replace(attempt, turns=None, turn_by_turn=True)


def _with_states_as_data(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With what forward writes to for data, where it asks for its value."""
    written = outcome.run.tape.values.written
    if not written:
        return None
    return replace(attempt, states=attempt.states | written, with_states_known=outcome.failures)


def _with_gradients(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """As outside of torch.no_grad(), where the model asks autograd for gradients without torch.enable_grad(); of
    weights only if it has to be: every layer is then recorded as what it is composed of."""
    causes = (failure.error.__cause__ for failure in outcome.failures)
    wants_gradients = any(isinstance(each, RuntimeError) and "require grad" in str(each) for each in causes)
    is_tried = attempt.with_gradients == _OF_WEIGHTS
    return replace(attempt, with_gradients=attempt.with_gradients + 1) if wants_gradients and not is_tried else None


def _exporting(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """Telling the model that it is exported, where it asks and what it does in eager is not captured."""
    is_open = attempt.exporting is None and outcome.run.symbols.asked
    return replace(attempt, exporting=True) if is_open and outcome.failures else None


def _at_once(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With comparisons of sizes as plain truths, where something takes nothing else: `descending=n > 3`."""
    causes = (failure.error.__cause__ for failure in outcome.failures)
    wants_truth = any(isinstance(each, TypeError) and "SymBool" in str(each) for each in causes)
    return replace(attempt, at_once=True) if wants_truth and not attempt.at_once else None


def _at_larger_sizes(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """At sizes for which no computed size is the number that pins it: n // 64 is 1 for all primes from 64 to 127."""
    pins = [failure.equality for failure in outcome.failures if failure.equality and _is_computed(failure.equality)]
    hints, scale = outcome.run.symbols.hints, attempt.scale
    is_tried = outcome.failures is attempt.pinned
    factors = [each for each in _FACTORS if pins and not is_tried and scale * each <= _LARGEST]
    larger = ((each, {name: size * each for name, size in hints.items()}) for each in factors)
    found = next((each for each, sizes in larger if not any(pin.holds(sizes) for pin in pins)), None)
    return None if found is None else replace(attempt, scale=scale * found, pinned=outcome.failures)


def _is_computed(equality: Assumption) -> bool:
    """Whether a number pins a size that is computed of others."""
    sides = (equality.left, equality.right)
    return any(isinstance(each, int) for each in sides) and all(getattr(each, "name", None) is None for each in sides)


def _rolled_up(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With the loops over a size rolled up."""
    return _over(attempt, outcome, STEPS) if attempt.rolled is None else None


def _rolled_up_at_the_example(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """The same at the example's sizes, where dims that are to vary if possible may be numbers: a layer's features."""
    rolled, requests = attempt.rolled, attempt.example.requests.values()
    is_tried = rolled is None or rolled.at_example or rolled.number is not None
    if is_tried or not attempt.at_example or all(each.required for each in requests):
        return None
    return _over(replace(attempt, stopped=None), outcome, STEPS)


def _rolled_up_by_chunks(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With loops rolled up that take many elements in each iteration, unless ranges have said how many of a grid, or
    each decides by data."""
    is_tried = attempt.rolled is None or attempt.rolled.lengths is CHUNKS
    run = outcome.run
    is_said = isinstance(run, RolledRun) and (run.inside is not None or run.decides)
    return None if is_tried or is_said else _over(replace(attempt, stopped=None), outcome, CHUNKS)


def _rolled_up_by_data(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With the loops that go by a number from data rolled up."""
    names = numbers_in(outcome.run.guard_log.wanted)
    if attempt.rolled is not None or not outcome.failures or len(names) != 1:
        return None
    return _by_data(attempt, outcome, STEPS)


def _rolled_up_by_few(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """The same at lengths of short axes, whose elements the number may count."""
    is_tried = attempt.rolled is None or attempt.rolled.number is None or attempt.rolled.lengths is FEW
    return None if is_tried or not outcome.failures else _by_data(attempt, outcome, FEW)


def _by_data(attempt: Attempt, outcome: Outcome, lengths: Lengths) -> Attempt:
    before = attempt.rolled or Rolled(
        "", lengths, attempt.example, attempt.at_example, outcome.failures, outcome.run.guard_log.wanted[0]
    )
    return replace(attempt, rolled=replace(before, lengths=lengths))


def _by_numbers(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With a way for each plain number that data may say: the number of a layer in a list."""
    by_data = attempt.rolled is not None and attempt.rolled.number is not None
    wanted = by_data or outcome.run.guard_log.wanted
    is_tried = attempt.undecided or not outcome.failures
    return replace(attempt, undecided=outcome.failures) if wanted and not is_tried else None


def _over(attempt: Attempt, outcome: Outcome, lengths: Lengths) -> Attempt | None:
    names = frozenset[str]().union(*(failure.symbols for failure in outcome.failures))
    if outcome.is_final or len(names) != 1:
        return None
    rolled = Rolled(next(iter(names)), lengths, attempt.example, attempt.at_example, outcome.failures)
    return replace(attempt, rolled=rolled)


def _at_the_example(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    if not outcome.failures or outcome.is_final or attempt.at_example or not attempt.example.requests:
        return None
    return replace(attempt, at_example=True, at_primes=outcome.failures)


def _at_twice_the_example(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """At sizes that are sums of each other where the example's are: of 1, 3 and 4 those of 2, 3 and 4 are not."""
    original = attempt.original
    if not _raised(outcome) or attempt.is_enlarged or all(original.size(axis) > 1 for axis in original.requests):
        return None
    doubled = original.asking(attempt.example.requests).doubled()
    return replace(attempt, example=doubled, at_example=True, is_enlarged=True)


def _at_multiples_of_the_example(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """At multiples of the example's sizes that differ, where only sizes that are equal there are tied: a model that
    divides its images into windows divides those of no prime, and what it may ask of 64 and 64 it need not ask of 64
    and 192."""
    ties = [failure.equality for failure in outcome.failures if failure.equality and failure.is_tie]
    if not attempt.at_example or attempt.is_enlarged or not ties or len(ties) < len(outcome.failures):
        return None
    apart = attempt.example.apart()
    differ = any(one.shape != other.shape for one, other in zip(apart.leaves, attempt.example.leaves, strict=True))
    return replace(attempt, example=apart, is_enlarged=True, pinned=outcome.failures) if differ else None


def _with_tied(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With one dim for unnamed ones that are always others, and for named ones that always are a sum, say, of others:
    all that the run ties. They keep the others' names. What raised may be that a layout is not seen to be whole, of
    sizes that were found to agree before."""
    requests, axes = attempt.example.requests, outcome.run.symbols.axes
    failures = pinned(outcome.run) if _raised(outcome) else outcome.failures
    ties = ties_of(failures, attempt.unnamed(outcome.run)) or _computed(failures)
    if not ties:
        return None
    concerned = {axis for axis, dim in axes.items() if symbols_of([dim]) & ties.keys()}
    tied = {axis: substitute(axes[axis], ties) for axis in {*attempt.unnamed_axes, *concerned}}
    changed = [axis for axis, dim in sorted(tied.items()) if dim != axes[axis]]
    said = tuple(f"{attempt.example.label(axis)}: always {tied[axis]}" for axis in changed)
    asked = {axis: replace(request, dim=tied.get(axis, request.dim)) for axis, request in requests.items()}
    return replace(_at_primes(attempt, attempt.example.asking(asked)), frozen=(*attempt.frozen, *said))


def _computed(failures: Iterable[Failure]) -> dict[str, Dim]:
    """The first dim that an op wants to be an expression of others, which are free: a mask as long as past and new
    tokens, or a cache of what they leave of 32."""
    for equality in (failure.equality for failure in failures if failure.equality):
        one, other = equality.left, equality.right
        if not getattr(equality, "inside", False) or all(getattr(side, "name", None) for side in (one, other)):
            continue
        for side, rest in ((one, other), (other, one)):
            if isinstance(side, Expr) and side.name and isinstance(rest, Expr) and side.name not in rest.symbols:
                return {side.name: rest}
        if (found := solved(one - other)) is not None:
            return dict([found])
    return {}


def _comparing_runs(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With expressions for the plain numbers that the model makes of sizes."""
    is_stopped = outcome.run.guard_log.specializations and attempt.stopped is None
    return replace(attempt, stopped=outcome) if is_stopped else None


def _without_frozen(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """Without dims that were only asked for if possible, and are not."""
    names = frozenset[str]().union(*(failure.symbols for failure in outcome.failures))
    axes, requests = outcome.run.symbols.axes, attempt.example.requests
    gone = [axis for axis, each in requests.items() if not each.required and names & symbols_of([axes[axis]])]
    if not gone:
        return None
    reasons = (f"{attempt.example.label(axis)}: {_reason(axis, outcome)}" for axis in gone)
    fewer = attempt.example.without(gone).with_sizes_of(attempt.original, gone)
    rolled = None if isinstance(outcome.run, RolledRun) else attempt.rolled  # it rolls up, with fewer dims
    return replace(_at_primes(attempt, fewer), frozen=(*attempt.frozen, *reasons), rolled=rolled)


def _without_small(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """Static small dims, where the model raised: they may be there to be broadcast."""
    if not _raised(outcome):
        return None
    for small in attempt.original.small_optional()[attempt.given_up :]:
        said = tuple(
            f"{attempt.original.label(axis)}: size {attempt.original.size(axis)} cannot vary" for axis in small
        )
        fewer = replace(_at_primes(attempt, attempt.original.without(small).resized()), frozen=said)
        return replace(fewer, given_up=attempt.given_up + 1)
    return None


def _as_eager(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """As in eager again, from the beginning on, where the model raises on the way that it takes when it is exported."""
    if not attempt.exporting or not _raised(outcome):
        return None
    again = Attempt(attempt.original.resized(), attempt.original, is_way=attempt.is_way, exporting=False)
    return replace(again, with_gradients=attempt.with_gradients)


def _with_shortcuts(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With what the model does by data, which it left out where tensors are fake, and which changes its numbers."""
    answers = outcome.run.passed_for_fake
    if outcome.failures or attempt.is_way or not any(answers) or not change_numbers(attempt.original, answers):
        return None
    return replace(attempt, shortcuts=True)


def _raised(outcome: Outcome) -> bool:
    return any(isinstance(failure.error, ModelRaised) for failure in outcome.failures)


def _at_primes(attempt: Attempt, example: Example) -> Attempt:
    return replace(attempt, example=example, at_example=False, at_primes=(), stopped=None, scale=1, pinned=())


def _reason(axis: Axis, outcome: Outcome) -> str:
    """Why a dim is not free."""
    dim = outcome.run.symbols.axes[axis]
    failure = next(each for each in outcome.failures if each.symbols & symbols_of([dim]))
    equality = failure.equality
    if equality is None:
        return f"pinned by a plain number made of it: {failure.error.what}"
    if dim in (equality.left, equality.right):
        return f"always {equality.right if dim == equality.left else equality.left}"
    return f"pinned by {equality}"


PLAN: RetryPlan[Attempt, Outcome] = RetryPlan(
    "at primes",
    (
        Remedy("with the loop that data ends rolled up", _with_turns_rolled_up),
        Remedy("with a branch for each turn of loops that data ends", _turn_by_turn),
        Remedy("with gradients", _with_gradients),
        Remedy("with the values of states for data", _with_states_as_data),
        Remedy("telling the model that it is exported", _exporting),
        Remedy("with comparisons of sizes decided where they are made", _at_once),
        Remedy("at larger sizes", _at_larger_sizes),
        Remedy("with the loops over a size rolled up", _rolled_up),
        Remedy("with the loops by a number from data rolled up", _rolled_up_by_data),
        Remedy("with the loops by a small number from data rolled up", _rolled_up_by_few),
        Remedy("with a way for each number that data may say", _by_numbers),
        Remedy("at the example's sizes", _at_the_example),
        Remedy("at twice the example's sizes", _at_twice_the_example),
        Remedy("at multiples of the example's sizes that differ", _at_multiples_of_the_example),
        Remedy("with one name for dims that always agree", _with_tied),
        Remedy("with plain numbers of sizes that runs at several sizes explain", _comparing_runs),
        Remedy("with the loops over a size rolled up at the example's sizes", _rolled_up_at_the_example),
        Remedy("with the loops over chunks of a size rolled up", _rolled_up_by_chunks),
        Remedy("without optional dims that are not free", _without_frozen),
        Remedy("without optional dims of size 0 or 1", _without_small),
        Remedy("without telling the model that it is exported", _as_eager),
        Remedy("with shortcuts by data, which change its numbers", _with_shortcuts),
    ),
)
