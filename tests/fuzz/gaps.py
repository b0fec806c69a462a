"""Faults that are known: a program that shows one is counted apart, for this reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fuzz.judge import Judgement, Verdict
from tests.fuzz.program import Program


@dataclass(frozen=True)
class Gap:
    """A verdict on programs in whose source one pattern is found, and in what was said another."""

    verdict: Verdict
    source: str
    said: str
    reason: str


GAPS: tuple[Gap, ...] = (
    Gap(
        Verdict.WRONG,
        r"prod\(.*float16",
        "",
        "a product of float16 that becomes 0 on the way, which is computed and read on in float32 (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        r"prod\(",
        r"(?s)float16.*wanted.*(nan|inf)",
        "a product of float16 that leaves its range on the way, which torch computes in float16 (decision 11)",
    ),
)


def gap(program: Program, judgement: Judgement) -> str | None:
    """Why a failure is a known one; None where it is not."""
    for each in GAPS:
        found = re.search(each.source, program.module) and re.search(each.said, judgement.text)
        if each.verdict is judgement.verdict and found:
            return each.reason
    return None
