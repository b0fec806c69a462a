"""Loops that data ends, `while err > tol` or `if done.all(): break`: found as those over a dim are, in runs that are
told after how many turns they end. What is played is a loop with a condition, which its body computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

from fxonnx.capture.call.example import Example
from fxonnx.capture.tracer.decisions.script import MOST_TIMES
from fxonnx.capture.tracer.decisions.turns import Turns
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.loops.find import Loops
from fxonnx.capture.tracer.loops.fit import Undecided
from fxonnx.capture.tracer.loops.flow import Recipe
from fxonnx.capture.tracer.loops.lengths import counters
from fxonnx.capture.tracer.loops.lengths.series import STEPS
from fxonnx.capture.tracer.loops.lengths.thresholds import functions_around, thresholds
from fxonnx.capture.tracer.loops.periods import Irregular, NotRolled
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.play import Ending, Player
from fxonnx.capture.tracer.loops.questions.said import read_behind
from fxonnx.capture.tracer.loops.questions.short import RunOfTurns
from fxonnx.capture.tracer.loops.recording import FEWER
from fxonnx.capture.tracer.paths.counted import Counted, Unlike
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.run import Prepare, Run

_TURNS = "_turns"  # what the number of turns is called in a recipe
_ENDLESS = 2**31 - 1
_MOST_TURNS = 1_000
_FEW = 2 * MOST_TIMES  # turns
_POWERS = 7  # of two
_MOST_CALLS = 12_000  # of all runs that tell what comes of a number of turns
_LEAST_CALLS = 60_000  # the same, for few turns


@dataclass(eq=False)
class RunByQuestion(RunOfTurns):
    """As RolledRun, over the number of turns of a loop that asks by these `turns`.

    Where Python is in one state whenever the loop asks, but for what is in tensors, what it does behind the loop is
    the same after any number of turns. Else a run of many turns shows that they are alike, and runs that end before
    that what comes of their number."""

    turns: Turns | None = None
    ending: Ending | None = None
    _shortest: int = field(default=STEPS.series[0][0], init=False)
    _by_itself: Plain | None = field(default=None, init=False)  # a run in which the loop ends by itself

    def preparation(self) -> Prepare:
        """See `Run`."""
        assert self.turns is not None
        return partial(RunByQuestion.prepare_asking, self.turns)

    @staticmethod
    def prepare_asking(turns: Turns, example: Example, symbols: SymbolTable) -> Run:
        """Of what a loop asks in each turn."""
        run = Run.prepare(example, replace(symbols, rolls_turns=False, repeated=None))
        return RunByQuestion(
            run.example, run.symbols, run.guard_log, run.locations, run.tape, run.fakes, run.inputs, run.decisions,
            run.data, over=_TURNS, lengths=STEPS, turns=turns,
        )  # fmt: skip

    def _find_loops(self) -> None:
        lengths = self.lengths.series[0]
        runs = {each: self._plain(each) for each in lengths}
        self._tell(runs)
        each = max((runs[lengths[-1]].calls - runs[lengths[0]].calls) // (lengths[-1] - lengths[0]), 1)
        is_alike = self._is_alike(runs[lengths[-1]].run)
        if is_alike and runs[lengths[-1]].run.asked.is_free(self._shortest):
            self.ending = Ending(self.over, _ENDLESS)
        else:
            runs |= self._told(runs, each, is_alike=is_alike)
        self._decided([runs[length] for length in sorted(runs)], sorted(runs))

    def _told(self, known: Mapping[int, Plain], each: int, *, is_alike: bool) -> dict[int, Plain]:
        """Runs that tell what a number of turns makes another one, of so many calls each: that of the most turns, which
        begins as all do, and, where Python's state is not alike in each, some in which it goes on behind fewer."""
        assert self.turns is not None
        wanted = set() if is_alike else self._telling(known)
        self.turns = replace(self.turns, are_noted=is_alike)
        most, self._by_itself = self._longest(_most(wanted, each))
        runs = {most: self._plain(most)}
        if is_alike and not self._is_alike(runs[most].run):
            raise NotRolled("what Python knows when it asks is something else in later turns")
        self._tell({**known, **runs})
        runs |= {length: self._plain(length) for length in sorted(wanted - known.keys()) if length < most}
        self.ending = Ending(self.over, most)
        return runs

    def _is_alike(self, run: Run) -> bool:
        """Whether Python is in one state whenever the loop asks, and asks in no turn for known elements of what another
        turn has made: it does the same in each."""
        crosses = any(since < asked for since, asked in run.tape.values.uses)
        return not crosses and run.asked.is_alike(self._shortest)

    def _telling(self, known: Mapping[int, Plain]) -> set[int]:
        """Numbers of turns behind which Python may go on in another way: some in a row, powers of two, and those that
        the model's code compares with."""
        calls = (node for run in known.values() for node in run.run.tape.graph.nodes if node.op == "call_function")
        functions, modules = functions_around(calls), list(self.example.flat.modules())
        compared = counters.turns(functions, modules) | thresholds(functions, modules)
        powers = {2**each + more for each in range(_POWERS) for more in (0, 1)}
        found = {each + more for each in compared for more in (-1, 0, 1)} | powers
        return {*range(self._shortest, 2 * self._shortest), *(each for each in found if each >= self._shortest)}

    def _tell(self, known: Mapping[int, Plain]) -> None:
        """Raise NotRolled where runs of some turns are no loop already."""
        lengths = tuple(sorted(known))
        runs = [known[each] for each in lengths]
        loops = Loops(runs, self.over, lengths)
        while True:
            try:
                loops.recipe()
                for numbers in self._counted(runs).numbers.values():
                    loops.number(numbers)
                return
            except Irregular as irregular:
                loops.peel(irregular)
            except Undecided:
                return  # which further runs are to decide

    def _longest(self, turns: int) -> tuple[int, Plain | None]:
        """After how many turns at most data ends the loop, up to this number of them; and a run in which it ends by
        itself before, if it does. Raises NotRolled where those are so few that each may be a branch."""
        longest = self._plain(turns)
        asked = longest.run.asked
        if asked.times <= MOST_TIMES:
            raise NotRolled("it has few turns, each of which may be a branch of its own")
        return (turns, None) if asked.is_over else (asked.times - 1, longest)

    def _symbols_at(self, length: int) -> SymbolTable:
        assert self.turns is not None
        return replace(self.symbols, turns=replace(self.turns, count=length))

    def _plain(self, length: int) -> Plain:
        """A run in which the loop goes on so often, if it does not end by itself before."""
        if self.ending is not None and length > self.ending.most:
            raise NotRolled("runs of some turns do not tell what a number is")
        symbols = replace(self._symbols_at(length), takes_plain=True, counts=True)
        run = Run.prepare(self.example, symbols)
        carry_out(run)
        if run.guard_log.truths or run.guard_log.plain:
            raise NotRolled("it makes plain numbers of sizes, in a model with a loop that data ends")
        return Plain.of(run, {**symbols.hints, self.over: length})

    def _check_asked(self, runs: Sequence[Plain]) -> None:
        """The longest run has asked in all turns that there may be; see `_is_alike` where their number has no end."""

    def _roll(self, runs: Sequence[Plain], loops: Loops) -> None:
        self._peel(runs, loops)
        self._keep(runs, loops)

    def _counted(self, runs: Sequence[Plain]) -> Counted:
        if len({each.run.left for each in runs}) > 1:
            raise NotRolled("it leaves other things in the model after other numbers of turns")
        try:
            return Counted.of([each.run.returned for each in runs])
        except Unlike:
            raise NotRolled("it returns other structures after other numbers of turns") from None

    def _player(self, runs: Sequence[Plain], loops: Loops, recipe: Recipe) -> Player:
        assert self.ending is not None
        player = super()._player(runs, loops, recipe)
        if self.least and self._short[self.least - 1] is not None:
            raise NotRolled("it does something else after few turns, each of which may be a branch of its own")
        player.ending = self.ending
        if self._by_itself is not None:
            player.ending = self._ended_by_itself(self._by_itself, runs, loops, recipe)
        return player

    def _ended_by_itself(self, run: Plain, runs: Sequence[Plain], loops: Loops, recipe: Recipe) -> Ending:
        """With as many turns as the loop has where it ends by itself, if it makes the same calls then as where data
        ends it, but for what it asks; else calls that go so far are refused."""
        assert self.ending is not None
        for turns in (self.ending.most + 1, self.ending.most):
            matched = loops.match_ended(run, turns, is_asked_last=turns == self.ending.most)
            if matched is None or read_behind(matched, loops, recipe, turns, is_strict=True) is None:
                continue
            if self._returns(run, turns, runs, loops):
                return Ending(self.over, turns, by_itself=True)
        return self.ending

    def _play_at(self, length: int) -> None:
        self._start_anew()

    def _keep_guards(self, runs: Sequence[Run], loops: Loops) -> None:
        super()._keep_guards(runs, loops)
        if self.over not in self.player.known:
            raise NotRolled("the calls of its turns are no loop that asks")
        self.player.check(">=", self.player.known[self.over] - self.least, FEWER)


def _most(telling: Set[int], each: int) -> int:
    """The most turns that are tried, of so many calls each, where runs of fewer are to tell as well."""
    most, total = 0, 0
    for turn in range(1, _MOST_TURNS + 1):
        total += turn * (turn in telling)
        if each * (total + turn) <= (_MOST_CALLS if turn > _FEW else _LEAST_CALLS):
            most = turn
    if most <= MOST_TIMES:
        raise NotRolled("what is done behind it may be something else after each number of turns, which are many calls")
    return most
