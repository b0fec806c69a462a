"""What changed between graphs: nodes are matched by their values and places, whatever their numbers in a print-out."""

from dataclasses import replace

import pytest
from tests.ir.graphs import chain, work

from fxonnx.ir.changes import diff
from fxonnx.ir.graph import Graph, Node
from fxonnx.ir.text import parse_graph, print_graph
from fxonnx.passes.optimize import CLEAN, optimizer
from fxonnx.target import Target

TARGET = Target.onnx()

GELU = """graph(x: f32[n,4]) opset=28
  @ act  Net  net.py:3
  %0: f32[n,4] = Mul(x, f32(0.5))            · mul
  %1: f32[n,4] = Div(x, f32(1.4142135))      · div
  %2: f32[n,4] = Erf(%1)                     · erf
  %3: f32[n,4] = Add(%2, f32(1.0))           · add
  %4: f32[n,4] = Mul(%0, %3)                 · mul
  @ out  Tanh  net.py:4
  %5: f32[n,4] = Tanh(%4)                    · tanh
  return %5 as y
"""


def test_a_rule_and_what_it_replaced() -> None:
    graph = parse_graph(GELU)
    found = diff([("parsed", graph), ("optimized", optimizer()(graph, TARGET))])
    (change,) = found.changes
    assert [node.op for node in change.before] == ["Mul", "Div", "Erf", "Add", "Mul"]
    assert [node.op for node in change.after] == ["Gelu"]
    assert change.by == ("erf_gelu",)
    assert found.kept == 1
    assert "@ act  Net  net.py:3   · mul+div+erf+add, by erf_gelu" in str(found)


def test_print_outs_are_compared_as_the_graphs_are() -> None:
    graph = parse_graph(GELU)
    optimized = optimizer()(graph, TARGET)
    read = diff([("", parse_graph(print_graph(graph))), ("", parse_graph(print_graph(optimized)))])
    assert str(read) == str(diff([("parsed", graph), ("optimized", optimized)]))


def test_a_pass_that_takes_away() -> None:
    graph = parse_graph(GELU.replace("return %5", "return %0"))
    found = diff([("parsed", graph), ("nothing", graph), ("dce", CLEAN(graph, TARGET))])
    assert {change.by for change in found.changes} == {("dce",)}
    assert not any(change.after for change in found.changes)
    assert sum(len(change.before) for change in found.changes) == 5


def test_what_leaves_nothing_behind_goes_with_its_reader() -> None:
    graph = chain(3, "Relu")
    first, second, third = graph.nodes
    one = replace(third, op="Tanh", inputs=graph.inputs, location=third.location.by("whole"))
    (change,) = diff([("", graph), ("fuse", replace(graph, nodes=(one,)))]).changes
    assert (change.before, change.after, change.by) == ((first, second, third), (one,), ("whole",))
    later = replace(third, inputs=second.inputs)
    steps = [("", graph), ("share", replace(graph, nodes=(first, later))), ("fuse", replace(graph, nodes=(one,)))]
    assert [each.by for each in diff(steps).changes] == [("fuse",), ("share",), ("whole",)]


def test_a_pass_that_writes_the_same_value_otherwise() -> None:
    graph = chain(1, "Relu")
    other = replace(graph.nodes[0], op="Tanh")
    (change,) = diff([("", graph), ("nothing", graph), ("respell", replace(graph, nodes=(other,)))]).changes
    assert (change.before, change.after, change.by) == (graph.nodes, (other,), ("respell",))


def test_nodes_in_branches() -> None:
    text = """graph(c: b8[], x: f32[4])
  @ -  Net  net.py:7
  %0: f32[4] = If(c)            · cond
    then_branch = graph() name=then
      %1: f32[4] = Relu(x)      · relu
      return %1
    else_branch = graph() name=else
      %2: f32[4] = Tanh(x)      · tanh
      return %2
  return %0
"""
    before, after = parse_graph(text), parse_graph(text.replace("Tanh(x)", "Sigmoid(x)"))
    (change,) = diff([("", before), ("", after)]).changes
    assert [node.op for node in (*change.before, *change.after)] == ["Tanh", "Sigmoid"]


@pytest.mark.parametrize("attribute", [0, 1])
def test_the_same_and_another_attribute(attribute: int) -> None:
    text = "graph(x: f32[4,4])\n  %0: f32[4,4] = Softmax(x) {axis=0}\n  return %0\n"
    found = diff([("", parse_graph(text)), ("", parse_graph(text.replace("axis=0", f"axis={attribute}")))])
    assert bool(found) is bool(attribute)
    assert found.summary == repr(found).removeprefix("<fxonnx diff: ").removesuffix(">")


def test_another_opset_alone_is_a_difference() -> None:
    graph = parse_graph(GELU)
    assert diff([("", graph), ("", replace(graph, opset=20))])
    assert not diff([("", graph), ("", graph)])


def test_shown_in_a_notebook() -> None:
    graph = parse_graph(GELU)
    shown = diff([("parsed", graph), ("optimized", optimizer()(graph, TARGET))])._repr_mimebundle_()
    assert "erf_gelu" in shown["text/plain"]
    assert '<span class="operator">Gelu</span>' in shown["text/html"]


def test_work_is_linear_in_nodes() -> None:
    def calls(nodes: int) -> int:
        before, after = chain(nodes, "Relu"), chain(nodes, "Tanh")
        return work(lambda: str(diff([("", before), ("", after)])))

    assert calls(800) < 5 * calls(200)


def test_fx_nodes_are_followed_where_they_are_known() -> None:
    graph = chain(3, "Relu")
    location = graph.nodes[0].location
    merged = replace(location, node="+".join(node.location.node for node in graph.nodes), rules=("all",))
    one = Node("Tanh", graph.inputs, (graph.outputs[0],), {}, merged)
    (change,) = diff([("", graph), ("", Graph(graph.inputs, (one,), graph.outputs, graph.opset))]).changes
    assert (change.before, change.after, change.by) == (graph.nodes, (one,), ("all",))
