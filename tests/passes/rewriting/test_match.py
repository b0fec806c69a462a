"""What a pattern matches, and what it leaves alone."""

import numpy as np
import pytest
from tests.passes.graphs import TARGET, applied, double_transpose, graph_of, half, ops, silu_twice

from fxonnx import dtypes
from fxonnx.ir.verify import verify
from fxonnx.passes.rewriting.rewrite import rewrite, rule

# ── commutativity, wildcards, numbers ────────────────────────────────────────────────────────────────────────────────


def test_operands_of_commutative_operators_match_in_any_order():
    assert applied(graph_of(lambda op, x: op.Sigmoid(x) * x, x="f32[4]"), silu_twice) == ["Swish"]
    assert applied(graph_of(lambda op, x: x * op.Sigmoid(x), x="f32[4]"), silu_twice) == ["Swish"]


def test_operands_of_others_do_not():
    @rule
    class div:
        """x ÷ |x|"""

        def before(op, x):
            return x / op.Abs(x)

        def after(op, x):
            return op.Sign(x)

    assert applied(graph_of(lambda op, x: x / op.Abs(x), x="f32[4]"), div) == ["Sign"]
    assert applied(graph_of(lambda op, x: op.Abs(x) / x, x="f32[4]"), div) == ["Abs", "Div"]


def test_a_wildcard_that_stands_twice_is_one_value():
    graph = graph_of(lambda op, x, y: y * op.Sigmoid(x), x="f32[4]", y="f32[4]")
    assert applied(graph, silu_twice) == ["Sigmoid", "Mul"]


def test_a_choice_of_operands_is_undone_when_it_leads_nowhere():
    """(a·b) + c with c = σ(a): the first order tried binds a to the wrong factor."""

    @rule
    class backtracking:
        """a·b + σ(a)"""

        def before(op, a, b):
            return a * b + op.Sigmoid(a)

        def after(op, a, b):
            return op.Max(a, b)

    for body in (lambda op, x, y: x * y + op.Sigmoid(y), lambda op, x, y: op.Sigmoid(x) + y * x):
        assert applied(graph_of(body, x="f32[4]", y="f32[4]"), backtracking) == ["Max"]


def test_where_is_asked_for_every_order():
    @rule
    class constant_first:
        """x + constant becomes the constant first"""

        def before(op, x, bias):
            return x + bias

        def after(op, x, bias):
            return op.Sub(bias, x)

        def where(bias):
            return bias.value.is_constant

    table = np.arange(4, dtype=np.float32)
    assert applied(graph_of(lambda op, x: x + table, x="f32[4]"), constant_first) == ["Sub"]
    assert applied(graph_of(lambda op, x: op.Add(table, x), x="f32[4]"), constant_first) == ["Sub"]
    assert applied(graph_of(lambda op, x: x + x, x="f32[4]"), constant_first) == ["Add"]


@pytest.mark.parametrize("dtype", [dtypes.FLOAT16, dtypes.BFLOAT16, dtypes.FLOAT32, dtypes.FLOAT64], ids=str)
def test_numbers_match_rounded_to_the_dtype(dtype):
    @rule
    class third:
        """x · ⅓"""

        def before(op, x):
            return x * (1 / 3)

        def after(op, x):
            return x / 3.0

    graph = graph_of(lambda op, x: x * op.constant(1 / 3, dtype), x=f"{dtype.short}[4]")
    assert applied(graph, third) == ["Div"]
    assert applied(graph_of(lambda op, x: x * op.constant(0.35, dtype), x=f"{dtype.short}[4]"), third) == ["Mul"]


def test_a_fraction_is_not_rounded_to_an_integer():
    assert applied(graph_of(lambda op, x: x * 0, x="i64[4]"), half) == ["Mul"]


def test_a_number_may_have_any_rank_that_leaves_the_rank_alone():
    assert applied(graph_of(lambda op, x: x * np.full((1, 1), 0.5, np.float32), x="f32[2,4]"), half) == ["Div"]
    assert applied(graph_of(lambda op, x: x * np.full((1, 1), 0.5, np.float32), x="f32[4]"), half) == ["Mul"]
    assert applied(graph_of(lambda op, x: x * np.full((1,), 0.5, np.float32), x="f32[]"), half) == ["Mul"]


def test_numbers_are_constants_of_one_element():
    assert applied(graph_of(lambda op, x: x * np.full((4,), 0.5, np.float32), x="f32[4]"), half) == ["Mul"]
    assert applied(graph_of(lambda op, x, y: x * y, x="f32[4]", y="f32[]"), half) == ["Mul"]


def test_an_absent_input_is_matched_by_none_and_by_optional_wildcards():
    @rule
    class clip:
        """clip(x, low, high)"""

        def before(op, x, high=None):
            return op.Clip(x, 0.0, high)

        def after(op, x, high):
            return op.Relu(x) if high is None else op.Min(op.Relu(x), high)

    assert applied(graph_of(lambda op, x: op.Clip(x, 0.0), x="f32[4]"), clip) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Clip(x, 0.0, 6.0), x="f32[4]"), clip) == ["Relu", "Min"]
    assert applied(graph_of(lambda op, x: op.Clip(x, None, 6.0), x="f32[4]"), clip) == ["Clip"]


def test_either_spelling():
    @rule
    class scaled:
        """σ(x/2) or σ(x·½)"""

        def before(op, x):
            return op.Sigmoid(op.any_of(x / 2.0, x * 0.5))

        def after(op, x):
            return op.Tanh(x)

    for body in (lambda op, x: op.Sigmoid(x / 2.0), lambda op, x: op.Sigmoid(0.5 * x)):
        assert applied(graph_of(body, x="f32[4]"), scaled) == ["Tanh"]
    assert applied(graph_of(lambda op, x: op.Sigmoid(x * 2.0), x="f32[4]"), scaled) == ["Mul", "Sigmoid"]


def test_a_choice_of_roots():
    @rule
    class either_root:
        """|σ(x)| or relu(σ(x))"""

        def before(op, x):
            gate = op.Sigmoid(x)
            return op.any_of(op.Abs(gate), op.Relu(gate))

        def after(op, x):
            return op.Sigmoid(x)

    for name in ("Abs", "Relu"):
        graph = graph_of(lambda op, x, name=name: getattr(op, name)(op.Sigmoid(x)), x="f32[4]")
        assert applied(graph, either_root) == ["Sigmoid"]


def test_inner_values_can_be_called_something():
    @rule
    class widened:
        """the sum of what is broadcast, if it is"""

        def before(op, x, shape):
            return op.ReduceSum(op.bind("wide", op.Expand(x, shape)), keepdims=0)

        def after(op, x, wide, result):
            assert result.shape == ()
            return op.ReduceSum(x * float(wide.type.size), keepdims=0)

        def where(x, wide):
            return x.shape == (1,) and wide.shape == (4,)

    expected = ["Mul", "ReduceSum"]
    assert applied(graph_of(lambda op, x: op.ReduceSum(op.Expand(x, [4]), keepdims=0), x="f32[1]"), widened) == expected
    assert "Expand" in applied(graph_of(lambda op, x: op.ReduceSum(op.Expand(x, [3]), keepdims=0), x="f32[1]"), widened)


def test_a_constant_that_nobody_else_reads():
    @rule
    class absorbed:
        """x · w, w read nowhere else"""

        def before(op, x, w):
            return op.Abs(x * op.one_use(w))

        def after(op, x, w):
            return op.Abs(x) * op.Abs(w)

        def where(w):
            return w.value.is_constant

    table = np.arange(4, dtype=np.float32)
    assert applied(graph_of(lambda op, x: op.Abs(x * table), x="f32[4]"), absorbed) == ["Abs", "Abs", "Mul"]
    assert applied(graph_of(lambda op, x: op.Abs(x * table) + table, x="f32[4]"), absorbed) == ["Mul", "Abs", "Add"]


# ── attributes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_attribute_wildcards_are_bound():
    graph = graph_of(lambda op, x: op.Transpose(op.Transpose(x, perm=[1, 2, 0]), perm=[0, 2, 1]), x="f32[2,3,4]")
    result = rewrite(double_transpose)(graph, TARGET)
    assert ops(result) == ["Transpose"]
    assert result.nodes[0].attributes["perm"] == (1, 0, 2)
    verify(result)


def test_an_attribute_wildcard_that_stands_twice_is_one_value():
    @rule
    class twice:
        """softmax of softmax along one axis"""

        def before(op, x, *, axis):
            return op.Softmax(op.Softmax(x, axis=axis), axis=axis)

        def after(op, x, *, axis):
            return op.Hardmax(x, axis=axis)

    assert applied(graph_of(lambda op, x: op.Softmax(op.Softmax(x, axis=0), axis=0), x="f32[2,3]"), twice) == [
        "Hardmax"
    ]
    graph = graph_of(lambda op, x: op.Softmax(op.Softmax(x, axis=0), axis=1), x="f32[2,3]")
    assert applied(graph, twice) == ["Softmax", "Softmax"]


def test_an_attribute_that_is_not_named_has_its_default():
    @rule
    class gelu:
        """gelu"""

        def before(op, x):
            return op.Gelu(x)

        def after(op, x):
            return op.Relu(x)

    assert applied(graph_of(lambda op, x: op.Gelu(x), x="f32[4]"), gelu) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Gelu(x, approximate="none"), x="f32[4]"), gelu) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Gelu(x, approximate="tanh"), x="f32[4]"), gelu) == ["Gelu"]


def test_rest_takes_all_attributes_that_are_not_named():
    @rule
    class negative_conv:
        """−conv(x, w) becomes conv(−x, w)"""

        def before(op, x, w, *, group, **rest):
            return -op.Conv(x, w, group=group, **rest)

        def after(op, x, w, *, group, **rest):
            return op.Conv(-x, w, group=group, **rest)

        def where(strides):
            return strides == (2, 2)

    def body(strides):
        return lambda op, x: -op.Conv(x, np.ones((4, 1, 3, 3), np.float32), group=4, strides=strides)

    result = rewrite(negative_conv)(graph_of(body([2, 2]), x="f32[1,4,8,8]"), TARGET)
    assert ops(result) == ["Neg", "Conv"]
    assert dict(result.nodes[1].attributes) == {"group": 4, "strides": (2, 2)}
    assert applied(graph_of(body([1, 1]), x="f32[1,4,8,8]"), negative_conv) == ["Conv", "Neg"]


def test_float_attributes_are_compared_as_float32():
    @rule
    class leaky:
        """leaky_relu with slope 0.1"""

        def before(op, x):
            return op.LeakyRelu(x, alpha=0.1)

        def after(op, x):
            return op.Relu(x)

    graph = graph_of(lambda op, x: op.LeakyRelu(x, alpha=float(np.float32(0.1))), x="f32[4]")
    assert applied(graph, leaky) == ["Relu"]


def test_a_keyword_as_an_input_binds_a_number():
    @rule
    class scale:
        """x · number"""

        def before(op, x, *, factor):
            return op.Relu(x * factor)

        def after(op, x, *, factor):
            return op.Relu(x) * factor

        def where(factor):
            return factor > 0

    assert applied(graph_of(lambda op, x: op.Relu(3.0 * x), x="f32[4]"), scale) == ["Relu", "Mul"]
    assert applied(graph_of(lambda op, x: op.Relu(x * -3.0), x="f32[4]"), scale) == ["Mul", "Relu"]
