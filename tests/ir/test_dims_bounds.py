"""What is told of dims without their sizes: bounds, equations, and other algebras."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ir.test_dims import ANY_SIZES, EXPRESSIONS, NAMES, SIZES, k, m, n

from fxonnx.ir.dims import (
    Algebra,
    Bounds,
    bound,
    certain,
    evaluate,
    fold,
    linear,
    lone_atom,
    maximum,
    minimum,
    of_atom,
)

RELATIONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@given(EXPRESSIONS, st.lists(SIZES, min_size=2, max_size=2))
def test_a_value_lies_in_its_bounds(pair, ends):
    lows = {name: min(each[name] for each in ends) for name in NAMES}
    highs = {name: max(each[name] for each in ends) for name in NAMES}
    for highest in ({}, highs):
        low, high = Bounds(lows, highest).interval(pair.dim)
        assert all(low <= pair.value(sizes) <= high for sizes in (*ends, lows, highs))


@pytest.mark.parametrize(("dim", "interval"), [
    (n % 4, (0, 3)), (n // 2 - n, (float("-inf"), -1)), (n * m - n, (2, float("inf"))), (minimum(n, 8) + 1, (3, 9)),
    (n - n // 2 - n // 3, (1, float("inf"))), (-n % 4 * k, (0, float("inf"))),
    (maximum(n, m) - n, (0, float("inf"))), (minimum(n, 8) - n, (float("-inf"), 0)),
    (n - minimum(n, 8), (0, float("inf"))), (n - maximum(n, m), (float("-inf"), 0)),
])  # fmt: skip
def test_bounds_over_sizes_of_2_and_more(dim, interval):
    assert Bounds({}, {}, 2).interval(dim) == interval


@given(st.sampled_from(list(RELATIONS)), st.integers(-3, 3), st.integers(0, 3))
def test_a_comparison_is_certain_where_it_is_the_same_for_all(relation, low, width):
    found = {RELATIONS[relation](value, 0) for value in range(low, low + width + 1)}
    assert certain(relation, low, low + width) == (found.pop() if len(found) == 1 else None)


@given(st.sampled_from(list(RELATIONS)), st.integers(-9, 9), st.integers(-40, 40), ANY_SIZES)
def test_a_bound_says_what_the_comparison_says(relation, slope, offset, sizes):
    found = bound(relation, slope * n + offset)
    if relation in ("==", "!=") or slope == 0:
        assert found is None
        return
    name, low, high = found
    inside = sizes[name] >= low if high is None else sizes[name] <= high
    assert inside is RELATIONS[relation](slope * sizes[name] + offset, 0)


@given(st.sampled_from(("<", "<=", ">", ">=")), st.integers(1, 5), st.integers(-9, 9), ANY_SIZES)
def test_a_bound_sees_through_quotients(relation, divisor, offset, sizes):
    quotient = ((n + offset) // divisor - offset) // 3
    name, low, high = bound(relation, quotient - 1)
    inside = sizes[name] >= low if high is None else sizes[name] <= high
    assert inside is RELATIONS[relation](evaluate(quotient, sizes), 1)


@given(EXPRESSIONS, ANY_SIZES)
def test_what_is_linear_is_so(pair, sizes):
    found = linear(pair.dim)
    if found is not None:
        name, slope, offset = found
        assert slope * sizes[name] + offset == evaluate(pair.dim, sizes)


@pytest.mark.parametrize(("dim", "found"), [
    (n, ("n", 1, 0)), (2 * n - 3, ("n", 2, -3)), (n + m, None), (n * n, None), (n // 2, None), (n % 2 + n, None),
    (4, None),
])  # fmt: skip
def test_linear(dim, found):
    assert linear(dim) == found


class Counting(Algebra):
    """The text of a dim, and how often each part was asked for."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def constant(self, value):
        return str(value)

    def symbol(self, name):
        return name

    def call(self, atom, left, right):
        self.calls += 1
        return f"({left} {atom.function} {right})"

    def add(self, left, right):
        return f"{left} + {right}"

    def multiply(self, left, right):
        return f"{left}*{right}"


def test_a_dim_is_folded_as_it_is_spelled_each_part_once():
    algebra = Counting()
    assert fold(3 * (n % 4) * m + n % 4, algebra) == "3*(n % 4)*m + (n % 4)"
    assert fold(n % 4, algebra) == "(n % 4)"
    assert algebra.calls == 1


def cropped(dim):
    dim = dim + -dim % 3
    return dim - dim % 2 + 2


def lengthened(dim):
    return dim + dim % 5


@pytest.mark.parametrize(("step", "times"), [(cropped, 6), (lengthened, 40)])
def test_sizes_of_sizes_are_folded_once(step, times):
    dim = n
    for _ in range(times):
        dim = step(dim)
    algebra = Counting()
    fold(dim, algebra)
    assert algebra.calls <= 3 * times
    assert Bounds({}, {}).interval(dim)[0] >= 0


def test_atoms():
    assert of_atom(lone_atom(n // 2)) == n // 2
    assert lone_atom(2 * n) is None
    assert lone_atom(3) is None


def test_bounds_of_many_minima_are_found_in_linear_time():
    dim = sum((minimum(n - 4 * at, 4) for at in range(60)), 0 * n)
    assert Bounds({"n": 240}, {}).interval(dim)[1] <= 240


def test_bounds_of_what_is_nested_deeply_are_found_in_a_few_steps() -> None:
    dim = n
    for turn in range(6):
        dim = (minimum(dim, 40 + turn) * 3 + dim) // 2 - (dim + turn) // 3
    bounds = Bounds({"n": 2}, {})
    bounds.interval(dim)
    assert len(bounds._known) < 200
