"""Runs of a model, what is wrong with them, and the remedies.

Sizes are primes first, at which nothing comes out right by accident; a model that cannot take those surely takes the
example's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from fxonnx.capture.assumption import Assumption, settled
from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.constraints import pinned_error, small_error
from fxonnx.capture.equivalence.same_graph import Difference, leaves_alike
from fxonnx.capture.equivalence.zero_one import Recording
from fxonnx.capture.failures import Translating
from fxonnx.capture.locate import strip
from fxonnx.capture.retry import Remedy, RetryPlan
from fxonnx.capture.tracer.earlier_call import after_a_call_at_other_sizes, recording_at
from fxonnx.capture.tracer.fake_inputs import SymbolTable, allocate
from fxonnx.capture.tracer.loops.rolled import CHUNKS, STEPS, Lengths, RolledRun, with_reason
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.plain.explain import explained
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.torch_private import DynamicOutputShapeException
from fxonnx.errors import CaptureRefused, DataDependentControlFlow, Error, FrozenDimension, ModelRaised
from fxonnx.ir.dims import Dim, Expr, substitute, symbol, symbols_of
from fxonnx.location import Location


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, the names of the dims that it is about, and the equality that pins them, if one does."""

    error: Error
    symbols: frozenset[str] = frozenset()
    equality: Assumption | None = None

    @property
    def is_tie(self) -> bool:
        """Whether two dims are equal, not a dim and a number."""
        return self.equality is not None and all(
            isinstance(each, Expr) for each in (self.equality.left, self.equality.right)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """That loops `over` a dim are rolled up, which runs at these `lengths` show, for an example at its own sizes or at
    primes; and what is wrong otherwise."""

    over: str
    lengths: Lengths
    example: Example
    at_example: bool
    otherwise: tuple[Failure, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What a run is made of: an example, at its own sizes or at primes, and whether comparisons of sizes are decided
    `at_once`. `frozen` says which optional dims of the `original` are static by now, and why; `at_primes` is what was
    wrong with the run at those. `is_way` is one of a way that some sizes take: it is for those."""

    example: Example
    original: Example
    is_way: bool = False
    at_example: bool = False
    at_once: bool = False
    scale: int = 1  # of the sizes of the run to those of the example
    pinned: tuple[Failure, ...] = ()  # what was wrong with the run at the sizes that these are larger than
    frozen: tuple[str, ...] = ()
    given_up: int = 0  # kinds of small dims
    at_primes: tuple[Failure, ...] = ()
    is_doubled: bool = False
    states: frozenset[int] = frozenset()  # ids of weights that forward writes to and asks for
    with_states_known: tuple[Failure, ...] = ()  # what was wrong with the run that found them
    stopped: Outcome | None = None  # by plain numbers of sizes, which runs at several sizes are to explain
    rolled: Rolled | None = None

    @property
    def unnamed_axes(self) -> list[Axis]:
        """The dims that may vary and that the user gave no name."""
        requests = self.original.requests
        return [axis for axis in self.example.requests if requests[axis].dim is None]

    def unnamed(self, done: Run) -> list[str]:
        """What those are called in a run, as far as they vary on their own; in the order of the inputs."""
        dims = (done.symbols.axes[axis] for axis in sorted(self.unnamed_axes))
        return list(dict.fromkeys(dim.name for dim in dims if isinstance(dim, Expr) and dim.name is not None))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A run and what is wrong with it. `is_final` where other sizes would tell nothing new."""

    run: Run
    failures: tuple[Failure, ...] = ()
    is_final: bool = False
    small: Mapping[str, int] = field(default_factory=dict)  # sizes of 0 and 1 of the example, for which it holds
    assumed: Sequence[Assumption] = ()  # what those ask of the others


def run(attempt: Attempt) -> Outcome:
    """The model, once; again where the run decides against the example, and where that has sizes of 0 or 1."""
    example = attempt.example
    if attempt.stopped is not None:
        return _explained(attempt, attempt.stopped)
    done = _prepared(attempt, example, _allocate(attempt, at_example=attempt.at_example, scale=attempt.scale))
    failures = _failures(done)
    if failures and attempt.rolled is not None and isinstance(done, RolledRun):
        found, otherwise = failures[0].error, attempt.rolled.otherwise
        return Outcome(done, tuple(replace(each, error=with_reason(each.error, found)) for each in otherwise))
    if _may_read_a_cache(done, failures):
        alone = after_a_call_at_other_sizes(done, attempt.original.leaves)
        if alone is not None and not _pinned(alone):
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


def _explained(attempt: Attempt, stopped: Outcome) -> Outcome:
    """A run whose plain numbers are expressions, or what came of it before."""
    found = explained(attempt.example, attempt.original, _allocate(attempt, at_example=False))
    if found is None:
        return stopped
    small = {name: size for name, size in found.symbols.in_example(attempt.original.leaves).items() if size < 2}
    return Outcome(found, _pinned(found), small=small)


def _prepared(attempt: Attempt, example: Example, symbols: SymbolTable) -> Run:
    """A run of the model, or, where the last remedy said so, of the tapes of several lengths of a loop."""
    rolled = attempt.rolled
    if rolled is None or (rolled.example, rolled.at_example) != (attempt.example, attempt.at_example):
        return Run.prepare(example, symbols)
    return RolledRun.prepare_over(rolled.over, rolled.lengths, example, symbols)


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
        return Outcome(done, attempt.rolled.otherwise)
    second = Run.prepare(example, given)
    failures = _failures(second)
    if not failures:
        return Outcome(done if done.forgets(second) else second)
    if all(failure.is_tie for failure in failures):
        is_same = done.forgets(second)
        return Outcome(done) if is_same or not _ties(failures, attempt.unnamed(second)) else Outcome(second, failures)
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


def _small_failures(
    small: Mapping[str, int], difference: Difference, done: Run, attempt: Attempt
) -> Iterator[Failure]:
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
    return allocate(example, at_example=at_example, at_once=attempt.at_once, states=attempt.states, scale=scale)


_FACTORS, _LARGEST = (2, 4, 8), 16  # of sizes that are tried beside the example's


# ── remedies ────────────────────────────────────────


def _with_states_as_data(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With what forward writes to for data, where it asks for its value."""
    written = outcome.run.tape.values.written
    if not written:
        return None
    return replace(attempt, states=attempt.states | written, with_states_known=outcome.failures)


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


def _rolled_up_by_chunks(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With loops rolled up that take many elements in each iteration."""
    is_tried = attempt.rolled is None or attempt.rolled.lengths is CHUNKS
    return None if is_tried else _over(replace(attempt, stopped=None), outcome, CHUNKS)


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
    raised = any(isinstance(failure.error, ModelRaised) for failure in outcome.failures)
    original = attempt.original
    if not raised or attempt.is_doubled or all(original.size(axis) > 1 for axis in original.requests):
        return None
    doubled = original.asking(attempt.example.requests).doubled()
    return replace(attempt, example=doubled, at_example=True, is_doubled=True)


def _with_tied(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With one dim for unnamed ones that are always others, and for named ones that always are a sum, say, of others:
    all that the run ties. They keep the others' names."""
    requests, axes = attempt.example.requests, outcome.run.symbols.axes
    ties = _ties(outcome.failures, attempt.unnamed(outcome.run)) or _computed(outcome.failures)
    if not ties:
        return None
    concerned = {axis for axis, dim in axes.items() if symbols_of([dim]) & ties.keys()}
    tied = {axis: substitute(axes[axis], ties) for axis in {*attempt.unnamed_axes, *concerned}}
    changed = [axis for axis, dim in sorted(tied.items()) if dim != axes[axis]]
    said = tuple(f"{attempt.example.label(axis)}: always {tied[axis]}" for axis in changed)
    asked = {axis: replace(request, dim=tied.get(axis, request.dim)) for axis, request in requests.items()}
    return replace(_at_primes(attempt, attempt.example.asking(asked)), frozen=(*attempt.frozen, *said))


def _ties(failures: Iterable[Failure], names: Sequence[str]) -> dict[str, Dim]:
    """The dims that unnamed ones always are, by the names that those have in the run; of two the first stays."""
    ties: dict[str, Dim] = {}
    for equality in (failure.equality for failure in failures if failure.equality and failure.is_tie):
        one, other = substitute(equality.left, ties), substitute(equality.right, ties)
        pairs = ((a.name, b) for a, b in ((one, other), (other, one)) if isinstance(a, Expr) and a.name in names)
        free = [(name, dim) for name, dim in pairs if name and name not in symbols_of([dim])]
        if free:
            name, dim = max(free, key=lambda pair: names.index(pair[0]))
            ties = {each: substitute(known, {name: dim}) for each, known in ties.items()} | {name: dim}
    return ties


def _computed(failures: Iterable[Failure]) -> dict[str, Dim]:
    """The first dim that an op wants to be an expression of others, which are free: a mask as long as past and new
    tokens."""
    for equality in (failure.equality for failure in failures if failure.equality and failure.is_tie):
        for one, other in ((equality.left, equality.right), (equality.right, equality.left)):
            if not isinstance(one, Expr) or not isinstance(other, Expr) or one.name is None or other.name is not None:
                continue
            if one.name not in symbols_of([other]) and getattr(equality, "inside", False):
                return {one.name: other}
    return {}


def _comparing_runs(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """With expressions for the plain numbers that the model makes of sizes."""
    log = outcome.run.guard_log
    is_stopped = log.specializations and not any(each.as_text for each in log.specializations)
    return replace(attempt, stopped=outcome) if is_stopped and attempt.stopped is None else None


def _without_frozen(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """Without dims that were only asked for if possible, and are not."""
    names = frozenset[str]().union(*(failure.symbols for failure in outcome.failures))
    axes, requests = outcome.run.symbols.axes, attempt.example.requests
    gone = [axis for axis, each in requests.items() if not each.required and names & symbols_of([axes[axis]])]
    if not gone:
        return None
    reasons = (f"{attempt.example.label(axis)}: {_reason(axis, outcome)}" for axis in gone)
    fewer = attempt.example.without(gone).with_sizes_of(attempt.original, gone)
    return replace(_at_primes(attempt, fewer), frozen=(*attempt.frozen, *reasons))


def _without_small(attempt: Attempt, outcome: Outcome) -> Attempt | None:
    """Static small dims, where the model raised: they may be there to be broadcast."""
    if not any(isinstance(failure.error, ModelRaised) for failure in outcome.failures):
        return None
    for small in attempt.original.small_optional()[attempt.given_up :]:
        said = tuple(
            f"{attempt.original.label(axis)}: size {attempt.original.size(axis)} cannot vary" for axis in small
        )
        fewer = replace(_at_primes(attempt, attempt.original.without(small).resized()), frozen=said)
        return replace(fewer, given_up=attempt.given_up + 1)
    return None


def _at_primes(attempt: Attempt, example: Example) -> Attempt:
    return replace(attempt, example=example, at_example=False, at_primes=(), stopped=None)


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
        Remedy("with the values of states for data", _with_states_as_data),
        Remedy("with comparisons of sizes decided where they are made", _at_once),
        Remedy("at larger sizes", _at_larger_sizes),
        Remedy("with the loops over a size rolled up", _rolled_up),
        Remedy("at the example's sizes", _at_the_example),
        Remedy("at twice the example's sizes", _at_twice_the_example),
        Remedy("with one name for dims that always agree", _with_tied),
        Remedy("with plain numbers of sizes that runs at several sizes explain", _comparing_runs),
        Remedy("with the loops over chunks of a size rolled up", _rolled_up_by_chunks),
        Remedy("without optional dims that are not free", _without_frozen),
        Remedy("without optional dims of size 0 or 1", _without_small),
    ),
)


# ── what is wrong with a run ────────────────────────────────────────


def _failures(done: Run) -> tuple[Failure, ...]:
    """Run, and what is wrong with it."""
    log = done.guard_log
    try:
        with Translating():
            carry_out(done)
    except Error as error:
        if not log.specializations:
            return (_failure(error, done),)
    labels = done.symbols.labels(done.example.names)
    specializations = {(each.dim, each.location, each.op): each for each in log.specializations}
    if specializations:
        return tuple(Failure(each.error(labels), symbols_of([each.dim])) for each in specializations.values())
    return _pinned(done)


def _pinned(done: Run) -> tuple[Failure, ...]:
    """A failure for each equality that pins a dim."""
    labels, found = done.symbols.labels(done.example.names), done.constraints
    lone = [
        Assumption(symbol(name), "==", low, _asking(name, found.assumptions))
        for name, low in found.lows.items()
        if found.highs.get(name) == low != done.symbols.highs.get(name)
    ]
    return tuple(Failure(pinned_error(each, labels), each.symbols, each) for each in (*found.equalities, *lone))


def _asking(name: str, assumptions: Iterable[Assumption]) -> Location:
    """The place of a comparison that bounds a dim."""
    return next((each.location for each in reversed(list(assumptions)) if name in each.symbols), Location())


def _failure(error: Error, done: Run) -> Failure:
    """What the model or torch raised, in words: about modes torch means a higher-order op, about its shape_env a size
    of its own."""
    scripted = _scripted(error, done.example.flat)
    if scripted is not None:
        return Failure(scripted)
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
    elif "Recorder" in str(cause) or type(cause).__name__ == "UncapturedHigherOrderOpError":
        error = CaptureRefused(
            "a higher-order op (torch.cond, while_loop, scan, …) cannot be recorded",
            cause="its branches are not run as calls",
            cure="call what its branches do, or give the op a decomposition with torch.library.register_fake",
            location=error.locations,
        )
    return Failure(error)


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
