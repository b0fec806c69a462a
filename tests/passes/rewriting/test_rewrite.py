"""What a rewrite replaces, what it makes, and how often a node is looked at."""

import pytest
from tests.passes.graphs import TARGET, applied, double_neg, double_transpose, graph_of, half, ops, silu_twice

from fxonnx import dtypes, errors
from fxonnx.ir.build import Builder
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.ir.verify import verify
from fxonnx.location import Location
from fxonnx.passes.rewriting import rewrite as rewriting
from fxonnx.passes.rewriting.pattern import template_of
from fxonnx.passes.rewriting.rewrite import rewrite, rule
from fxonnx.target import Target

F32 = dtypes.FLOAT32


# ── what may be replaced ─────────────────────────────────────────────────────────────────────────────────────────────


def test_inner_values_with_another_reader_are_left_alone():
    graph = graph_of(lambda op, x: (x * (inner := op.Sigmoid(x)), inner), x="f32[4]")
    assert applied(graph, silu_twice) == ["Sigmoid", "Mul"]


def test_what_is_kept_may_have_other_readers():
    @rule
    class beside:
        """x · [σ(x)], which stays"""

        def before(op, x):
            return x * op.keep(op.Sigmoid(x))

        def after(op, x):
            return op.Swish(x)

    graph = graph_of(lambda op, x: (x * (inner := op.Sigmoid(x)), inner), x="f32[4]")
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

    assert applied(graph_of(lambda op, x: (inner := op.Neg(x)) + inner, x="f32[4]"), sum_of_neg) == ["Mul"]
    assert applied(graph_of(lambda op, x: op.Neg(x) + op.Neg(x), x="f32[4]"), sum_of_neg) == ["Mul"]


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

    graph = graph_of(body, x="f32[4]", y="f32[4]")
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

    unread = graph_of(lambda op, x: op.Neg(op.Split(x, num_outputs=2)[0]), x="f32[4]")
    assert applied(unread, first_of_split) == ["Slice", "Neg"]
    read = graph_of(lambda op, x: op.Add(*op.Split(x, num_outputs=2)), x="f32[4]")
    assert applied(read, first_of_split) == ["Split", "Add"]


def test_outputs_of_the_graph_follow():
    graph = graph_of(lambda op, x: (op.Neg(op.Neg(x)), op.Relu(x)), x="f32[4]")
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

    with pytest.raises(errors.WrongRule, match=r"rule wrong makes f64\[4\] of f32\[4\]"):
        rewrite(wrong)(graph_of(lambda op, x: op.Abs(x), x="f32[4]"), TARGET)


@pytest.mark.parametrize("axes", [[0], [2]])
def test_a_rule_may_not_change_the_shape(axes):
    @rule
    class wrong:
        """x gets another shape"""

        def before(op, x):
            return op.Abs(x)

        def after(op, x):
            return op.Unsqueeze(x, [0]) if axes == [0] else op.Transpose(x)

    with pytest.raises(errors.WrongRule, match="rule wrong"):
        rewrite(wrong)(graph_of(lambda op, x: op.Abs(x), x="f32[4,5]"), TARGET)


def test_a_rule_must_make_every_output():
    @rule
    class few:
        """two outputs become one"""

        def before(op, x):
            return op.Split(x, num_outputs=2, _outputs=2)

        def after(op, x):
            return op.Slice(x, [0], [2])

    with pytest.raises(errors.WrongRule, match="rule few makes 1 of 2 outputs"):
        rewrite(few)(graph_of(lambda op, x: op.Add(*op.Split(x, num_outputs=2)), x="f32[4]"), TARGET)


def test_what_ends_in_no_single_call_is_no_pattern():
    for before in (lambda op, x: x, lambda op, x: (op.Relu(x), op.Abs(x))):
        with pytest.raises(TypeError, match="a pattern ends in"):
            template_of(before)


def test_rules_that_undo_each_other_are_named():
    @rule
    class to_sine:
        """cos(x) becomes sin(x)"""

        def before(op, x):
            return op.Cos(x)

        def after(op, x):
            return op.Sin(x)

    @rule
    class to_cosine:
        """sin(x) becomes cos(x)"""

        def before(op, x):
            return op.Sin(x)

        def after(op, x):
            return op.Cos(x)

    graph = graph_of(lambda op, x: op.Relu(op.Sin(x)), x="f32[4]")
    with pytest.raises(errors.InternalError, match="does not end") as caught:
        rewrite(to_sine, to_cosine)(graph, TARGET)
    assert caught.value.cause == "to_cosine and to_sine match what they make"


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

    graph = graph_of(lambda op, x: op.Abs(x), x="f32[4]")
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

    graph = graph_of(lambda op, x: x * 0.5, x="f32[4]")
    assert applied(graph, half, other) == ["Div"]
    assert applied(graph, other, half) == ["Add"]


# ── several rewrites in one walk ─────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_collapses_in_one_walk():
    def body(op, x):
        for _ in range(9):
            x = op.Transpose(x, perm=[1, 2, 0])
        return x

    result = rewrite(double_transpose)(graph_of(body, x="f32[2,3,4]"), TARGET)
    assert ops(result) == ["Transpose"]
    assert result.nodes[0].attributes["perm"] == (0, 1, 2)


def test_a_value_becomes_private_when_its_other_reader_is_rewritten():
    """σ(y) has two readers: the first rewrite does away with one, then the second can happen."""

    @rule
    class absolute:
        """|σ(x)| becomes relu(x)"""

        def before(op, x):
            return op.Abs(op.keep(op.Sigmoid(x)))

        def after(op, x):
            return op.Relu(x)

    def body(op, x):
        shared = op.Sigmoid(x)
        first = op.Abs(shared)
        return first - x * shared

    assert applied(graph_of(body, x="f32[4]"), absolute, silu_twice) == ["Relu", "Swish", "Sub"]


def test_a_rewrite_feeds_the_next():
    graph = graph_of(lambda op, x: op.Relu((y := op.Neg(op.Neg(x))) * op.Sigmoid(y)), x="f32[4]")
    assert applied(graph, double_neg, silu_twice) == ["Swish", "Relu"]
    assert applied(graph_of(lambda op, x: op.Neg(op.Neg(x)) * op.Sigmoid(x), x="f32[4]"), double_neg, silu_twice) == [
        "Swish"
    ]


def test_nothing_to_do_gives_the_same_graph():
    graph = graph_of(lambda op, x: op.Relu(x) * x, x="f32[4]")
    assert rewrite(silu_twice, double_neg)(graph, TARGET) is graph
    assert rewrite(half)(graph_of(lambda op, x: x, x="f32[4]"), TARGET).nodes == ()


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

    result = rewrite(again)(graph_of(body, x="f32[4]"), TARGET)
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

    return graph_of(body, x="f32[4]")


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
