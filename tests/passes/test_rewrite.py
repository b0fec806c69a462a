"""The matcher and the rewriter: what a pattern matches, what it leaves alone, and how often a node is looked at."""

import numpy as np
import pytest

from fxonnx import dtypes, errors
from fxonnx.ir.build import Builder
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.ir.verify import verify
from fxonnx.location import Location
from fxonnx.passes import rewrite as rewriting
from fxonnx.passes.pattern import record
from fxonnx.passes.rewrite import rewrite, rule
from fxonnx.target import Target

TARGET = Target.onnx()
F32 = dtypes.FLOAT32


def graph_of(body, **inputs):
    """The graph that `body(op, *inputs)` records; inputs are shapes, or (dtype, shape)."""
    op = Builder()
    types = {name: TensorType(*((F32, it) if not it or isinstance(it[0], int) else it)) for name, it in inputs.items()}
    result = body(op, *(op.input(type, name) for name, type in types.items()))
    return op.finish(result if isinstance(result, tuple) else (result,))


def ops(graph):
    """The operators of a graph, in order."""
    return [node.op for node in graph.nodes]


def applied(graph, *rules):
    """The operators after one walk with `rules`, in a graph that verifies."""
    result = rewrite(*rules)(graph, TARGET)
    verify(result)
    return ops(result)


@rule
class silu_twice:
    """x · sigmoid(x) becomes swish(x)."""

    def before(op, x):
        return x * op.Sigmoid(x)

    def after(op, x):
        return op.Swish(x)


@rule
class double_neg:
    """−(−x) becomes x."""

    def before(op, x):
        return op.Neg(op.Neg(x))

    def after(op, x):
        return x


@rule
class half:
    """x · 0.5 becomes x / 2."""

    def before(op, x):
        return x * 0.5

    def after(op, x):
        return x / 2.0


# ── commutativity, wildcards, numbers ────────────────────────────────────────────────────────────────────────────────


def test_operands_of_commutative_operators_match_in_any_order():
    assert applied(graph_of(lambda op, x: op.Sigmoid(x) * x, x=(4,)), silu_twice) == ["Swish"]
    assert applied(graph_of(lambda op, x: x * op.Sigmoid(x), x=(4,)), silu_twice) == ["Swish"]


def test_operands_of_others_do_not():
    @rule
    class div:
        """x ÷ |x|"""

        def before(op, x):
            return x / op.Abs(x)

        def after(op, x):
            return op.Sign(x)

    assert applied(graph_of(lambda op, x: x / op.Abs(x), x=(4,)), div) == ["Sign"]
    assert applied(graph_of(lambda op, x: op.Abs(x) / x, x=(4,)), div) == ["Abs", "Div"]


def test_a_wildcard_that_stands_twice_is_one_value():
    graph = graph_of(lambda op, x, y: y * op.Sigmoid(x), x=(4,), y=(4,))
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
        assert applied(graph_of(body, x=(4,), y=(4,)), backtracking) == ["Max"]


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
    assert applied(graph_of(lambda op, x: x + table, x=(4,)), constant_first) == ["Sub"]
    assert applied(graph_of(lambda op, x: op.Add(table, x), x=(4,)), constant_first) == ["Sub"]
    assert applied(graph_of(lambda op, x: x + x, x=(4,)), constant_first) == ["Add"]


@pytest.mark.parametrize("dtype", [dtypes.FLOAT16, dtypes.BFLOAT16, dtypes.FLOAT32, dtypes.FLOAT64], ids=str)
def test_numbers_match_rounded_to_the_dtype(dtype):
    @rule
    class third:
        """x · ⅓"""

        def before(op, x):
            return x * (1 / 3)

        def after(op, x):
            return x / 3.0

    graph = graph_of(lambda op, x: x * op.constant(1 / 3, dtype), x=(dtype, (4,)))
    assert applied(graph, third) == ["Div"]
    assert applied(graph_of(lambda op, x: x * op.constant(0.35, dtype), x=(dtype, (4,))), third) == ["Mul"]


def test_a_fraction_is_not_rounded_to_an_integer():
    assert applied(graph_of(lambda op, x: x * 0, x=(dtypes.INT64, (4,))), half) == ["Mul"]


def test_a_number_may_have_any_rank_that_leaves_the_rank_alone():
    assert applied(graph_of(lambda op, x: x * np.full((1, 1), 0.5, np.float32), x=(2, 4)), half) == ["Div"]
    assert applied(graph_of(lambda op, x: x * np.full((1, 1), 0.5, np.float32), x=(4,)), half) == ["Mul"]
    assert applied(graph_of(lambda op, x: x * np.full((1,), 0.5, np.float32), x=()), half) == ["Mul"]


def test_numbers_are_constants_of_one_element():
    assert applied(graph_of(lambda op, x: x * np.full((4,), 0.5, np.float32), x=(4,)), half) == ["Mul"]
    assert applied(graph_of(lambda op, x, y: x * y, x=(4,), y=()), half) == ["Mul"]


def test_an_absent_input_is_matched_by_none_and_by_optional_wildcards():
    @rule
    class clip:
        """clip(x, low, high)"""

        def before(op, x, high=None):
            return op.Clip(x, 0.0, high)

        def after(op, x, high):
            return op.Relu(x) if high is None else op.Min(op.Relu(x), high)

    assert applied(graph_of(lambda op, x: op.Clip(x, 0.0), x=(4,)), clip) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Clip(x, 0.0, 6.0), x=(4,)), clip) == ["Relu", "Min"]
    assert applied(graph_of(lambda op, x: op.Clip(x, None, 6.0), x=(4,)), clip) == ["Clip"]


def test_either_spelling():
    @rule
    class scaled:
        """σ(x/2) or σ(x·½)"""

        def before(op, x):
            return op.Sigmoid(op.either(x / 2.0, x * 0.5))

        def after(op, x):
            return op.Tanh(x)

    for body in (lambda op, x: op.Sigmoid(x / 2.0), lambda op, x: op.Sigmoid(0.5 * x)):
        assert applied(graph_of(body, x=(4,)), scaled) == ["Tanh"]
    assert applied(graph_of(lambda op, x: op.Sigmoid(x * 2.0), x=(4,)), scaled) == ["Mul", "Sigmoid"]


def test_a_choice_of_roots():
    @rule
    class either_root:
        """|σ(x)| or relu(σ(x))"""

        def before(op, x):
            gate = op.Sigmoid(x)
            return op.either(op.Abs(gate), op.Relu(gate))

        def after(op, x):
            return op.Sigmoid(x)

    for name in ("Abs", "Relu"):
        graph = graph_of(lambda op, x, name=name: getattr(op, name)(op.Sigmoid(x)), x=(4,))
        assert applied(graph, either_root) == ["Sigmoid"]


def test_inner_values_can_be_called_something():
    @rule
    class widened:
        """the sum of what is broadcast, if it is"""

        def before(op, x, shape):
            return op.ReduceSum(op.called("wide", op.Expand(x, shape)), keepdims=0)

        def after(op, x, wide, result):
            assert result.shape == ()
            return op.ReduceSum(x * float(wide.type.size), keepdims=0)

        def where(x, wide):
            return x.shape == (1,) and wide.shape == (4,)

    expected = ["Mul", "ReduceSum"]
    assert applied(graph_of(lambda op, x: op.ReduceSum(op.Expand(x, [4]), keepdims=0), x=(1,)), widened) == expected
    assert "Expand" in applied(graph_of(lambda op, x: op.ReduceSum(op.Expand(x, [3]), keepdims=0), x=(1,)), widened)


def test_a_constant_that_nobody_else_reads():
    @rule
    class absorbed:
        """x · w, w read nowhere else"""

        def before(op, x, w):
            return op.Abs(x * op.sole(w))

        def after(op, x, w):
            return op.Abs(x) * op.Abs(w)

        def where(w):
            return w.value.is_constant

    table = np.arange(4, dtype=np.float32)
    assert applied(graph_of(lambda op, x: op.Abs(x * table), x=(4,)), absorbed) == ["Abs", "Abs", "Mul"]
    assert applied(graph_of(lambda op, x: op.Abs(x * table) + table, x=(4,)), absorbed) == ["Mul", "Abs", "Add"]


# ── attributes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@rule
class double_transpose:
    """x ── Transpose ── Transpose ─▶"""

    def before(op, x, *, first, second):
        return op.Transpose(op.Transpose(x, perm=first), perm=second)

    def after(op, x, *, first, second):
        return op.Transpose(x, perm=[first[axis] for axis in second])


def test_attribute_wildcards_are_bound():
    graph = graph_of(lambda op, x: op.Transpose(op.Transpose(x, perm=[1, 2, 0]), perm=[0, 2, 1]), x=(2, 3, 4))
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

    assert applied(graph_of(lambda op, x: op.Softmax(op.Softmax(x, axis=0), axis=0), x=(2, 3)), twice) == ["Hardmax"]
    graph = graph_of(lambda op, x: op.Softmax(op.Softmax(x, axis=0), axis=1), x=(2, 3))
    assert applied(graph, twice) == ["Softmax", "Softmax"]


def test_an_attribute_that_is_not_named_has_its_default():
    @rule
    class gelu:
        """gelu"""

        def before(op, x):
            return op.Gelu(x)

        def after(op, x):
            return op.Relu(x)

    assert applied(graph_of(lambda op, x: op.Gelu(x), x=(4,)), gelu) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Gelu(x, approximate="none"), x=(4,)), gelu) == ["Relu"]
    assert applied(graph_of(lambda op, x: op.Gelu(x, approximate="tanh"), x=(4,)), gelu) == ["Gelu"]


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

    result = rewrite(negative_conv)(graph_of(body([2, 2]), x=(1, 4, 8, 8)), TARGET)
    assert ops(result) == ["Neg", "Conv"]
    assert dict(result.nodes[1].attributes) == {"group": 4, "strides": (2, 2)}
    assert applied(graph_of(body([1, 1]), x=(1, 4, 8, 8)), negative_conv) == ["Conv", "Neg"]


def test_float_attributes_are_compared_as_float32():
    @rule
    class leaky:
        """leaky_relu with slope 0.1"""

        def before(op, x):
            return op.LeakyRelu(x, alpha=0.1)

        def after(op, x):
            return op.Relu(x)

    graph = graph_of(lambda op, x: op.LeakyRelu(x, alpha=float(np.float32(0.1))), x=(4,))
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

    assert applied(graph_of(lambda op, x: op.Relu(3.0 * x), x=(4,)), scale) == ["Relu", "Mul"]
    assert applied(graph_of(lambda op, x: op.Relu(x * -3.0), x=(4,)), scale) == ["Mul", "Relu"]


# ── what may be replaced ─────────────────────────────────────────────────────────────────────────────────────────────


def test_inner_values_with_another_reader_are_left_alone():
    graph = graph_of(lambda op, x: (x * (inner := op.Sigmoid(x)), inner), x=(4,))
    assert applied(graph, silu_twice) == ["Sigmoid", "Mul"]


def test_what_is_outside_may_have_other_readers():
    @rule
    class beside:
        """x · [σ(x)], which stays"""

        def before(op, x):
            return x * op.outside(op.Sigmoid(x))

        def after(op, x):
            return op.Swish(x)

    graph = graph_of(lambda op, x: (x * (inner := op.Sigmoid(x)), inner), x=(4,))
    result = rewrite(beside)(graph, TARGET)
    assert ops(result) == ["Sigmoid", "Swish"]
    assert result.nodes[1].location.rules == ("beside",)


def test_a_node_that_is_matched_twice_counts_once():
    @rule
    class sum_of_neg:
        """(−x) + (−x)"""

        def before(op, x):
            return op.Neg(x) + op.Neg(x)

        def after(op, x):
            return x * -2.0

    assert applied(graph_of(lambda op, x: (inner := op.Neg(x)) + inner, x=(4,)), sum_of_neg) == ["Mul"]
    assert applied(graph_of(lambda op, x: op.Neg(x) + op.Neg(x), x=(4,)), sum_of_neg) == ["Mul"]


def swap_halves():
    @rule
    class swap:
        """split(concat(a, b)) becomes a, b"""

        def before(op, a, b, *, axis):
            return op.Split(op.Concat(a, b, axis=axis), axis=axis, num_outputs=2, _outputs=2)

        def after(op, a, b):
            return a, b

        def where(a, b):
            return a.type == b.type

    return swap


def test_roots_with_several_outputs():
    def body(op, x, y):
        first, second = op.Split(op.Concat(x, y, axis=0), num_outputs=2, axis=0)
        return first - second

    graph = graph_of(body, x=(4,), y=(4,))
    result = rewrite(swap_halves())(graph, TARGET)
    assert ops(result) == ["Sub"]
    assert result.nodes[0].inputs == graph.inputs


def test_an_output_that_the_pattern_does_not_stand_for_must_be_unread():
    @rule
    class first_of_split:
        """the first half"""

        def before(op, x):
            return op.Split(x, num_outputs=2)

        def after(op, x):
            return op.Slice(x, [0], [2])

    unread = graph_of(lambda op, x: op.Neg(op.Split(x, num_outputs=2)[0]), x=(4,))
    assert applied(unread, first_of_split) == ["Slice", "Neg"]
    read = graph_of(lambda op, x: op.Add(*op.Split(x, num_outputs=2)), x=(4,))
    assert applied(read, first_of_split) == ["Split", "Add"]


def test_outputs_of_the_graph_follow():
    graph = graph_of(lambda op, x: (op.Neg(op.Neg(x)), op.Relu(x)), x=(4,))
    result = rewrite(double_neg)(graph, TARGET)
    assert result.outputs[0] is graph.inputs[0]
    assert ops(result) == ["Relu"]


def test_what_a_rule_makes_takes_over_the_type():
    def body(op, x):
        result = x * op.Sigmoid(x)
        op.refine(result, TensorType(F32, (4,)))
        return op.Relu(result)

    result = rewrite(silu_twice)(graph_of(lambda op: body(op, op.input(TensorType(F32, (op.new_dim(),)), "x"))), TARGET)
    assert result.nodes[0].op == "Swish"
    assert result.nodes[0].output.shape == (4,)


def test_a_rule_may_not_change_the_dtype():
    @rule
    class wrong:
        """x becomes f64"""

        def before(op, x):
            return op.Abs(x)

        def after(op, x):
            return op.Cast(x, to=dtypes.FLOAT64)

    with pytest.raises(errors.InternalError, match=r"rule wrong makes f64\[4\] of f32\[4\]"):
        rewrite(wrong)(graph_of(lambda op, x: op.Abs(x), x=(4,)), TARGET)


@pytest.mark.parametrize("axes", [[0], [2]])
def test_a_rule_may_not_change_the_shape(axes):
    @rule
    class wrong:
        """x gets another shape"""

        def before(op, x):
            return op.Abs(x)

        def after(op, x):
            return op.Unsqueeze(x, [0]) if axes == [0] else op.Transpose(x)

    with pytest.raises(errors.InternalError, match="rule wrong"):
        rewrite(wrong)(graph_of(lambda op, x: op.Abs(x), x=(4, 5)), TARGET)


def test_a_rule_must_make_every_output():
    @rule
    class few:
        """two outputs become one"""

        def before(op, x):
            return op.Split(x, num_outputs=2, _outputs=2)

        def after(op, x):
            return op.Slice(x, [0], [2])

    with pytest.raises(errors.InternalError, match="rule few makes 1 of 2 outputs"):
        rewrite(few)(graph_of(lambda op, x: op.Add(*op.Split(x, num_outputs=2)), x=(4,)), TARGET)


def test_what_ends_in_no_single_call_is_no_pattern():
    for before in (lambda op, x: x, lambda op, x: (op.Relu(x), op.Abs(x))):
        with pytest.raises(TypeError, match="a pattern ends in"):
            record(before)


def test_when_asks_the_target():
    @rule
    class newer:
        """only from opset 20 on"""

        def before(op, x):
            return op.Abs(x)

        def after(op, x):
            return op.Gelu(x)

        def when(target):
            return target.opset >= 20

    graph = graph_of(lambda op, x: op.Abs(x), x=(4,))
    assert ops(rewrite(newer)(graph, Target.onnx(20))) == ["Gelu"]
    assert rewrite(newer)(graph, Target.onnx(19)) is graph


def test_the_first_rule_that_matches_wins():
    @rule
    class other:
        """x · 0.5 becomes x + x"""

        def before(op, x):
            return x * 0.5

        def after(op, x):
            return x + x

    graph = graph_of(lambda op, x: x * 0.5, x=(4,))
    assert applied(graph, half, other) == ["Div"]
    assert applied(graph, other, half) == ["Add"]


# ── several rewrites in one walk ─────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_collapses_in_one_walk():
    def body(op, x):
        for _ in range(9):
            x = op.Transpose(x, perm=[1, 2, 0])
        return x

    result = rewrite(double_transpose)(graph_of(body, x=(2, 3, 4)), TARGET)
    assert ops(result) == ["Transpose"]
    assert result.nodes[0].attributes["perm"] == (0, 1, 2)


def test_a_value_becomes_private_when_its_other_reader_is_rewritten():
    """σ(y) has two readers: the first rewrite does away with one, then the second can happen."""

    @rule
    class absolute:
        """|σ(x)| becomes relu(x)"""

        def before(op, x):
            return op.Abs(op.outside(op.Sigmoid(x)))

        def after(op, x):
            return op.Relu(x)

    def body(op, x):
        shared = op.Sigmoid(x)
        first = op.Abs(shared)
        return first - x * shared

    assert applied(graph_of(body, x=(4,)), absolute, silu_twice) == ["Relu", "Swish", "Sub"]


def test_a_rewrite_feeds_the_next():
    graph = graph_of(lambda op, x: op.Relu((y := op.Neg(op.Neg(x))) * op.Sigmoid(y)), x=(4,))
    assert applied(graph, double_neg, silu_twice) == ["Swish", "Relu"]
    assert applied(graph_of(lambda op, x: op.Neg(op.Neg(x)) * op.Sigmoid(x), x=(4,)), double_neg, silu_twice) == [
        "Swish"
    ]


def test_nothing_to_do_gives_the_same_graph():
    graph = graph_of(lambda op, x: op.Relu(x) * x, x=(4,))
    assert rewrite(silu_twice, double_neg)(graph, TARGET) is graph
    assert rewrite(half)(graph_of(lambda op, x: x, x=(4,)), TARGET).nodes == ()


def test_graphs_in_graphs_are_rewritten():
    op = Builder()
    x = op.input(TensorType(F32, (4,)), "x")
    branches = []
    for _ in range(2):
        inner = op.nested()
        t = inner.use(x.value)
        branches.append(inner.finish([t * inner.Sigmoid(t)], name="branch"))
    (y,) = op.call("If", [op.constant(True)], {"then_branch": branches[0], "else_branch": branches[1]}, 1, [x.type])
    result = rewrite(silu_twice)(op.finish([y]), TARGET)
    assert [node.op for node in result.all_nodes()] == ["If", "Swish", "Swish"]
    verify(result)


def test_a_size_that_nobody_knew_stays_another_one():
    """NonZero's size is `_0`; one that a rule makes must not be called so."""

    @rule
    class again:
        """relu becomes a detour over a size nobody knows"""

        def before(op, x):
            return op.Relu(x)

        def after(op, x):
            return op.Slice(x, [0], op.Unsqueeze(op.ReduceMax(op.Shape(x), keepdims=0), [0]))

    def body(op, x):
        return op.NonZero(x), op.Relu(x)

    result = rewrite(again)(graph_of(body, x=(4,)), TARGET)
    (found,) = (node for node in result.nodes if node.op == "NonZero")
    (sliced,) = (node for node in result.nodes if node.op == "Slice")
    assert found.output.shape[1] not in sliced.output.shape


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_places_are_merged_and_signed():
    op = Builder()
    x = op.input(TensorType(F32, (4,)), "x")
    with op.at(Location(module="layers.0.act", line=3, file="m.py", op="sigmoid")):
        gate = op.Sigmoid(x)
    with op.at(Location(module="layers.0", line=4, file="m.py", op="mul")):
        y = x * gate
    (node,) = rewrite(silu_twice)(op.finish([y]), TARGET).nodes
    assert node.location.module == "layers.0"
    assert node.location.op == "sigmoid+mul"
    assert node.location.rules == ("silu_twice",)


# ── how much work ────────────────────────────────────────────────────────────────────────────────────────────────────


def long_graph(length) -> Graph:
    def body(op, x):
        for _ in range(length // 4):
            x = op.Tanh(op.Neg(op.Neg(x))) + x
        return x

    return graph_of(body, x=(4,))


@pytest.mark.parametrize("length", [1000, 10_000])
def test_a_walk_looks_at_each_node_a_few_times(monkeypatch, length):
    looked, from_pattern = 0, rewriting.matches

    def counting(*arguments):
        nonlocal looked
        looked += 1
        return from_pattern(*arguments)

    monkeypatch.setattr(rewriting, "matches", counting)
    graph = long_graph(length)
    result = rewrite(double_neg, silu_twice, half)(graph, TARGET)
    assert ops(result).count("Neg") == 0
    assert len(result.nodes) == length // 2
    assert (
        looked == length // 4
    )  # only a Neg after a Neg is looked at closely: the writers of the inputs rule out the rest
