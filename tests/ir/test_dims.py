"""Dims against Python's integers: whatever the normal form does, the value stays."""

from dataclasses import dataclass
from operator import add, floordiv, mod, mul, sub

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fxonnx.ir import dims
from fxonnx.ir.dims import (
    Bounds,
    Expr,
    Undecided,
    at_sizes,
    ceil_divide,
    evaluate,
    floor_divide,
    maximum,
    minimum,
    modulo,
    non_negative,
    parse_dim,
    parse_shape,
    product,
    substitute,
    symbol,
    symbols_of,
    without_common_factor,
)
from fxonnx.ir.dims.expression import with_joined_halves
from fxonnx.ir.types import TensorType, parse_type

n, m, k = symbol("n"), symbol("m"), symbol("k")
NAMES = ("n", "m", "k")
SIZES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(1, 40)))
ANY_SIZES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 40)))


@dataclass
class Pair:
    """A dim, and the same expression as a Python function of the sizes."""

    dim: object
    value: object


def combine(dim_function, function):
    """The strategy's step from two pairs to one."""
    return lambda a, b: Pair(dim_function(a.dim, b.dim), lambda sizes: function(a.value(sizes), b.value(sizes)))


def leaf(item):
    """An int or a symbol."""
    return Pair(item, lambda _: item) if isinstance(item, int) else Pair(symbol(item[0]), lambda sizes: sizes[item[0]])


LEAVES = (st.integers(-6, 9) | st.sampled_from([(name,) for name in NAMES])).map(leaf)
DIVISORS = (st.integers(1, 9) | st.integers(-4, -1) | st.sampled_from([(name,) for name in NAMES])).map(leaf)
EXPRESSIONS = st.recursive(LEAVES, lambda inner: st.one_of(
    *(st.builds(combine(function, function), inner, inner) for function in (add, sub, mul)),
    st.builds(combine(maximum, max), inner, inner),
    st.builds(combine(minimum, min), inner, inner),
    st.builds(combine(floor_divide, floordiv), inner, DIVISORS),
    st.builds(combine(modulo, mod), inner, DIVISORS),
), max_leaves=8)  # fmt: skip


@given(EXPRESSIONS, SIZES)
def test_the_normal_form_keeps_the_value(pair, sizes):
    assert evaluate(pair.dim, sizes) == pair.value(sizes)


# What has no value for all sizes: divisors may be anything, and 0.
PARTIAL = st.recursive(LEAVES, lambda inner: st.one_of(
    *(st.builds(combine(function, function), inner, inner) for function in (add, sub, mul, floordiv, mod)),
    st.builds(combine(ceil_divide, lambda a, b: -(-a // b)), inner, inner),
    st.builds(combine(maximum, max), inner, inner),
    st.builds(combine(minimum, min), inner, inner),
), max_leaves=9)  # fmt: skip


def partial_or_none(build, *args):
    """What a function gives, None where something is divided by 0."""
    try:
        return build(*args)
    except ZeroDivisionError:
        return None


@given(st.data(), ANY_SIZES)
def test_what_has_a_value_keeps_it(data, sizes):
    pair = partial_or_none(data.draw, PARTIAL)
    value = pair and partial_or_none(pair.value, sizes)
    if value is not None:
        assert evaluate(pair.dim, sizes) == value
        assert evaluate(parse_dim(str(pair.dim)), sizes) == value


@given(EXPRESSIONS)
def test_text_reads_back(pair):
    assert parse_dim(str(pair.dim)) == pair.dim
    assert hash(parse_dim(str(pair.dim))) == hash(pair.dim)
    assert str(parse_dim(str(pair.dim))) == str(pair.dim)


@given(EXPRESSIONS, EXPRESSIONS, SIZES)
def test_symbols_can_be_replaced(pair, other, sizes):
    size = evaluate(other.dim, sizes)
    if size > 0:  # a size, which the result may divide by
        assert evaluate(substitute(pair.dim, {"n": other.dim}), sizes) == pair.value({**sizes, "n": size})


@given(EXPRESSIONS, SIZES)
def test_what_is_surely_not_negative_is_not(pair, sizes):
    assert not non_negative(pair.dim) or pair.value(sizes) >= 0


@given(EXPRESSIONS, EXPRESSIONS)
def test_sums_and_products_commute(a, b):
    assert a.dim + b.dim == b.dim + a.dim
    assert a.dim * b.dim == b.dim * a.dim
    assert maximum(a.dim, b.dim) == maximum(b.dim, a.dim)
    assert a.dim - a.dim == 0


@given(EXPRESSIONS, DIVISORS)
def test_a_quotient_and_its_rest_are_the_whole(pair, divisor):
    assume(divisor.dim != 0)
    quotient, rest = floor_divide(pair.dim, divisor.dim), modulo(pair.dim, divisor.dim)
    assert divisor.dim * quotient + rest == pair.dim
    assert (pair.dim + quotient) - quotient == pair.dim


@given(EXPRESSIONS, EXPRESSIONS)
def test_a_product_is_divided_exactly(a, b):
    assume(a.dim != 0 and not isinstance(b.dim, int))
    assert floor_divide(a.dim * b.dim, b.dim) == a.dim
    assert modulo(a.dim * b.dim, b.dim) == 0


@given(st.integers(3, 9) | st.sampled_from([m, 2 * m, m + 1]), st.sampled_from([n, 2 * n, n + 1, n * k, n // 2]))
def test_all_ways_to_pad_to_a_multiple_are_one(multiple, size):
    padded = multiple * floor_divide(size + multiple - 1, multiple)
    assert modulo(multiple - modulo(size, multiple), multiple) + size == padded
    assert modulo(-1 * size, multiple) + size == padded
    assert ceil_divide(size, multiple) * multiple == padded
    assert size - modulo(size, multiple) == floor_divide(size, multiple) * multiple


@given(EXPRESSIONS, st.sampled_from([4, 6, 8, 16]), st.sampled_from([1, -1, 3, m]), SIZES)
def test_halves_are_joined_to_the_same_value(pair, divisor, factor, sizes):
    half = divisor // 2
    dim = factor * (floor_divide(pair.dim, half) - floor_divide(pair.dim + half, divisor))
    assert evaluate(with_joined_halves(dim), sizes) == evaluate(dim, sizes)


@pytest.mark.parametrize("divisor", [4, 8, 16])
@pytest.mark.parametrize("factor", [1, -1, 3, m])
@given(st.integers(-20, 20))
def test_two_halves_are_a_whole(divisor, factor, offset):
    half, dim = divisor // 2, n + offset
    low, high, whole = dim // divisor, (dim + half) // divisor, dim // half
    assert with_joined_halves(factor * (whole - high)) == factor * low
    assert with_joined_halves(factor * (whole - low)) == factor * high
    assert with_joined_halves(factor * (low + high - whole)) == 0


def test_rows_and_columns_that_are_halved_unlike_divide() -> None:
    """Patches of an image, merged two by two: one is rounded up, its neighbour down."""
    rows, columns = (each // 4 - (each + 4) // 8 + 1 for each in (n, m))
    assert floor_divide(rows * columns, n // 8 + 1) == m // 8 + 1
    assert Bounds({}, {}).interval(rows - n // 8 - 1) == (0, 0)


@given(EXPRESSIONS, st.integers(1, 9), SIZES)
def test_ceil_divide_rounds_up(pair, divisor, sizes):
    assert evaluate(ceil_divide(pair.dim, divisor), sizes) == -(-pair.value(sizes) // divisor)
    assert evaluate(ceil_divide(pair.dim, -divisor), sizes) == -(pair.value(sizes) // divisor)


@pytest.mark.parametrize(("left", "right"), [
    ((4 * n + m) // 4, n + m // 4),
    ((n - 1) // 2 + 1, ceil_divide(n, 2)),
    (((n + 1) // 2 + 1) // 2, (n + 3) // 4),
    ((2 * n) // 4, n // 2),
    (n // 2 // 3, n // 6),
    (n * m // n, m),
    ((n + 5) % 4, (n + 1) % 4),
    ((n + 1) % (n + 1), 0),
    (maximum(n, maximum(m, 8)), maximum(maximum(8, n), m)),
    (maximum(n, maximum(n + 1, m)), maximum(m, n + 1)),
    (maximum(n, 0), n),
    (minimum(n, n + 3), n),
    (minimum(n // 2, 0), 0),
    (product([n, 4, m]), 4 * m * n),
    (product([]), 1),
    (2 - (n + 2) + n, 0),
    (n // 2 + (n + 1) // 2, n),
    (n - (n + 3) // 4, 3 * n // 4),
    (-n // 4, 0 - (n + 3) // 4),
    (n % 8 % 4, n % 4),
    (n % 4 // 2, n // 2 % 2),
    ((2 * n + 1) // 4, n // 2),
    (n * m // (2 * m), n // 2),
    ((12 * n * m - 12 * m) // (n * m - m), 12),
    (4 * m // m, 4),
    ((4 * m + m - 1) // m, 4),
    ((4 * (m + 1) + m) // (m + 1), 4),
    ((10 * m - 1) // (2 * m), 4),
    (n % m // m, 0),
    (minimum(n, 3) // 4, 0),
    (minimum(n, 3) % 4, minimum(n, 3)),
])  # fmt: skip
def test_equal_dims_have_one_form(left, right):
    assert left == right
    assert hash(left) == hash(right)


@pytest.mark.parametrize(("dim", "text"), [
    (2 * n + 1, "2*n + 1"), (n * n - m, "n*n - m"), (-n, "-n"), (n // 2, "n // 2"), (3 * (n // 2), "3*(n // 2)"),
    ((n + 1) // 2 % 3, "((n + 1) // 2) % 3"), (maximum(n // 2, 8) * m, "m*max(8, n // 2)"), (7 // n, "7 // n"),
    (n % 4, "n % 4"), (-n % 4, "-n % 4"), (-n % 4 + n, "4*((n + 3) // 4)"), (n - n % 4, "4*(n // 4)"),
    (-n % m + n, "m*((m + n - 1) // m)"), (n - n % m, "m*(n // m)"), (n - n // 2, "(n + 1) // 2"),
    (3 * n // 4, "(3*n) // 4"), (n % (m + 1), "n % (m + 1)"), (n % 4 * (n % 4), "(n % 4)*(n % 4)"),
    (n * m // (n + 1), "(m*n) // (n + 1)"), (n % 4 + m * (n // 4), "m*(n // 4) + (n % 4)"),
])  # fmt: skip
def test_what_it_looks_like(dim, text):
    assert str(dim) == text


@given(SIZES)
def test_a_factor_that_may_be_negative_stays(sizes):
    size = min(sizes["n"] - 5, 3)
    assume(size != 0)
    factor = minimum(n - 5, 3)
    assert evaluate((k * factor - 1) // (2 * factor), sizes) == (sizes["k"] * size - 1) // (2 * size)


def test_a_constant_is_an_int():
    assert type(n - n) is int
    assert type(n // n) is int
    assert type(substitute(n + 1, {"n": 3})) is int


def test_names():
    assert n.name == "n"
    assert (n + 1).name is None
    assert (2 * n).name is None
    assert (n // 2).name is None
    assert symbols_of([n * m, 3, k // (n + 1)]) == {"n", "m", "k"}
    assert (n + 1).symbols == {"n"}


@pytest.mark.parametrize("name", ["", "2n", "a b", "lambda", "a-b"])
def test_a_name_must_be_an_identifier(name):
    with pytest.raises(ValueError, match="identifier"):
        symbol(name)


@pytest.mark.parametrize(
    "text",
    ["", "n+", "n.m", "True", "1.5", "f(n, m)", "n / 2", "[n]", "n, m", "n] + [m", "abs(n)", "n // 0", "m % (2 - 2)"]
)
def test_what_is_no_dim(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_dim(text)


@pytest.mark.parametrize(
    ("left", "right", "sides"),
    [
        (4 * n * m, 4 * k * m, (n, k)),
        (4 * n, 8, (n, 2)),
        (n * m - k * m, 0, (n - k, 0)),
        (n - 1, k - 1, (n, k)),
        (2 * n + 3, 2 * k + 3, (n, k)),
        (n - 1, k + 1, (n - 1, k + 1)),
        (n, m, (n, m)),
        (n * (m // 2), k * (m // 2), (n * (m // 2), k * (m // 2))),
        (3, 3, (3, 3)),
    ],
    ids=str,
)
def test_an_equality_without_what_both_sides_have(left, right, sides):
    """m // 2 may be 0 where m is not."""
    assert without_common_factor(left, right) == sides


@pytest.mark.parametrize("plain", [int, float])
def test_no_plain_number_is_made_of_a_dim(plain):
    with pytest.raises(Undecided, match="of n, which is known only when the model runs"):
        plain(n)


def test_a_size_without_a_value_is_named():
    with pytest.raises(KeyError, match="m"):
        evaluate(n + m, {"n": 1})


def test_shapes():
    assert parse_shape("n,max(m,8),4") == (n, maximum(m, 8), 4)
    assert parse_shape("") == ()


def test_types():
    type = parse_type("bf16[n,2*m+1]")
    assert str(type) == "bf16[n,2*m+1]"
    assert parse_type(str(type)) == type
    assert (type.rank, type.size, type.is_static, type.symbols) == (2, 2 * n * m + n, False, {"n", "m"})
    assert parse_type("i64[]") == TensorType(type.dtype.__class__ and parse_type("i64[2]").dtype, ())
    with pytest.raises(ValueError, match="not a type"):
        parse_type("f32")


def test_long_sums_are_not_slow():
    total = 0
    for index in range(300):
        total = total + symbol(f"s{index}") * (index + 1)
    assert isinstance(total, Expr)
    assert evaluate(total, {f"s{index}": 1 for index in range(300)}) == sum(range(301))


def test_everything_public_is_named():
    assert all(hasattr(dims, name) for name in dims.__all__)


def test_a_quotient_by_0_is_no_size() -> None:
    n, m = symbol("n"), symbol("m")
    dim = n // m + 1
    assert at_sizes(dim, {"m": 0}) == dim
    assert at_sizes(dim, {"m": 1}) == n + 1
    assert at_sizes(dim, {"m": 2, "n": 5}) == 3
