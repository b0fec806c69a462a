"""Node by node replacement, and the builder that continues a graph."""

import pytest
from tests.passes.graphs import branching, graph_of, ops

from fxonnx import dtypes, errors
from fxonnx.ir.types import TensorType
from fxonnx.ir.verify import verify
from fxonnx.passes.rewriting.replace import Rebuilder, replace_nodes, take_over


def expand_gelu(op, node):
    """Gelu as a Swish of some kind, and that as a product: what is recorded is offered again."""
    x = op.use(node.inputs[0]) if node.inputs else None
    match node.op:
        case "Gelu":
            return op.Swish(x, alpha=1.702)
        case "Swish":
            return x * op.Sigmoid(x * 1.702)
    return None


def test_what_is_recorded_is_offered_again():
    result = replace_nodes(graph_of(lambda op, x: op.Abs(op.Gelu(x)), x="f32[n]"), expand_gelu, rule="expand")
    assert ops(result) == ["Mul", "Sigmoid", "Mul", "Abs"]
    assert result.nodes[0].location.rules == ("expand",)
    assert result.nodes[3].location.rules == ()
    verify(result)


def test_nothing_to_replace_gives_the_same_graph():
    for graph in (graph_of(lambda op, x: op.Abs(x), x="f32[n]"), branching(lambda op, x: op.Abs(x))):
        assert replace_nodes(graph, expand_gelu) is graph


def test_what_is_begun_for_a_node_that_is_kept_is_dropped():
    def begin(op, node):
        op.Neg(op.use(node.inputs[0]))  # and then finds that a size is not told

    graph = graph_of(lambda op, x: op.Abs(x), x="f32[n]")
    assert replace_nodes(graph, begin) is graph


def test_outputs_follow_and_subgraphs_are_walked():
    result = replace_nodes(branching(lambda op, x: op.Gelu(x)), expand_gelu)
    assert [node.op for node in result.all_nodes()] == ["If", *["Mul", "Sigmoid", "Mul"] * 2]
    verify(result)


def test_what_a_node_reads_from_around_its_graph_tells_sizes():
    inside = graph_of(lambda op, x: op.ReduceMax(x, keepdims=0), x="f32[n, 4]")
    builder = Rebuilder(inside.opset)
    for node in inside.nodes:
        builder.keep(node)
    assert ops(builder.finish([builder.read_size("n")])) == [*ops(inside), "Shape"]


def test_an_output_that_nobody_reads_needs_no_replacement():
    def halves(op, node):
        if node.op != "Split":
            return None
        return [op.Slice(op.use(node.inputs[0]), [0], [2]), None]

    result = replace_nodes(graph_of(lambda op, x: op.Abs(op.Split(x, num_outputs=2)[0]), x="f32[4]"), halves)
    assert ops(result) == ["Slice", "Abs"]


def test_a_replacement_of_another_type_is_our_fault():
    def widen(op, node):
        return op.Cast(op.use(node.inputs[0]), to=dtypes.FLOAT64) if node.op == "Gelu" else None

    with pytest.raises(errors.InternalError, match=r"wide of Gelu makes f64\[n\] of f32\[n\]"):
        replace_nodes(graph_of(lambda op, x: op.Gelu(x), x="f32[n]"), widen, rule="wide")


def test_what_is_known_better_stays_known():
    graph = graph_of(lambda op, x: op.Relu(x), x="f32[n,4]")
    builder = Rebuilder.of(graph)
    old = graph.outputs[0]
    new = builder.Abs(builder.use(graph.inputs[0]))
    builder.refine(new, TensorType(dtypes.FLOAT32, (3, builder.new_dim())))
    take_over(builder, [old], [new], builder.nodes, "test")
    assert new.shape == (3, 4)


def test_sizes_are_read_from_what_is_kept():
    """A size that only an inner value has can be materialized once that value is kept."""
    graph = graph_of(lambda op, x: op.Transpose(op.NonZero(x)), x="f32[4]")
    (dim,) = (dim for dim in graph.outputs[0].shape if not isinstance(dim, int))
    builder = Rebuilder.of(graph)
    for node in graph.nodes:
        builder.keep(node)
    assert builder.size(dim).shape == ()
    assert builder.nested().size(dim).shape == ()


def test_names_of_sizes_that_are_taken_are_not_given_again():
    graph = graph_of(lambda op, x: op.NonZero(x), x="f32[4]")
    taken = graph.outputs[0].shape[1]
    builder = Rebuilder.of(graph)
    assert taken not in {builder.new_dim() for _ in range(3)}
    assert taken not in {builder.nested().new_dim() for _ in range(3)}
