"""A run of a model whose loops over a size are rolled up: of runs at several lengths, in which that size is a plain
number where Python asks, one tape is made in which it is a symbol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import fx

from fxonnx.capture.call.example import Example
from fxonnx.capture.equivalence.zero_one import LoopLimit
from fxonnx.capture.locate import Locator
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.known.asked_forms import AskedForms, asked_differently
from fxonnx.capture.tracer.loops.find import Loops
from fxonnx.capture.tracer.loops.fit import LONGEST, Undecided
from fxonnx.capture.tracer.loops.flow import Recipe, with_dims
from fxonnx.capture.tracer.loops.lengths.counters import compares_counters, counts_unread, turns
from fxonnx.capture.tracer.loops.lengths.series import FEW, INSIDE, STEPS, Lengths, of_chunks
from fxonnx.capture.tracer.loops.lengths.thresholds import functions_around, thresholds
from fxonnx.capture.tracer.loops.periods import Irregular, NoLoop, NotPeriodic, NotRolled
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.play import Player
from fxonnx.capture.tracer.loops.rounded import know_rounded
from fxonnx.capture.tracer.loops.steps import Outside
from fxonnx.capture.tracer.paths.counted import Counted
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.run import Prepare, Run
from fxonnx.capture.tracer.sizes.data import numbers_in
from fxonnx.capture.tracer.sizes.lookups import looked_up
from fxonnx.capture.tracer.sizes.primes import prime_near
from fxonnx.capture.tracer.torch_private import enable_python_dispatcher
from fxonnx.errors import Error, FrozenDimension
from fxonnx.ir.dims import Expr, symbol
from fxonnx.location import Location

_MOST_CALLS = 120_000  # of all runs with loops inside of others: they have as many as the product of the lengths
_MOST_UNROLLED = 128  # iterations, of calls beyond what was rolled up: each such length is captured by itself
_MOST_MORE = 12  # runs at lengths that tell one dim from another
_LONGEST_ENTRY = 64  # of the lengths that are run because something is looked up by them
_COPY = torch.ops.aten.copy_.default
_FAULTS = (AssertionError, AttributeError, LookupError, TypeError)  # which tell of a mistake of ours
_UNROLLED = ", and the loop over it cannot be rolled up: "


@dataclass(slots=True)
class Budget:
    """How many calls runs may still record for loops inside of others, and how many there are for `each` pair of
    iterations, once that is known."""

    left: float = _MOST_CALLS
    each: float = 0

    def begin(self, pairs: int) -> None:
        """Runs of so many pairs in all. Raises NotRolled where there are too many."""
        if self.each * pairs > self.left:
            self.left = 0
            self.take(pairs)

    def take(self, pairs: int) -> None:
        """For a run of so many pairs. Raises NotRolled."""
        self.left -= self.each * pairs
        if self.left < 0:
            raise NotRolled("it loops over two dims, and runs at several lengths of both make too many calls")


@dataclass(eq=False)
class RolledRun(Run):
    """A run without the model: the tape is made of those of other runs. `over` is the dim that those have different
    sizes of: at one of the series of `lengths`."""

    over: str = ""
    lengths: Lengths = STEPS
    around: frozenset[str] = frozenset()  # the dims that loops around these are over: at one length of each
    budget: Budget = field(default_factory=Budget)
    inner: str = ""  # a dim that loops inside of these are over, as far as is known
    inside: Lengths | None = None  # those of runs of these, where chunks ask for others than the usual ones
    limits: dict[str, LoopLimit] = field(default_factory=dict, init=False)
    decides: bool = field(default=False, init=False)  # by data, in each iteration
    asked_forms: AskedForms = field(init=False)  # by the longest run
    player: Player = field(init=False)
    _now: list[fx.Node] = field(default_factory=list, init=False)  # the one whose place the next call has

    def preparation(self) -> Prepare:
        """See `Run`."""
        return partial(RolledRun.prepare_over, self.over, self.lengths)

    @staticmethod
    def prepare_over(over: str, lengths: Lengths, example: Example, symbols: SymbolTable) -> Run:
        """As `Run.prepare`, which it is where the dim has a fixed size; else at one at which loops have iterations."""
        if over not in symbols.hints:
            return Run.prepare(example, symbols)
        longest = prime_near(lengths.played, (size for name, size in symbols.hints.items() if name != over))
        played = {over: longest} if symbols.has_room({over: longest}) else {}
        run = Run.prepare(example, replace(symbols, hints={**symbols.hints, **played}))
        return RolledRun(
            run.example, run.symbols, run.guard_log, run.locations, run.tape, run.fakes, run.inputs, run.decisions,
            run.data, over=over, lengths=lengths,
        )  # fmt: skip

    def record(self) -> None:
        """Find the loops, and play what was found. Raises what the model raises, and NotRolled."""
        if counts_unread(self._functions()):
            raise NotRolled(
                "it counts, and its source cannot be read, which says what it makes of that; define it in a file"
            )
        if not self._has_room(self.lengths):
            raise NotRolled("another input has what this dim leaves of a number, and longer runs leave it none")
        try:
            self._find_loops()
        except NotRolled as reason:
            if self.around or not self.inner:
                raise
            self._turn_inside_out()
            try:
                self._find_loops()
            except NotRolled:
                raise reason from None

    def _has_room(self, lengths: Lengths) -> bool:
        """Whether inputs have sizes at all of these lengths."""
        longest = max(lengths.played, *(max(each) for each in lengths.series))
        return self.symbols.has_room({self.over: longest})

    def _turn_inside_out(self) -> None:
        """Take the dim that was asked for first for that of loops inside of those over the other one: it may only have
        been asked for early, to make a row."""
        self.over, self.inner, self.inside = self.inner, self.over, None
        self.limits.clear()
        self._play_at(self.lengths.played)

    def _takes_chunks(self, first: Plain) -> bool:
        """Take lengths at which the ranges that the model goes through have some steps, where those so far are too
        short for them."""
        taken = {self.symbols.hints[name] for name in self.around} | ({self.inside.played} if self.inside else set())
        found = of_chunks(first.run.guard_log.ranges, self.over, taken)
        if found is None or found.played == self.lengths.played or not self._has_room(found):
            return False
        self.lengths = found
        self._play_at(found.played)
        return True

    def _play_at(self, length: int) -> None:
        """Let the dim have about this size on the tape, and that of loops inside the one that their chunks ask for."""
        wanted = {self.over: length, **({self.inner: self.inside.played} if self.inside else {})}
        sizes = {name: size for name, size in self.symbols.hints.items() if name not in wanted}
        for name, size in wanted.items():
            sizes[name] = prime_near(size, sizes.values())
        self.symbols = replace(self.symbols, hints={name: sizes[name] for name in self.symbols.hints})
        self._start_anew()

    def _find_loops(self) -> None:
        """At greater lengths where there are too few iterations, as of a loop over chunks."""
        series = list(map(self._with_the_example, self.lengths.series))
        for lengths in series:
            first = self._plain(lengths[0])
            if (self.around or self.inner) and self._takes_chunks(first):  # a row of one chunk would seem to be no loop
                series += map(self._with_the_example, self.lengths.series)
                continue
            if self._decides_in_each(first, lengths[0]):
                lengths = self._with_the_example(FEW.series[0])
            runs = [first if each == first.sizes[self.over] else self._plain(each) for each in lengths]
            functions, modules = functions_around(_calls(runs[0].run.tape.graph)), list(self.example.flat.modules())
            if self.around and compares_counters(functions):
                raise NotRolled("it compares or divides what it counts up in one loop with what it does in another")
            counted = turns(functions, modules)
            found = _looked_up(runs, self.over, lengths)
            beyond = _beyond(counted | thresholds(functions, modules), lengths[-1])
            more = [each for each in found if lengths[0] < each <= _LONGEST_ENTRY and each not in beyond][:_MOST_MORE]
            lengths, runs = (*lengths, *beyond, *more), [*runs, *map(self._plain, (*beyond, *more))]
            try:
                self._hold_up_to(*self._decided(runs, lengths), counted)
                return self._hold_without([each for each in found if each not in lengths])
            except NotPeriodic:
                if self._takes_chunks(runs[0]):
                    series += self.lengths.series
                elif _is_by_steps(runs, lengths):
                    break
        if runs[-1].calls == runs[0].calls:
            raise NoLoop("no calls repeat themselves")
        raise NotRolled("the calls of runs at several lengths do not repeat the same ones")

    def _decides_in_each(self, first: Plain, length: int) -> bool:
        """Whether a run of usual length decides by data in each iteration: it takes two runs and more for each, so that
        fewer have to do, and none of as many as chunks have."""
        self.decides = self.lengths is STEPS and not self.inner and len(first.run.decisions.made) >= length
        return self.decides

    def _decided(self, runs: Sequence[Plain], lengths: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """Roll up, with runs at further lengths where those so far have two answers. The lengths, and how often the
        loops run at them."""
        self._check_asked(runs)
        known = dict(zip(lengths, runs, strict=True))
        for _ in range(_MOST_MORE):
            try:
                ordered = [known[length] for length in sorted(known)]
                loops = Loops(ordered, self.over, tuple(sorted(known)), self.around)
                self._roll(ordered, loops)
                return sorted(known), loops.trips
            except Undecided as undecided:
                known[undecided.length] = self._plain(undecided.length)
        raise NotRolled(f"runs at {len(known)} lengths do not tell what a size is")

    def _check_asked(self, runs: Sequence[Plain]) -> None:
        """Raise NotRolled where iterations ask for known elements that are others in each: later ones may go another
        way by them."""
        forms = [_asked_forms(each.run) for each in runs]
        self.asked_forms, place = forms[-1], next(asked_differently(forms), None)
        if place is not None:
            raise NotRolled(f"{place.source} asks for other elements of the model's tensors in each iteration")

    def _roll(self, runs: Sequence[Plain], loops: Loops) -> None:
        try:
            self._peel(runs, loops)
        except (NotRolled, NotPeriodic) as error:
            if isinstance(error, NoLoop) or not loops.begin_later():
                raise
            self._start_anew()
            try:
                self._peel(runs, loops)
            except (NotRolled, NotPeriodic):
                raise error from None
        self._keep(runs, loops)

    def _peel(self, runs: Sequence[Plain], loops: Loops) -> None:
        """Play the loops, with the iterations beside them that are others than the rest."""
        while True:
            try:
                recipe = loops.recipe()
                know_rounded(self.tape, [each.run.guard_log for each in runs], loops.fit)
                self._play(runs, recipe, loops)
                return
            except Irregular as irregular:
                loops.peel(irregular)
                self._start_anew()

    def _keep(self, runs: Sequence[Plain], loops: Loops) -> None:
        """Keep what holds for the sizes that loops were made for."""
        if self.around:
            self.guard_log.plain += runs[0].run.guard_log.plain
            self.guard_log.ranges += runs[0].run.guard_log.ranges
            self.guard_log.entries.clear()  # what ops ask is asked once more, with no counter of theirs a plain number
        self._forget_guards([each.sizes for each in runs])
        self._keep_guards([each.run for each in runs], loops)
        for name, limit in self.limits.items():
            self.guard_log.add("<=", symbol(name), limit.most, True)

    def finish(self, reads: Set[int]) -> None:
        """End the graph."""
        self.tape.output(self._results)

    def _with_the_example(self, lengths: Sequence[int]) -> tuple[int, ...]:
        """The lengths, and that of the example where it is a usual one."""
        size = 0 if self.around else self.symbols.in_example(self.example.leaves).get(self.over, 0)
        return tuple(sorted({*lengths, *([size] if lengths[0] <= size <= LONGEST else [])}))

    def _hold_up_to(self, lengths: Sequence[int], trips: Sequence[int], counted: Set[int]) -> None:
        """Keep that the dim is no longer than the loops go on as they were seen to: until an expression of a counter
        makes a step that it has not made in the longest run."""
        unseen = min((each for each in counted if each > trips[-1]), default=None) if trips else None
        if unseen is not None:
            each_trip = (lengths[-1] - lengths[0]) // max(trips[-1] - trips[0], 1)
            most = lengths[-1] + (unseen - 1 - trips[-1]) * max(each_trip, 1)
            self._limit(LoopLimit(most, _MOST_UNROLLED * max(each_trip, 1)))

    def _hold_without(self, lengths: Sequence[int]) -> None:
        """Keep that the dim is none of these lengths, at which what the model looks up may be another entry than at
        those that were tried. That of the example alone is what an earlier call has left in a cache."""
        if lengths != [self.symbols.in_example(self.example.leaves).get(self.over)]:
            for length in lengths:
                self.guard_log.add("!=", symbol(self.over), length, True)

    def _limit(self, limit: LoopLimit) -> None:
        """Keep that the dim is no longer than what was rolled up for."""
        self.guard_log.add("<=", symbol(self.over), limit.most, True)
        self.limits[self.over] = limit

    def _symbols_at(self, length: int) -> SymbolTable:
        """For a run at one length."""
        return replace(self.symbols, hints={**self.symbols.hints, self.over: length})

    def _plain(self, length: int) -> Plain:
        """A run at one length; where Python asks plain numbers of other dims as well, its loops over one of those are
        rolled up in it."""
        symbols = self._symbols_at(length)
        sizes = {**symbols.hints, self.over: length}
        if self.inner:
            return Plain.of(self._inside(symbols, length), sizes)
        pairs = math.prod(sizes[name] for name in (self.over, *self.around))
        self.budget.take(pairs)
        run = Run.prepare(self.example, replace(symbols, takes_plain=True, counts=True))
        carry_out(run)
        calls = len(run.tape.graph.nodes)
        if run.guard_log.truths:
            raise NotRolled("it decides by what is made of the number of the iteration, as other lengths may not")
        asked = (name for each in run.guard_log.plain for name in sorted(numbers_in([each.dim])))
        inner = next((name for name in asked if name not in (self.over, *self.around)), "")
        if not inner:
            if self.around:
                self.budget.each = calls / pairs
            return Plain.of(run, sizes)
        if self.around or not {self.over, inner} <= symbols.hints.keys():
            raise NotRolled("more dims than two are plain numbers, or one beside a number from data")
        self.inner = inner
        self.budget.each = calls / (pairs * sizes[inner])
        self.budget.begin(sum(self.lengths.series[0]) * sum(self._lengths_inside(length).series[0]))
        return self._plain(length)

    def _lengths_inside(self, length: int) -> Lengths:
        """For the runs of one at this length, which are at others, as sizes would be equal by accident: three usual
        ones, or those that its chunks ask for."""
        usual = self.inside or INSIDE.get(self.lengths, INSIDE[STEPS])
        others = tuple(each for each in usual.series[0] if each != length)
        return replace(usual, series=(others if self.inside else others[:3],))

    def _inside(self, symbols: SymbolTable, length: int) -> RolledRun:
        """A run at these sizes, of which one is this length, whose loops over one more dim are rolled up."""
        lengths = self._lengths_inside(length)
        run = RolledRun.prepare_over(self.inner, lengths, self.example, symbols)
        assert isinstance(run, RolledRun)
        run.around, run.budget = self.around | {self.over}, self.budget
        carry_out(run)
        self.limits |= run.limits
        self.inside = self.inside if run.lengths is lengths else run.lengths
        return run

    # ── playing ──

    def _start_anew(self) -> None:
        fresh = Run.prepare(self.example, self.symbols)
        self.guard_log, self.tape, self.fakes, self.inputs = fresh.guard_log, fresh.tape, fresh.fakes, fresh.inputs
        self.data = fresh.data

    def _player(self, runs: Sequence[Plain], loops: Loops, recipe: Recipe) -> Player:
        """What plays on the tape, where inputs and weights have these names in the first run."""

        def outside(each: Outside) -> Any:
            return self.fakes[each.key] if each.kind == "input" else runs[0].weights[each]

        return Player(self.tape, outside, self._at, keeps_answers=bool(self.around))

    def _play(self, runs: Sequence[Plain], recipe: Recipe, loops: Loops) -> None:
        first, counted = runs[0], self._counted(runs)
        self.changes, self.returned, self.ways = first.run.changes, counted.returned, first.run.ways
        self.tape.values.reads.update(first.run.tape.values.reads)

        player = self.player = self._player(runs, loops, recipe)
        with self._playing():
            results = player.play(recipe)
            outputs, written = results[: len(first.outputs)], results[len(first.outputs) :]
            said = partial(_number, loops, player)
            self._results = list(counted.filled(outputs, said))
            for node, value in zip(first.mutations, written, strict=True):
                self.tape.call(_COPY, (player.outside(first.outside[node]), value), {})

    def _counted(self, runs: Sequence[Plain]) -> Counted:
        """What all runs return. Raises NotRolled where something else than a tensor or a size is another one at another
        length: a number that Python counted up, of which the result would be that of one length."""
        first = runs[0].run.returned
        if any(each.run.returned.structure != first.structure for each in runs):
            raise NotRolled("a number or a text that the loop has made is returned, or left in an argument")
        return Counted(first, {})

    @contextmanager
    def _playing(self) -> Iterator[None]:
        """What surrounds calls that are made again: their places are those that they had."""
        locator = Locator()
        self.tape.place = self._place
        self.guard_log.locate = partial(_located, locator, self._now)
        with torch.no_grad(), torch.autocast("cpu", enabled=False), enable_python_dispatcher(), self.tape.cache.mode:
            yield

    def _at(self, node: fx.Node) -> None:
        self._now[:] = [node]

    def _place(self) -> dict[str, Any]:
        meta = self._now[0].meta if self._now else {}
        return {name: meta[name] for name in ("nn_module_stack", "stack_trace") if name in meta}

    def _forget_guards(self, lengths: Sequence[Mapping[str, int]]) -> None:
        """Drop what an op asked that the runs answer in different ways: they have left the same calls."""
        entries = self.guard_log.entries
        for key, guard in list(entries.items()):
            alike = guard.symbols <= self.symbols.hints.keys() and all(guard.holds(sizes) for sizes in lengths)
            if not alike and guard.relation != "==":
                del entries[key]

    def _keep_guards(self, runs: Sequence[Run], loops: Loops) -> None:
        """What the model decides by sizes alike at all lengths, the loops' own conditions apart: those are asked more
        often at greater lengths."""
        own = [{key: each for key, each in run.guard_log.entries.items() if not each.inside} for run in runs]
        varying = {each.location for log in own for key, each in log.items() if any(key not in other for other in own)}
        for key, guard in own[0].items():
            if guard.location not in varying:
                self.guard_log.entries.setdefault(key, guard)


def _number(loops: Loops, player: Player, numbers: Sequence[int]) -> Any:
    """What a plain number is that the runs return."""
    return player.read(with_dims(loops.number(numbers), player.known))


def _asked_forms(run: Run) -> AskedForms:
    """What the model has asked for of known elements, in a run or in the longest one behind it."""
    return run.asked_forms if isinstance(run, RolledRun) else run.tape.values.forms


def _calls(graph: fx.Graph) -> Iterator[fx.Node]:
    """The calls of a graph, and of the bodies in it."""
    for node in graph.nodes:
        if node.op == "get_attr":
            yield from _calls(getattr(graph.owning_module, str(node.target)).graph)
        else:
            yield node


def _looked_up(runs: Sequence[Plain], over: str, tried: Sequence[int]) -> list[int]:
    """Other lengths at which something is among the keys that the model looks a size up in."""
    keys = set().union(*(each.run.guard_log.keys for each in runs))
    dims = [each.dim for each in runs[0].run.guard_log.plain if isinstance(each.dim, Expr)]
    own = [dim for dim in dict.fromkeys(dims) if dim.symbols == {over}]
    return sorted({sizes[over] for sizes in looked_up({over: tried[-1]}, keys, own) if sizes[over] > 1} - {*tried})


def _beyond(numbers: Set[int], longest: int) -> list[int]:
    """A length at which comparisons with numbers in the code have gone both ways, where those so far are none."""
    greatest = max((each for each in numbers if each <= LONGEST), default=0) + 2
    return [greatest] if greatest > longest else []


def _is_by_steps(runs: Sequence[Plain], lengths: Sequence[int]) -> bool:
    """Whether a greater length always makes more calls, and many: longer runs would be long ones. A loop over chunks
    makes as many at several lengths, whatever one chunk takes."""
    calls = [each.calls for each in runs]
    return len(set(calls)) == len(calls) and calls[-1] - calls[0] >= 2 * (lengths[-1] - lengths[0])


def with_reason(error: Error, reason: BaseException | None) -> Error:
    """An error about a size, which says why the loops over it are not rolled up, or what went wrong in it; as it is
    where there are none."""
    if not isinstance(reason, (NotRolled, *_FAULTS)) or isinstance(reason, NoLoop):
        return error
    said = copy(error)
    said.__cause__ = reason
    is_told = isinstance(reason, NotRolled)
    why = str(reason) if is_told else f"{type(reason).__name__}: {str(reason).partition(chr(10))[0]}"
    said.cause = f"{error.cause.partition(_UNROLLED)[0]}{_UNROLLED}{why}"
    if is_told and isinstance(error, FrozenDimension):
        said.cure = (
            "let each iteration make the same calls, on slices of one size that begin further on by the same number "
            "(a mask in place of a slice that grows); or leave the dim static"
        )
    return said


def _located(locator: Locator, now: Sequence[fx.Node]) -> Location:
    """The place of the call that is made again; the notes of a trace ask for it, and hold no run for that."""
    return locator(now[0]) if now else Location()
