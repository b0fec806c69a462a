"""Every operator of torch's database that takes part compiles and agrees with torch, or is a gap with a row.

The whole takes two minutes on one core; `pytest -k linalg` or `-n` for less.
"""

from __future__ import annotations

import pytest
from tests.conformance.gaps import EXCLUDED, GAPS, NOT_REPEATABLE, POSITIONS_AMONG_EQUALS, gap_of
from tests.conformance.samples import Case, Sample, cases, operator_name
from tests.lowering.database import operators_by_name

from fxonnx import errors


@pytest.mark.parametrize("case", cases(), ids=str)
def test_operator(case: Case) -> None:
    gap = gap_of(case.operator, str(case.dtype).removeprefix("torch."))
    raised = {name for sample in case.samples() for name in failures(sample)}
    assert raised == ({gap.error.__name__} if gap else set()), gap.reason if gap else "a gap without a row"


def failures(sample: Sample) -> set[str]:
    """The errors that compiling or calling raises; AssertionError where the result is not torch's."""
    try:
        found = sample.found()
    except errors.Failures as several:
        return {type(error).__name__ for error in several.errors}
    except errors.Error as error:
        return {type(error).__name__}
    sample.check(found)
    return set()


def test_the_tables_name_operators_of_the_database() -> None:
    known = {operator_name(info) for same in operators_by_name().values() for info in same}
    named = frozenset().union(*EXCLUDED.values(), *(gap.operators for gap in GAPS), NOT_REPEATABLE)
    assert (named | POSITIONS_AMONG_EQUALS.keys()) - known == set()


def test_what_is_excluded_has_no_row() -> None:
    assert frozenset().union(*EXCLUDED.values()).intersection(*(gap.operators for gap in GAPS)) == set()
