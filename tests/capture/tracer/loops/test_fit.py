"""Numbers at several lengths are an expression of the length, or none."""

import pytest

from fxonnx.capture.tracer.loops.fit import Fit
from fxonnx.ir.dims import evaluate, parse_dim, substitute

LENGTHS = (7, 8, 11, 13)
EXPRESSIONS = ["n", "3", "n - 2", "2*n + 1", "5 - n", "b*n + c", "(n + 3) // 4", "4*((n + 3) // 4) - 4", "b*(n - 1)"]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_expression_is_found_again(text):
    dim = parse_dim(text)
    values = [substitute(dim, {"n": length}) for length in LENGTHS]
    found = Fit("n", LENGTHS, (4,))(values)
    sizes = {"b": 101, "c": 103}
    assert all(evaluate(found, {**sizes, "n": n}) == evaluate(dim, {**sizes, "n": n}) for n in range(2, 40))


@pytest.mark.parametrize("values", [(1, 2, 4, 8), (7, 8, 11, 14), (0, 1, 0, 1)])
def test_other_numbers_are_none(values):
    assert Fit("n", LENGTHS, (2, 3, 4))(values) is None
