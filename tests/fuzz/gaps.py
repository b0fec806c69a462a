"""Faults that are known: a program that shows one is counted apart, for this reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.fuzz.judge import Judgement, Verdict
from tests.fuzz.program import Program


@dataclass(frozen=True)
class Gap:
    """A verdict that programs get whose source a pattern is found in."""

    verdict: Verdict
    pattern: str
    reason: str


GAPS = (
    Gap(
        Verdict.WRONG,
        r"\b([xyz]|self\.w[0-9])\.squeeze_\(",
        "squeeze_ changes the shape of the caller's own tensor, or of a buffer; a file can only write its elements",
    ),
)


def gap(program: Program, judgement: Judgement) -> str | None:
    """Why a failure is a known one; None where it is not."""
    for each in GAPS:
        if each.verdict is judgement.verdict and re.search(each.pattern, program.module):
            return each.reason
    return None
