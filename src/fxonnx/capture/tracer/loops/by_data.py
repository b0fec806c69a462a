"""Loops that go by a number from data, `for t in range(int(lengths.max()))`: found as those over a dim are, in runs in
which the number is a plain one of several lengths. What is made of it is then an expression of the number itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fxonnx.capture.call.example import Example
from fxonnx.capture.equivalence.zero_one import LoopLimit
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.loops.find import Loops
from fxonnx.capture.tracer.loops.flow import Recipe, Value
from fxonnx.capture.tracer.loops.lengths.series import STEPS, Lengths
from fxonnx.capture.tracer.loops.measures.measured import Sized
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.loops.plain import Plain
from fxonnx.capture.tracer.loops.play import Number, Player
from fxonnx.capture.tracer.loops.questions.short import RunOfTurns
from fxonnx.capture.tracer.loops.recording import BEYOND, FEWER
from fxonnx.capture.tracer.run import Prepare, Run
from fxonnx.capture.tracer.sizes.data import BELOW, numbers_in
from fxonnx.capture.tracer.sizes.primes import prime_near
from fxonnx.ir.dims import Dim, substitute, symbol, symbols_of

_MOST: dict[str, Callable[[int, int], int]] = {"<": max, "<=": max, ">": min, ">=": min}
_ROOM = 4  # sizes of inputs, which the number often counts elements of, to the longest run


@dataclass(eq=False)
class RunByData(RunOfTurns):
    """As RolledRun, `over` the name of a number that comes from data."""

    is_signed: bool = False

    def preparation(self) -> Prepare:
        """See `Run`."""
        return partial(RunByData.prepare_by, self._number, self.lengths)

    @staticmethod
    def prepare_by(number: Dim, lengths: Lengths, example: Example, symbols: SymbolTable) -> Run:
        """Of what was asked of a number, or of an expression of one."""
        (name,) = numbers_in([number])
        room = dict(_with_room(symbols, _ROOM * lengths.played)) if lengths is STEPS else symbols.hints
        symbols = replace(symbols, hints=room, numbers={name: lengths.played})
        run = Run.prepare(example, symbols)
        is_signed = f"{name}{BELOW}" in symbols_of([number])
        return RunByData(
            run.example, run.symbols, run.guard_log, run.locations, run.tape, run.fakes, run.inputs, run.decisions,
            run.data, over=name, lengths=lengths, is_signed=is_signed,
        )  # fmt: skip

    @property
    def _number(self) -> Dim:
        return symbol(self.over) - symbol(f"{self.over}{BELOW}") if self.is_signed else symbol(self.over)

    def _symbols_at(self, length: int) -> SymbolTable:
        return replace(self.symbols, numbers={self.over: length})

    def _play_at(self, length: int) -> None:
        self.symbols = self._symbols_at(length)
        self._start_anew()

    def _player(self, runs: Sequence[Plain], loops: Loops, recipe: Recipe) -> Player:
        player = super()._player(runs, loops, recipe)
        told = loops.told(self._number)
        if not isinstance(told, Sized) or not isinstance(told.measures[0], Value):
            raise NotRolled("the number that it goes by is told by another loop")
        player.by = Number(self.over, told, told.measures[0].step)
        return player

    def _limit(self, limit: LoopLimit) -> None:
        self.player.check("<=", self.player.known[self.over] - limit.most, BEYOND)

    def _keep_guards(self, runs: Sequence[Run], loops: Loops) -> None:
        """What holds of sizes in the runs because the number is as small as it was, calls are checked for: that m rows
        are within n. At sizes of dims alone the program would go on with what it has not."""
        super()._keep_guards(runs, loops)
        self.player.check(">=", self.player.known[self.over] - self.least, FEWER)
        logs = [set(run.guard_log.entries) for run in runs]
        varying = {key for log in logs for key in log if not all(key in other for other in logs)}
        strongest = list(map(_strongest, logs))
        for relation, dim in dict.fromkeys(_without_number(*each)[0] for each in varying):
            found = [each[relation, dim] for each in strongest if (relation, dim) in each]
            rest = loops.fit(found) if len(found) == len(runs) else None
            if rest is None:
                raise NotRolled("it decides by sizes and the number that it goes by")
            self.player.check(relation, dim + substitute(rest, self.player.known), BEYOND)


def _strongest(compared: Iterable[tuple[str, Dim]]) -> dict[tuple[str, Dim], int]:
    """Of comparisons of dims, plus a number each, with 0: the relation, the dim, and the number that says the most."""
    found: dict[tuple[str, Dim], int] = {}
    for key, number in (_without_number(*each) for each in compared if each[0] in _MOST):
        found[key] = _MOST[key[0]](number, found.get(key, number))
    return found


def _without_number(relation: str, dim: Dim) -> tuple[tuple[str, Dim], int]:
    number = 0 if isinstance(dim, int) else dict(dim.terms).get((), 0)
    return (relation, dim - number), number


def _with_room(symbols: SymbolTable, least: int) -> Iterator[tuple[str, int]]:
    """Sizes of dims that are so large at least, as far as they may be."""
    chosen: list[int] = []
    for name, size in symbols.hints.items():
        large = prime_near(max(size, least), chosen)
        chosen.append(large if large <= symbols.highs.get(name, large) else size)
        yield name, chosen[-1]
