"""Numbers at several lengths are an expression of the length, or none."""

import pytest

from fxonnx.capture.tracer.loops.fit import Fit, Undecided
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


@pytest.mark.parametrize("text", ["n // 2", "(n + 1) // 2", "n - n // 2", "3*n // 4", "n // 6", "3*(n // 3) - 1"])
def test_parts_of_a_length_are_found_by_themselves(text):
    lengths, dim = (36, 40, 41, 47, 48, 49, 55, 59, 60, 61), parse_dim(text)
    found = Fit("n", lengths)([evaluate(dim, {"n": length}) for length in lengths])
    assert all(evaluate(found, {"n": n}) == evaluate(dim, {"n": n}) for n in range(1, 200))


@pytest.mark.parametrize("values", [(1, 2, 4, 8), (7, 8, 11, 14), (0, 1, 0, 1)])
def test_other_numbers_are_none(values):
    assert Fit("n", LENGTHS, (2, 3, 4))(values) is None


@pytest.mark.parametrize(("plain", "length"), [("min(n, 50)", 51), ("min(n, 5000)", None)])
def test_what_was_made_plain_is_told_from_what_only_looks_alike(plain, length):
    fit = Fit("n", LENGTHS, plain=(parse_dim(plain),))
    if length is None:
        assert fit(LENGTHS) == parse_dim(plain)
        return
    with pytest.raises(Undecided) as undecided:
        fit(LENGTHS)
    assert undecided.value.length == length


def test_two_that_only_a_long_run_would_tell_apart_are_none():
    assert Fit("n", LENGTHS, plain=(parse_dim("min(n, 5000)"), parse_dim("n")))(LENGTHS) is None


def test_quotients_that_the_lengths_leave_open_are_asked_of_another_length():
    lengths, dim = (36, 40, 48, 49, 55, 61), parse_dim("(n + 2) // 4")
    values = [evaluate(dim, {"n": length}) for length in lengths]
    with pytest.raises(Undecided) as undecided:
        Fit("n", lengths, (4,))(values)
    assert undecided.value.length % 4 == 2
