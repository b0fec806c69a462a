"""Dead code elimination."""

from tests.passes.graphs import TARGET, branching, graph_of, ops

from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.passes.dce import dce


def test_what_no_output_reads_is_gone():
    graph = dce(graph_of(lambda op, x: (op.Abs(op.Neg(x)), op.Relu(x))[1], x="f32[n]"), TARGET)
    assert ops(graph) == ["Relu"]


def test_a_node_lives_while_one_output_does():
    graph = graph_of(lambda op, x: op.Split(x, num_outputs=2)[1], x="f32[4]")
    assert dce(graph, TARGET) is graph


def test_inputs_and_order_stay():
    graph = dce(graph_of(lambda op, x, y: (op.Neg(x), op.Abs(x) + op.Relu(x))[1], x="f32[n]", y="f32[n]"), TARGET)
    assert ops(graph) == ["Abs", "Relu", "Add"]
    assert [value.name for value in graph.inputs] == ["x", "y"]


def test_what_subgraphs_read_is_alive():
    op = Builder()
    x, flag = op.input(parse_type("f32[4]"), "x"), op.input(parse_type("b8[]"), "flag")
    read, dead = op.Relu(x), op.Abs(x)
    branches = {}
    for name in ("then_branch", "else_branch"):
        inner = op.nested()
        branches[name] = inner.finish([inner.Neg(inner.use(read.value))])
    result = dce(op.finish(op.call("If", [flag], branches, 1, [x.type])), TARGET)
    assert ops(result) == ["Relu", "If"]
    assert all(dead.value not in node.outputs for node in result.nodes)


def test_subgraphs_are_cleaned():
    result = dce(branching(lambda op, x: (op.Abs(x), op.Relu(x))[1]), TARGET)
    assert [node.op for node in result.all_nodes()] == ["If", "Relu", "Relu"]


def test_an_unread_value_keeps_nothing_alive_from_inside_a_dead_subgraph():
    def body(op, x):
        return op.Relu(x)

    graph = branching(body)
    unread = type(graph)(graph.inputs, graph.nodes, (graph.inputs[0],), graph.opset)
    assert dce(unread, TARGET).nodes == ()
