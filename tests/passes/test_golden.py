"""The golden pictures: see golden.py for how a case is written, and how it is updated."""

import pytest
from tests.passes import golden


@pytest.mark.parametrize("case", golden.CASES, ids=str)
def test_golden(case, request):
    after = golden.printed(golden.result(case))
    if request.config.getoption("--update-golden"):
        golden.write(case, after)
    else:
        assert after == case.after


@pytest.mark.parametrize("case", golden.CASES, ids=str)
def test_a_case_is_printed_as_it_is_written(case):
    assert golden.printed(golden.graph(case.before)) == case.before


def test_cases_have_different_names():
    names = [str(case) for case in golden.CASES]
    assert len(names) == len(set(names))
