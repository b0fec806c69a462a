"""Constant folding: what is folded, what is left, and that no file grows by it. Pictures: tests/golden/passes.ir."""

import numpy as np
import pytest
from tests.passes.graphs import TARGET, branching, graph_of, ops

from fxonnx import dtypes, errors
from fxonnx.ir.control import record_if
from fxonnx.ir.data import AbsentData, ArrayData, View, byte_size
from fxonnx.ir.dims import symbol
from fxonnx.ir.types import TensorType
from fxonnx.passes import fold as folding
from fxonnx.passes.dce import dce
from fxonnx.passes.fold import FREE, fold


def folded(body, **inputs):
    return fold(graph_of(body, **inputs), TARGET)


def weight(*shape, dtype=np.float32):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def constant_bytes(graph):
    return sum(byte_size(value.data) for value in graph.constants())


def test_shape_arithmetic_that_is_known_vanishes():
    def body(op, x):
        rows = op.Gather(op.Shape(x), [1])
        return op.Reshape(x, op.Concat(np.array([-1]), op.Mul(rows, np.array([2])), np.array([2]), axis=0))

    graph = dce(folded(body, x="f32[n,3,4]"), TARGET)
    assert ops(graph) == ["Reshape"]
    assert graph.nodes[0].inputs[1].data.array().tolist() == [-1, 6, 2]


def test_shape_arithmetic_that_is_not_known_stays():
    graph = graph_of(lambda op, x: op.Mul(op.Shape(x), np.array([2, 2])), x="f32[n,4]")
    assert fold(graph, TARGET) is graph


def test_a_scalar_keeps_its_rank():
    graph = folded(lambda op, x: op.Add(x, op.Squeeze(op.Shape(x), [0])), x="i64[4]")
    assert graph.nodes[0].inputs[1].shape == ()


@pytest.mark.parametrize("dtype", [dtypes.FLOAT16, dtypes.BFLOAT16, dtypes.FLOAT64, dtypes.INT8], ids=str)
def test_results_keep_their_dtype(dtype):
    def body(op, x):
        return op.Add(x, op.Add(op.constant([1, 2], dtype), op.constant([3, 4], dtype)))

    graph = folded(body, x=f"{dtype.short}[2]")
    assert ops(graph) == ["Add"]
    assert graph.nodes[0].inputs[1].data.dtype is dtype
    assert graph.nodes[0].inputs[1].data.array().astype(float).tolist() == [4, 6]


def test_what_is_computed_must_be_what_was_inferred(monkeypatch):
    monkeypatch.setattr(folding, "evaluate_node", lambda node, arrays: [np.zeros(3)])
    with pytest.raises(errors.InternalError, match=r"Add computes f64\[3\], not f32\[2,2\]"):
        folded(lambda op, x: x + op.Add(weight(2, 2), weight(2, 2)), x="f32[2,2]")


# ── the budget ───────────────────────────────────────────────────────────────────────────────────────────────────────

LARGE = FREE // 4 + 1  # elements of float32 that are not free


@pytest.mark.parametrize(
    "grow",
    [
        lambda op, size: op.Expand(np.float32(1), [size]),
        lambda op, size: op.Tile(np.ones(1, np.float32), [size]),
        lambda op, size: op.ConstantOfShape([size], value=np.ones(1, np.float32)),
        lambda op, size: op.Cast(op.Range(0, size, 1), to=dtypes.FLOAT32),
    ],
    ids=["Expand", "Tile", "ConstantOfShape", "Range"],
)
def test_what_grows_is_folded_only_while_it_is_small(grow):
    small = folded(lambda op, x: x + grow(op, 8), x="f32[8]")
    assert ops(small) == ["Add"]
    large = folded(lambda op, x: x + grow(op, LARGE), x=f"f32[{LARGE}]")
    assert len(large.nodes) > 1


def test_a_result_may_take_the_place_of_what_dies():
    body = lambda op, x: x + op.Mul(weight(64, 64), weight(64, 1))  # noqa: E731
    graph = graph_of(body, x="f32[64,64]")
    result = fold(graph, TARGET)
    assert ops(result) == ["Add"]
    assert constant_bytes(result) < constant_bytes(graph)


def test_a_result_does_not_stand_beside_what_others_read():
    def body(op, x):
        kept = op.constant(weight(64, 64))
        return x + op.Mul(kept, weight(64, 1)) + kept

    graph = graph_of(body, x="f32[64,64]")
    assert fold(graph, TARGET) is graph


def test_a_constant_that_a_subgraph_reads_does_not_die():
    def body(op, x):
        return x + op.Mul(shared, weight(64, 1)) + op.ReduceSum(shared, keepdims=0)

    shared = ArrayData(weight(64, 64))
    result = fold(branching(body, type="f32[64,64]"), TARGET)
    assert [node.op for node in result.all_nodes()].count("Mul") == 2


def test_the_last_reader_may_fold_what_others_have_folded_before():
    """Two results of a weight's size each would be one too many: the second one stays."""

    def body(op, x):
        shared = op.constant(weight(64, 64))
        return x + op.Mul(shared, np.float32(2)) + op.Mul(shared, np.float32(3))

    graph = graph_of(body, x="f32[64,64]")
    result = fold(graph, TARGET)
    assert constant_bytes(result) <= constant_bytes(graph) + FREE


def test_a_symbolic_size_is_never_folded():
    op_graph = graph_of(lambda op, x: op.Expand(np.float32(1), op.Shape(x)), x="f32[n]")
    assert fold(op_graph, TARGET) is op_graph


# ── views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_weight_is_transposed_lazily_and_keeps_its_name():
    def body(op, x):
        return op.MatMul(x, op.Transpose(op.constant(weight(64, 32), name="fc.weight"), perm=[1, 0]))

    (node,) = folded(body, x="f32[n,32]").nodes
    assert isinstance(node.inputs[1].data, View)
    assert node.inputs[1].name == "fc.weight.T"
    assert node.inputs[1].shape == (32, 64)


def test_a_large_weight_is_cast_lazily_where_it_gets_no_larger():
    def body(op, x):
        return x + op.Cast(op.constant(weight(64, 32), name="w"), to=dtypes.FLOAT16)

    (node,) = folded(body, x="f16[64,32]").nodes
    assert isinstance(node.inputs[1].data, View)
    assert node.inputs[1].name == "w.f16"
    wider = folded(lambda op, x: x + op.Cast(weight(64, 32), to=dtypes.FLOAT64), x="f64[64,32]")
    assert ops(wider) == ["Cast", "Add"]


def test_views_of_views():
    def body(op, x):
        return x + op.Cast(op.Transpose(weight(64, 32)), to=dtypes.FLOAT16)

    (node,) = folded(body, x="f16[32,64]").nodes
    assert node.inputs[1].data.array().tolist() == weight(64, 32).T.astype(np.float16).tolist()


# ── what is left alone ───────────────────────────────────────────────────────────────────────────────────────────────


def test_random_numbers_are_not_folded():
    graph = graph_of(lambda op, x: x + op.Bernoulli(np.full(4, 0.5, np.float32)), x="f32[4]")
    assert fold(graph, TARGET) is graph


def test_quantized_weights_stay_small():
    def body(op, x):
        return op.MatMul(x, op.DequantizeLinear(weight(2, 2, dtype=np.int8), np.float32(0.5)))

    graph = graph_of(body, x="f32[n,2]")
    assert fold(graph, TARGET) is graph


def test_a_content_that_is_not_at_hand_is_not_folded():
    graph = graph_of(lambda op, x: x + op.Relu(op.constant(AbsentData(dtypes.FLOAT32, (4,), "w"))), x="f32[4]")
    assert fold(graph, TARGET) is graph


def test_operators_that_nobody_here_computes_are_left():
    def body(op, x):
        (y,) = op.call("com.microsoft::Inverse", [weight(2, 2)], {}, 1, [TensorType(dtypes.FLOAT32, (2, 2))])
        return x + y

    graph = graph_of(body, x="f32[2,2]")
    assert fold(graph, TARGET) is graph


def test_outputs_and_names_follow():
    graph = folded(lambda op, x: (x, op.Add(weight(2), weight(2))), x=f"f32[{symbol('n')}]")
    assert graph.outputs[1].is_constant
    assert graph.nodes == ()


def test_subgraphs_are_folded():
    result = fold(branching(lambda op, x: x + op.Add(weight(4), weight(4))), TARGET)
    assert [node.op for node in result.all_nodes()] == ["If", "Add", "Add"]


def test_nothing_to_fold_in_a_subgraph_gives_the_same_graph():
    graph = branching(lambda op, x: x * 2.0)
    assert fold(graph, TARGET) is graph


def test_a_weight_is_cut_into_its_matrices():
    """Each is a view of the whole, called after it, in the order of the rows."""
    whole = weight(3, 64, 32)

    def body(op, x):
        parts = op.Split(op.constant(ArrayData(whole), name="experts"), axis=0, num_outputs=3)
        return tuple(op.MatMul(x, op.Squeeze(part, [0])) for part in parts)

    graph = folded(body, x="f32[n,64]")
    assert ops(graph) == ["MatMul"] * 3
    for at, node in enumerate(graph.nodes):
        assert node.inputs[1].name == f"experts.{at}"
        assert np.shares_memory(node.inputs[1].data.array(), whole)
        assert node.inputs[1].data.part(1, 3).tolist() == whole[at, 1:3].tolist()


def test_a_weight_that_others_read_is_not_cut():
    def body(op, x):
        whole = op.constant(ArrayData(weight(3, 64, 32)), name="experts")
        return *op.Split(whole, axis=0, num_outputs=3), op.MatMul(x, whole)

    assert ops(folded(body, x="f32[n,64]")) == ["Split", "MatMul"]


def test_a_branch_on_what_is_known_is_the_way_that_is_taken():
    def body(op, x):
        condition = op.Greater(op.constant(np.float32(2)), op.constant(np.float32(1)))
        (taken,) = record_if(
            op, condition, lambda inner: [inner.Exp(inner.use(x.value))], lambda inner: [inner.Abs(inner.use(x.value))]
        )
        return op.Neg(taken)

    graph = dce(folded(body, x="f32[n,3]"), TARGET)
    assert ops(graph) == ["Exp", "Neg"]
