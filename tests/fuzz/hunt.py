"""Draw programs from seeds, judge them, and shrink those that fail."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import InMemoryExampleDatabase
from tests.fuzz.gaps import gap
from tests.fuzz.judge import ALL, Judgement, Verdict
from tests.fuzz.program import Program
from tests.fuzz.strategy import programs

ENTROPY = 4_000  # bytes that a program is drawn from; none has used them up

Judge = Callable[..., Judgement]


class Found(Exception):
    """A program fails in the way that is looked for."""


class Enough(BaseException):
    """Shrinking has taken long enough. Hypothesis lets it through."""


@dataclass
class Tally:
    """How many programs got which verdict, what refusals said, and the shrunk programs that fail."""

    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = [f"{count:6} {name}" for name, count in self.verdicts.most_common()]
        return "\n".join([*counts, *(f"{count:6} {kind}" for kind, count in self.kinds.most_common())])


def hunt(seeds: Iterable[int], judge: Judge, *, shrinks: bool = True) -> Tally:
    """Judge the program of each seed; of failures of one kind the first is shrunk."""
    tally = Tally()
    for seed in seeds:
        program = program_of(seed)
        judgement = judge(program)
        known = gap(program, judgement)
        tally.verdicts["KNOWN GAP" if known else judgement.verdict.name] += 1
        tally.kinds[known or judgement.kind] += 1
        if judgement.verdict.fails and not known:
            if shrinks:
                program, judgement = shrunk(seed, judgement, judge)
            tally.failures.append(f"# seed {seed}, {judgement}\n\n{program}")
    return tally


def program_of(seed: int) -> Program:
    """The program that a seed draws."""
    drawn: list[Program] = []

    @settings(database=None)
    @given(programs())
    def draw(program: Program) -> None:
        drawn.append(program)

    draw.hypothesis.fuzz_one_input(Random(seed).randbytes(ENTROPY))
    return drawn[0]


def shrunk(seed: int, judgement: Judgement, judge: Judge, attempts: int = 300) -> tuple[Program, Judgement]:
    """The smallest program found that fails as the seed's does, of as many as `attempts`, and its judgement."""
    configurations = ALL if judgement.verdict is Verdict.CRASH else (judgement.configuration,)
    failing: list[tuple[Program, Judgement]] = []
    known: dict[str, Judgement] = {}

    @settings(
        database=InMemoryExampleDatabase(), phases=[Phase.reuse, Phase.shrink], deadline=None,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(programs())
    def again(program: Program) -> None:
        if len(known) == attempts:
            raise Enough
        source = str(program)
        if source not in known:
            known[source] = judge(program, configurations)
        if known[source].kind == judgement.kind:
            failing.append((program, known[source]))
            raise Found

    with contextlib.suppress(Found):
        again.hypothesis.fuzz_one_input(Random(seed).randbytes(ENTROPY))  # fails, and lays it into the database
    with contextlib.suppress(Found, Enough):
        again()  # takes it from there, and shrinks
    return failing[-1]
