"""Draw programs from seeds, judge them, and shrink those that fail."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import InMemoryExampleDatabase
from tests.fuzz.gaps import gap
from tests.fuzz.judge import ALL, Judgement, Verdict
from tests.fuzz.ops import FAMILIES
from tests.fuzz.program import Op, Program
from tests.fuzz.strategy import programs

ENTROPY = 4_000  # bytes that a program is drawn from; none has used them up
SHRINKING = (10.0, 60.0)  # seconds that one failure is shrunk for: at least, where the time is over, and at most

Judge = Callable[..., Judgement]


class Found(Exception):
    """A program fails in the way that is looked for."""


class Enough(BaseException):
    """Shrinking has taken long enough. Hypothesis lets it through."""


@dataclass(frozen=True)
class Tally:
    """How many programs got which verdict, and what was said of them."""

    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = [*self.verdicts.most_common(), *self.kinds.most_common()]
        return "\n".join(f"{count:6} {name}" for name, count in counts)


def hunt(seeds: Iterable[int], judge: Judge, tally: Tally, end: float = float("inf")) -> Iterator[str]:
    """Judge the program of each seed, and count; the failures, shrunk, as they are found. Little is shrunk after
    `end`, a time of `time.monotonic`."""
    for seed in seeds:
        program = program_of(seed)
        judgement = judge(program)
        known = gap(program, judgement)
        tally.verdicts["KNOWN GAP" if known else judgement.verdict.name] += 1
        tally.kinds[known or judgement.kind] += 1
        if judgement.verdict.fails and not known:
            seconds = sorted((*SHRINKING, end - time.monotonic()))[1]
            program, judgement = shrunk(seed, judgement, judge, seconds)
            yield f"# seed {seed}, {judgement}\n\n{program}"


def program_of(seed: int, families: Sequence[Sequence[Op]] = FAMILIES) -> Program:
    """The program of the ops of some families that a seed draws."""
    drawn: list[Program] = []

    @settings(database=None)
    @given(programs(families))
    def draw(program: Program) -> None:
        drawn.append(program)

    draw.hypothesis.fuzz_one_input(Random(seed).randbytes(ENTROPY))
    return drawn[0]


def shrunk(
    seed: int, judgement: Judgement, judge: Judge, seconds: float, families: Sequence[Sequence[Op]] = FAMILIES
) -> tuple[Program, Judgement]:
    """The smallest program found in some seconds that fails as the seed's does, and its judgement."""
    end = time.monotonic() + seconds
    configurations = ALL if judgement.verdict is Verdict.CRASH else (judgement.configuration,)
    failing: list[tuple[Program, Judgement]] = []
    known: dict[str, Judgement] = {}

    @settings(
        database=InMemoryExampleDatabase(), phases=[Phase.reuse, Phase.shrink], deadline=None,
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(programs(families))
    def again(program: Program) -> None:
        if failing and time.monotonic() > end:
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
