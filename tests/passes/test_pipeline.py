"""Passes in a row, repeated, and inside subgraphs; and what the optimizer is made of."""

from dataclasses import replace

import pytest
from tests.passes.graphs import TARGET, branching, graph_of, ops

from fxonnx import errors
from fxonnx.ir.graph import Graph
from fxonnx.passes.optimize import optimizer
from fxonnx.passes.pipeline import ROUNDS, Pass, graph_pass, nested, pipeline, repeat
from fxonnx.passes.rewriting.rewrite import rewrite, rule


@graph_pass
def drop_last(graph, target):
    """Drop the last node and return what it read, until none is left."""
    if not graph.nodes:
        return graph
    return Graph(graph.inputs, graph.nodes[:-1], graph.nodes[-1].inputs, graph.opset)


@graph_pass
def drop_nothing(graph, target):
    """Leave the graph as it is."""
    return graph


def chain(length):
    def body(op, x):
        for _ in range(length):
            x = op.Tanh(x)
        return x

    return graph_of(body, x="f32[n]")


def test_a_pass_is_called_like_its_function():
    assert drop_last.name == "drop_last"
    assert len(drop_last(chain(3), TARGET).nodes) == 2


def test_stages_are_kept_with_names_and_times():
    stages = list(pipeline("dropped", drop_last, drop_last).stages(chain(3), TARGET))
    assert [(stage.name, stage.nodes) for stage in stages] == [("drop_last", 2), ("drop_last", 1)]
    assert all(stage.seconds >= 0 and stage.phase == "dropped" for stage in stages)
    assert ops(pipeline("dropped", drop_last, drop_last)(chain(3), TARGET)) == ["Tanh"]


def test_repeat_goes_on_until_nothing_changes():
    done = repeat(drop_last, name="drop")(chain(ROUNDS - 1), TARGET)
    assert done.nodes == ()
    assert repeat(drop_last, name="drop")(done, TARGET) is done


def test_repeat_comes_to_an_end():
    endless = Pass("endless", lambda graph, target: replace(graph))
    calls = []
    counted = Pass("counted", lambda graph, target: (calls.append(1), graph)[1])
    repeat(endless, counted, name="twice", rounds=2)(chain(1), TARGET)
    assert len(calls) == 2
    with pytest.raises(errors.InternalError, match="forever does not end: endless undo each other"):
        repeat(endless, counted, name="forever")(chain(1), TARGET)


def test_passes_that_undo_each_other_are_named_with_their_rules():
    @rule
    class to_sine:
        """cos(x) becomes sin(x), in one pass"""

        def before(op, x):
            return op.Cos(x)

        def after(op, x):
            return op.Sin(x)

    @rule
    class to_cosine:
        """sin(x) becomes cos(x), in another"""

        def before(op, x):
            return op.Sin(x)

        def after(op, x):
            return op.Cos(x)

    there, back = rewrite(to_sine, name="there"), rewrite(to_cosine, name="back")
    with pytest.raises(errors.InternalError, match="turn does not end: there and back undo") as caught:
        repeat(there, drop_nothing, back, name="turn")(graph_of(lambda op, x: op.Sin(x), x="f32[4]"), TARGET)
    assert "to_sine" in caught.value.cause and "to_cosine" in caught.value.cause


def test_nested_goes_through_subgraphs_from_inside():
    seen = []

    @nested
    def look(graph, target):
        """Note the graph's name."""
        seen.append(graph.name)
        return graph

    graph = branching(lambda op, x: op.Relu(x))
    assert look(graph, TARGET) is graph
    assert seen == ["then_branch", "else_branch", "main"]
    assert look.__doc__ == "Note the graph's name."


# ── the optimizer ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_optimizer_is_made_once():
    assert optimizer() is optimizer()
    assert [each.name for each in optimizer().passes] == ["dce", "half_in_float32", "simplify", "fuse"]


def test_rules_of_users_come_first():
    @rule
    class own:
        """erf becomes tanh"""

        def before(op, x):
            return op.Erf(x)

        def after(op, x):
            return op.Tanh(x)

    stages = optimizer((own,))
    assert [each.name for each in stages.passes] == ["users", "dce", "half_in_float32", "simplify", "fuse"]
    graph = graph_of(lambda op, x: (x * 0.5) * (op.Erf(x / 2**0.5) + 1.0), x="f32[n]")
    assert "Tanh" in ops(stages(graph, TARGET))
    assert ops(optimizer()(graph, TARGET)) == ["Gelu"]


def test_the_optimizer_settles():
    """What it leaves, it leaves alone: the same object."""

    def body(op, x):
        y = op.Reshape(op.Transpose(op.Transpose(x, perm=[0, 2, 1]), perm=[0, 2, 1]), [0, -1])
        return op.Relu(op.Cast(y * 1.0 + op.Squeeze(op.Unsqueeze(y, [0]), [0]), to=1))

    settled = optimizer()(graph_of(body, x="f32[n,3,4]"), TARGET)
    assert ops(settled) == ["Reshape", "Add", "Relu"]
    assert optimizer()(settled, TARGET) is settled
