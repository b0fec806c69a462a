"""One run of a model, and more where its example takes other ways: at its own sizes, and at its sizes of 0 and 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fxonnx.capture.assumption import Assumption, settled
from fxonnx.capture.call.example import Example
from fxonnx.capture.constraints import small_error
from fxonnx.capture.equivalence.same_graph import Difference, leaves_alike
from fxonnx.capture.equivalence.zero_one import Recording
from fxonnx.capture.failures import Translating
from fxonnx.capture.tracer.attempts.attempt import Attempt, Failure, Outcome, Rolled
from fxonnx.capture.tracer.attempts.failures import failures_of, pinned, ties_of
from fxonnx.capture.tracer.earlier_call import after_a_call_at_other_sizes, recording_at
from fxonnx.capture.tracer.fake_inputs import SymbolTable, allocate
from fxonnx.capture.tracer.loops.by_data import RunByData
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.questions.run import RunByQuestion
from fxonnx.capture.tracer.loops.rolled import RolledRun, with_reason
from fxonnx.capture.tracer.plain.explain import explained
from fxonnx.capture.tracer.run import Run
from fxonnx.errors import DataDependentControlFlow, Error, FrozenDimension, ModelRaised
from fxonnx.ir.dims import symbol, symbols_of


def run(attempt: Attempt) -> Outcome:
    """The model, once; again where the run decides against the example, and where that has sizes of 0 or 1."""
    example = attempt.example
    if attempt.stopped is not None:
        return _explained(attempt, attempt.stopped)
    done = _prepared(attempt, example, _allocate(attempt, at_example=attempt.at_example, scale=attempt.scale))
    failures = failures_of(done)
    if failures and attempt.rolled is not None and isinstance(done, RolledRun):
        if _are_numbers(failures, done):
            return Outcome(done, failures)
        return _not_rolled(done, attempt.rolled, failures[0].error.__cause__)
    if failures and attempt.undecided:
        return Outcome(done, attempt.undecided)
    if _may_read_a_cache(done, failures):
        alone = after_a_call_at_other_sizes(done, attempt.original.leaves)
        if alone is not None and not pinned(alone):
            done, failures = alone, ()
    if not failures:
        outcome = _holding_for_the_example(done, attempt)
        return outcome if outcome.failures else _holding_for_small_sizes(outcome, attempt)
    if attempt.with_states_known and any(isinstance(each.error, DataDependentControlFlow) for each in failures):
        failures = attempt.with_states_known
    specialized = bool(done.guard_log.specializations)
    if attempt.at_primes and not specialized and isinstance(attempt.at_primes[0].error, FrozenDimension):
        failures = attempt.at_primes
    raised = any(isinstance(each.error, ModelRaised) for each in failures)
    return Outcome(done, attempt.pinned if attempt.pinned and raised else failures)


def _are_numbers(failures: Iterable[Failure], done: Run) -> bool:
    """Whether all that is wrong is that dims which are to vary if possible are one number."""
    requests, axes = done.example.requests, done.symbols.axes
    optional = {axes[axis] for axis, request in requests.items() if not request.required}
    equalities = [failure.equality for failure in failures]
    return all(each is not None and isinstance(each.right, int) and each.left in optional for each in equalities)


def _not_rolled(done: Run, rolled: Rolled, reason: BaseException | None) -> Outcome:
    """What was wrong before loops were to be rolled up, with the reason why they are not."""
    return Outcome(done, tuple(replace(each, error=with_reason(each.error, reason)) for each in rolled.otherwise))


def _explained(attempt: Attempt, stopped: Outcome) -> Outcome:
    """A run whose plain numbers are expressions, or what came of it before."""
    found = explained(attempt.example, attempt.original, _allocate(attempt, at_example=False))
    if found is None:
        return stopped
    small = {name: size for name, size in found.symbols.in_example(attempt.original.leaves).items() if size < 2}
    return Outcome(found, pinned(found), small=small)


def _prepared(attempt: Attempt, example: Example, symbols: SymbolTable) -> Run:
    """A run of the model, or, where the last remedy said so, of the tapes of several lengths of a loop."""
    if attempt.turns is not None:
        return RunByQuestion.prepare_asking(attempt.turns, example, symbols)
    rolled = attempt.rolled
    is_other = rolled is None or (rolled.example, rolled.at_example) != (attempt.example, attempt.at_example)
    if rolled is None or is_other or attempt.undecided:
        return Run.prepare(example, symbols)
    if rolled.number is None:
        return RolledRun.prepare_over(rolled.over, rolled.lengths, example, symbols)
    return RunByData.prepare_by(rolled.number, rolled.lengths, example, symbols)


def _may_read_a_cache(done: Run, failures: Sequence[Failure]) -> bool:
    """Whether what the run says of sizes may be about what an earlier call has left in the model."""
    if failures or not done.symbols.hints:
        return all(failure.symbols for failure in failures) and bool(done.symbols.hints)
    return bool(done.constraints.assumptions and done.caches())


def _holding_for_the_example(done: Run, attempt: Attempt) -> Outcome:
    """The run, if what it assumed holds for the example's own sizes; else one at those.

    Where both leave the same graph, what they decided differently did not matter. Where a size of the example takes a
    way of its own that others do not, the run is that of the others; two sizes of different names that are equal in the
    example are so by accident.
    """
    example = attempt.example
    given = _allocate(attempt, at_example=True)
    if done.constraints.holds(given.hints):
        return Outcome(done)
    if attempt.rolled is not None and isinstance(done, RolledRun):
        broken = next(each for each in done.constraints.assumptions if not each.holds(given.hints))
        reason = NotRolled(f"it would be where {broken}, and at the example's sizes that is not so")
        return _not_rolled(done, attempt.rolled, reason)
    second = _prepared(attempt, example, given)
    failures = failures_of(second)
    if not failures:
        return Outcome(done if done.forgets(second) else second)
    if all(failure.is_tie for failure in failures):
        is_same = done.forgets(second)
        return Outcome(done) if is_same or not ties_of(failures, attempt.unnamed(second)) else Outcome(second, failures)
    if all(failure.equality for failure in failures):
        return Outcome(done)  # the sizes of the example are a way of their own, captured when it is taken
    return Outcome(second, failures, is_final=True)


def _holding_for_small_sizes(outcome: Outcome, attempt: Attempt) -> Outcome:
    """The outcome, if its graph is right for the example's sizes of 0 and 1 too, or they are to take their own way."""
    done = outcome.run
    sizes = done.symbols.in_example(attempt.original.leaves)
    if not (small := {name: size for name, size in sizes.items() if size < 2}):
        return outcome
    general = done.captured_graph()
    try:
        fixed = _recorded_at(small, done, attempt)
        assumed = fixed.assumed_by(general)
        others = set(map(str, done.constraints.assumptions))  # the example may take a way of its own, whatever is small
        asked = [each for each in assumed if each.symbols <= sizes.keys() and str(each) not in others]
        broken = [each for each in asked if not each.holds(sizes)]
        if broken:
            raise Difference(f"it holds where {broken[0]}", broken[0].location)
    except Difference as difference:
        failures = tuple(_small_failures(small, difference, done, attempt))
        has_way = not attempt.is_way and _are_asked_for(failures, done, attempt) and leaves_alike(general, fixed.graph)
        return outcome if has_way else Outcome(done, failures, is_final=True)
    except Error as error:
        return Outcome(done, (Failure(error, frozenset(small)),), is_final=True)
    return replace(outcome, small=small, assumed=assumed)


def _are_asked_for(failures: Iterable[Failure], done: Run, attempt: Attempt) -> bool:
    """Whether the dims that these are about are to vary, and not only if possible."""
    axes, requests = done.symbols.axes, attempt.example.requests
    names = frozenset[str]().union(*(failure.symbols for failure in failures))
    return all(requests[axis].required for axis, dim in axes.items() if names & symbols_of([dim]))


def _recorded_at(small: Mapping[str, int], done: Run, attempt: Attempt) -> Recording:
    """The model with these small sizes. Raises Error where it cannot be captured with them."""
    example = replace(attempt.example, leaves=attempt.original.leaves)
    hints = settled({**done.symbols.hints, **small}, small, done.constraints.assumptions)
    with Translating():
        symbols = replace(done.symbols, hints=hints)
        return recording_at(small, example, symbols, done.earlier is not None, done.preparation())


def _small_failures(small: Mapping[str, int], difference: Difference, done: Run, attempt: Attempt) -> Iterator[Failure]:
    """A failure for each small size that is one by itself, or for all together."""
    alone = {name: size for name, size in small.items() if len(small) == 1 or _differs({name: size}, done, attempt)}
    guilty, labels = alone or small, done.symbols.labels(attempt.example.names)
    error = small_error(guilty, str(difference), difference.location, labels)
    for name, size in guilty.items():
        yield Failure(error, frozenset({name}), Assumption(symbol(name), "==", size, difference.location))


def _differs(small: Mapping[str, int], done: Run, attempt: Attempt) -> bool:
    try:
        _recorded_at(small, done, attempt).assumed_by(done.captured_graph())
    except (Difference, Error):
        return True
    return False


def _allocate(attempt: Attempt, *, at_example: bool, scale: int = 1) -> SymbolTable:
    example = attempt.example
    at_example = at_example or not example.requests
    flags = {each: getattr(attempt, each) for each in ("at_once", "states", "shortcuts", "with_gradients")}
    flags["exporting"] = bool(attempt.exporting)
    flags["is_by_numbers"] = bool(attempt.undecided)
    flags["rolls_turns"] = attempt.rolled is None and not (attempt.turn_by_turn or attempt.undecided)
    return allocate(example, at_example=at_example, scale=scale, **flags)
