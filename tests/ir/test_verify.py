"""Each fault is found, is shown under the node to blame, and a sound graph passes."""

from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.ir.cases import CASES
from tests.ir.graphs import graphs

from fxonnx.errors import InternalError
from fxonnx.ir.build import Builder
from fxonnx.ir.data import ArrayData
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.text import parse_graph
from fxonnx.ir.types import parse_type
from fxonnx.ir.verify import verify
from fxonnx.ir.verify.structure import structural_faults
from fxonnx.location import Location

FAULTS = [
    ("%0: f32[n] = Foo(x)", "opset 28 has no operator Foo"),
    ("%0: f32[n] = Upsample(x, f32[1](2.0))", "Upsample is deprecated"),
    ("%0: f32[n] = Relu(x, x)", "2 inputs; there are at most 1"),
    ("%0: f32[n] = Relu()", "the input 'X' is missing"),
    ("%0: f32[n] = Add(_, x)", "the input 'A' is missing"),
    ("%0: f32[n], %1: f32[n] = Relu(x)", "2 outputs; there are at most 1"),
    ("%0: f32[2] = TopK(x, i64[1](2))", "1 outputs; TopK has at least 2"),
    ("%0: f32[n] = Relu(x) {alpha=1}", "Relu has no attribute 'alpha'"),
    ("%0: f32[n] = Softmax(x) {axis=0.0}", "the attribute 'axis' is of kind INT, not float"),
    ("%0: f32[n] = LeakyRelu(x) {alpha=1}", "the attribute 'alpha' is of kind FLOAT, not int"),
    ("%0: f32[n] = Transpose(x) {perm=[0.0]}", "the attribute 'perm' is of kind INTS"),
    ("%0: f32[n] = Concat(x)", "the attribute 'axis' is missing"),
    ("%0: i64[n] = Relu(x)", "'Y' is i64, where T is f32"),
    ("%0: f32[n] = Add(x, f64(1.0))", "'B' is f64, where T is f32"),
    ("%0: b8[] = Sin(b8(true))", "'input' is b8; Sin admits"),
    ("%0: f32[n,n] = Relu(x)", "output 0 is recorded as f32[n,n], but inference gives f32[n]"),
    ("%0: f32[3] = Concat(f32[1](1.0), f32[1](1.0)) {axis=0}", "recorded as f32[3], but inference gives f32[2]"),
    ("%0: f32[2] = Add(f32[2](1.0, 1.0), f32[3](1.0, 1.0, 1.0))", "sizes 2 and 3 do not broadcast"),
]


@pytest.mark.parametrize(("line", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faults_of_calls(line, message):
    with pytest.raises(InternalError) as info:
        verify(parse_graph(f"graph(x: f32[n]) opset=28\n  {line}\n  return %0"))
    after = info.value.text.split(line.split(" {")[0])[1].splitlines()
    assert after[1].startswith("  ^^^ ")
    assert message in after[1]


def test_the_schema_of_the_graphs_own_opset_counts():
    verify(parse_graph("graph(x: f32[n]) opset=11\n  %0: f32[1] = ReduceMean(x) {axes=[0]}\n  return %0"))
    with pytest.raises(InternalError, match="no attribute 'axes'"):
        verify(parse_graph("graph(x: f32[n]) opset=18\n  %0: f32[1] = ReduceMean(x) {axes=[0]}\n  return %0"))
    with pytest.raises(InternalError, match="opset 19 has no operator Gelu"):
        verify(parse_graph("graph(x: f32[n]) opset=19\n  %0: f32[n] = Gelu(x)\n  return %0"))


def test_symbols_may_be_refined():
    verify(parse_graph("graph(x: f32[n,m])\n  %0: f32[n,8] = Relu(x)\n  %1: i64[2,u0] = NonZero(x)\n  return %0, %1"))


def test_dtypes_that_are_not_admitted_yet():
    graph = parse_graph("graph(x: bf16[n])\n  %0: bf16[n] = Det(x)\n  return %0")
    with pytest.raises(InternalError, match="Det"):
        verify(graph)
    relu = parse_graph("graph(x: u8[n])\n  %0: u8[n] = Relu(x)\n  return %0")
    verify(relu, admitted=False)
    with pytest.raises(InternalError, match="'X' is u8; Relu admits"):
        verify(relu)


def test_other_domains_pass():
    verify(parse_graph("graph(x: f32[n])\n  %0: f16[7] = com.microsoft::Foo(x, _, x) {a=1}\n  return %0"))


# ── structure ────────────────────────────────────────────────────────────────────────────────────────────────────────

F = parse_type("f32[n]")


def node(op, inputs, outputs, **attributes):
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def faults(graph):
    """All messages about a graph."""
    return [message for each in structural_faults(graph, True).values() for message in each]


def test_reading_what_nobody_wrote():
    x, y, z = (Value(F, name) for name in "xyz")
    assert faults(Graph((x,), (node("Relu", [y], [z]),), (z,), 28)) == [
        "reads y: f32[n], which nobody has written before"
    ]
    assert faults(Graph((x,), (), (y,), 28)) == ["returns y: f32[n], which nobody has written before"]


def test_reading_before_writing():
    x, y, z = (Value(F, name) for name in "xyz")
    late = (node("Relu", [y], [z]), node("Relu", [x], [y]))
    assert faults(Graph((x,), late, (z,), 28)) == ["reads y: f32[n], which nobody has written before"]


def test_writing_twice():
    x, y = Value(F, "x"), Value(F, "y")
    twice = (node("Relu", [x], [y]), node("Neg", [x], [y]))
    assert faults(Graph((x,), twice, (y,), 28)) == ["writes y: f32[n], which is written elsewhere too"]
    assert faults(Graph((x, x), (), (x,), 28)) == ["writes x: f32[n], which is written elsewhere too"]


def test_constants():
    content = ArrayData(np.zeros(2, np.float32))
    constant = Value(parse_type("f32[2]"), "w", content)
    assert faults(Graph((constant,), (), (), 28)) == ["writes w: f32[2], which is a constant"]
    lying = Value(parse_type("f16[2]"), "w", content)
    assert faults(Graph((), (), (lying, lying), 28)) == ["reads w: f16[2], whose content is f32[2]"]


def test_output_names():
    x = Value(F, "x")
    assert faults(Graph((x,), (), (x, x), 28, ("a", "a"))) == ["2 outputs are called 'a'"]
    assert faults(Graph((x,), (), (x, x), 28, ("a",))) == ["1 output names for 2 outputs"]


BRANCHES = """graph(x: f32[n], c: b8[])
  %0: f32[n] = If(c)
    then_branch = graph()
      %1: f32[n] = Relu(x)
      return %1
    else_branch = graph()
      return x
  return %0"""


def test_subgraphs_read_what_is_around_them():
    graph = parse_graph(BRANCHES)
    verify(graph)
    (branching,) = graph.nodes
    inner = branching.attributes["then_branch"].nodes[0].output
    leaking = replace(branching.attributes["else_branch"], outputs=(inner,))
    broken = replace(branching, attributes={**branching.attributes, "else_branch": leaking})
    assert faults(replace(graph, nodes=(broken,))) == ["returns a value: f32[n], which is written out of its sight"]
    assert faults(replace(graph, outputs=(inner,))) == ["returns a value: f32[n], which is written out of its sight"]


@pytest.mark.parametrize(("text", "message"), [
    (BRANCHES.replace("return x", "return"), "a subgraph returns 0 values for 1"),
    (BRANCHES.replace("return x", "return i64(1)"), "a subgraph returns a value: i64[] for f32[n]"),
    (BRANCHES.replace("else_branch = graph()", "else_branch = graph(y: f32[])"), "a branch has 1 inputs"),
    (BRANCHES.replace("else_branch = graph()", "else_branch = graph() opset=9"), "a subgraph in opset 9"),
    ("""graph(x: f32[n])
  %0: f32[n] = Loop(i64(3), _, x)
    body = graph(i: i64[], v: f32[n])
      return b8(true), v
  return %0""", "a body of 2 inputs for 1 carried values"),
    ("""graph(x: f32[n])
  %0: f32[n], %1: i64[3] = Loop(i64(3), _, x)
    body = graph(i: i64[], c: b8[], v: f32[n])
      return c, v
  return %0""", "a body of 2 outputs for a loop of 2"),
    ("""graph(x: f32[3,2])
  %0: f32[3,2] = Scan(x) {num_scan_inputs=1}
    body = graph()
      return f32(1.0)
  return %0""", "a body of 0 inputs and 1 outputs"),
])  # fmt: skip
def test_faults_of_subgraphs(text, message):
    with pytest.raises(InternalError, match=message.replace("[", r"\[")):
        verify(parse_graph(text))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(depth=1))
def test_random_graphs_are_sound_in_who_writes_what(graph):
    assert not [message for message in faults(graph) if "written" in message or "wrote" in message]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_built_verifies(case):
    op = Builder()
    inputs = [
        op.use(value) if value and value.is_constant else value and op.input(value.type, "x")
        for value in case.call().inputs
    ]
    results = op.call(case.op, inputs, case.attributes, case.outputs)
    verify(op.finish(results))


# ── the message ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_message_points_at_the_node():
    text = dedent("""\
        graph(x: f32[n,4], w: i32[3]) opset=28
          @ head  Head  model.py:7
          %0: f32[n,4] = Relu(x) {alpha=1}   · relu
          %1: f32[n,4] = Neg(%0)
          return %1 as y, x as y""")
    with pytest.raises(InternalError) as info:
        verify(parse_graph(text))
    assert info.value.cause == "Relu has no attribute 'alpha' in this opset, and 1 more"
    assert info.value.locations == (Location("head", "Head", "model.py", 7, op="relu"),)
    assert info.value.text == dedent("""\
        graph(x: f32[n,4], w: i32[3]) opset=28
          @ head  Head  model.py:7
          %0: f32[n,4] = Relu(x) {alpha=1}   · relu
          ^^^ Relu has no attribute 'alpha' in this opset
          %1: f32[n,4] = Neg(%0)
          return %1 as y, x as y
          ^^^ 2 outputs are called 'y'""")


def test_a_long_graph_is_shown_around_the_fault():
    lines = [f"  %{i}: f32[n] = Relu(x)" for i in range(500)]
    lines[250] = "  %250: f32[n] = Foo(x)"
    with pytest.raises(InternalError) as info:
        verify(parse_graph("\n".join(["graph(x: f32[n]) opset=28", *lines, "  return %499"])))
    shown = info.value.text.splitlines()
    assert len(shown) < 20
    assert shown[0] == "graph(x: f32[n]) opset=28"
    assert shown[1] == "  ⋮"
    assert "  ^^^ opset 28 has no operator Foo" in shown
