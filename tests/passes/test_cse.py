"""Common subexpression elimination. Pictures: tests/golden/passes.ir."""

import numpy as np
import pytest
from tests.passes.graphs import TARGET, branching, graph_of, ops

from fxonnx import dtypes
from fxonnx.ir.data import ArrayData, transposed
from fxonnx.ir.types import TensorType
from fxonnx.passes.cse import cse


def shared(body, **inputs):
    return cse(graph_of(body, **inputs), TARGET)


def test_equal_calls_become_one_and_so_do_their_readers():
    graph = shared(lambda op, x: op.Abs(op.Relu(x)) + op.Abs(op.Relu(x)), x="f32[n]")
    assert ops(graph) == ["Relu", "Abs", "Add"]
    assert graph.nodes[2].inputs[0] is graph.nodes[2].inputs[1]


def test_all_outputs_are_shared():
    def body(op, x):
        first, second = (op.Split(x, num_outputs=2) for _ in range(2))
        return first[0] - second[1]

    assert ops(shared(body, x="f32[4]")) == ["Split", "Sub"]


@pytest.mark.parametrize(
    "pair",
    [
        lambda op, x: (op.Softmax(x, axis=0), op.Softmax(x, axis=1)),
        lambda op, x: (op.Sub(x, op.constant(1.0)), op.Sub(op.constant(1.0), x)),
        lambda op, x: (op.Clip(x, 1.0), op.Clip(x, None, 1.0)),
        lambda op, x: (op.Cast(x, to=dtypes.FLOAT16), op.Cast(x, to=dtypes.BFLOAT16)),
    ],
    ids=["attributes", "order", "absent", "dtype"],
)
def test_calls_that_differ_are_two(pair):
    graph = graph_of(lambda op, x: pair(op, x), x="f32[n,4]")
    assert cse(graph, TARGET) is graph


@pytest.mark.parametrize("name", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_numbers_are_drawn_each_time(name):
    graph = graph_of(lambda op, x: getattr(op, name)(x) + getattr(op, name)(x), x="f32[n]")
    assert cse(graph, TARGET) is graph


def test_operators_of_others_are_left():
    def body(op, x):
        return tuple(op.call("my.domain::Draw", [x], {}, 1, [x.type])[0] for _ in range(2))

    graph = graph_of(body, x="f32[n]")
    assert cse(graph, TARGET) is graph


def test_equal_constants_are_one_value():
    def body(op, x):
        twice = (op.constant(ArrayData(np.array([1.0, 2.0], np.float32))) for _ in range(2))
        return tuple(x + each for each in twice)

    graph = shared(body, x="f32[2]")
    assert ops(graph) == ["Add"]
    assert len(graph.constants()) == 1


def test_constants_of_another_dtype_or_shape_are_not():
    def body(op, x):
        return op.Reshape(x, np.array([0])), op.Reshape(x, np.array([0, 1]))

    assert len(shared(body, x="f32[n]").constants()) == 2
    negative = shared(lambda op, x: (x + np.float32(0.0), x + np.float32(-0.0)), x="f32[n]")
    assert len(negative.constants()) == 2


def test_tied_weights_are_one_and_the_first_gives_the_name():
    data = ArrayData(np.ones((64, 64), np.float32))
    view = transposed(data, (1, 0))

    def body(op, x):
        return tuple(
            op.MatMul(x, op.constant(each, name=name))
            for each, name in zip((data, data, view, view), "abcd", strict=True)
        )

    graph = shared(body, x="f32[n,64]")
    assert [value.name for value in graph.constants()] == ["a", "c"]
    assert len(graph.nodes) == 2


def test_subgraphs_share_inside_and_are_not_shared():
    result = cse(branching(lambda op, x: op.Relu(x) + op.Relu(x)), TARGET)
    assert [node.op for node in result.all_nodes()] == ["If", "Relu", "Add", "Relu", "Add"]
    assert result.outputs[0].type == TensorType(dtypes.FLOAT32, (4,))
