"""A share of the conformance suite that meets every operator: in one or two of its dtypes, and once in another.

Each sample compiles and agrees with torch, or raises the error that the table of gaps has for its operator. The whole
takes two minutes on one core; `pytest -k linalg` or `-n` for less. `make conformance` runs all there is.
"""

from __future__ import annotations

import pytest
from tests.conformance.gaps import EXCLUDED, GAPS, NOT_REPEATABLE, POSITIONS_AMONG_EQUALS, gap_of
from tests.conformance.outcomes import outcomes
from tests.conformance.samples import Case, operator_name, share
from tests.lowering.database import operators_by_name


@pytest.mark.parametrize("case", share(), ids=str)
def test_operator(case: Case) -> None:
    gap = gap_of(case.operator, str(case.dtype).removeprefix("torch."))
    known = {("right", ""), ("refused", gap.error.__name__)} if gap else {("right", "")}
    found = [(kind, text) for kind, text in outcomes(case) if (kind, text.partition(":")[0]) not in known]
    assert found == [], gap.reason if gap else "a gap without a row"


def test_the_tables_name_operators_of_the_database() -> None:
    known = {operator_name(info) for same in operators_by_name().values() for info in same}
    named = frozenset().union(*EXCLUDED.values(), *(gap.operators for gap in GAPS), NOT_REPEATABLE)
    assert (named | POSITIONS_AMONG_EQUALS.keys()) - known == set()


def test_what_is_excluded_has_no_row() -> None:
    assert frozenset().union(*EXCLUDED.values()).intersection(*(gap.operators for gap in GAPS)) == set()
