"""The text of a graph, and that it says all there is to say."""

import re
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.ir.graphs import arrays, graphs, same_graph, work

from fxonnx import dtypes
from fxonnx.ir.build import Builder
from fxonnx.ir.data import AbsentContent, ArrayData
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Graph, Node, Value
from fxonnx.ir.text import ParseError, parse_graph, print_graph
from fxonnx.ir.types import TensorType, parse_type
from fxonnx.location import Location

PICTURE = """\
graph(x: f32[n,128]) opset=23 stage=03-rewrite-fusion
  layers.0.fc.weight: f32[512,128]   layers.0.fc.bias: f32[512]

  @ layers.0.fc  Linear  encoder.py:31
  %0: f32[n,512] = Gemm(x, layers.0.fc.weight, layers.0.fc.bias) {transB=1}   · linear
  @ layers.0.act  GELU  encoder.py:32
  %1: f32[n,512] = Gelu(%0)                                                   · gelu, by erf_gelu
  return %1"""


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_round_trip(graph):
    text = print_graph(graph, stage="01-x")
    parsed = parse_graph(text)
    assert print_graph(parsed, stage="01-x") == text
    assert same_graph(graph, parsed)
    bare = print_graph(graph, places=False)
    assert print_graph(parse_graph(bare)) == bare


@settings(max_examples=300, deadline=None)
@given(arrays())
def test_every_element_reads_back(array):
    node = Node("Constant", (), (Value(parse_type("f32[]")),), {"value": array})
    (parsed,) = parse_graph(print_graph(Graph((), (node,), (), 20))).nodes
    assert parsed.attributes["value"].dtype == array.dtype
    assert str(parsed.attributes["value"]) == str(array)


def test_the_picture():
    graph = parse_graph(PICTURE)
    assert print_graph(graph, stage="03-rewrite-fusion") == PICTURE
    gemm, gelu = graph.nodes
    assert gemm.op == "Gemm"
    assert gemm.attributes == {"transB": 1}
    assert gemm.inputs[0] is graph.inputs[0]
    assert gelu.location == Location("layers.0.act", "GELU", "encoder.py", 32, op="gelu", rules=("erf_gelu",))
    assert graph.opset == 23
    assert graph.outputs == (gelu.output,)


def test_without_places():
    assert "@" not in print_graph(parse_graph(PICTURE), places=False)
    assert "·" not in print_graph(parse_graph(PICTURE), places=False)


def test_what_it_looks_like():
    op = Builder(23)
    x = op.input(parse_type("f32[n,4]"), "x")
    values, positions = op.TopK(x, [2], axis=-1)
    y = op.Clip(values, None, 0.1)
    big = op.constant(np.ones((3, 3), np.float32))
    branch, other = op.nested(), op.nested()
    with branch.at(Location("head", "Head", "src/model.py", 7, op="aten.exp.default")):
        branch_result = branch.Exp(branch.use(y.value))
    graphs = {"then_branch": branch.finish([branch_result]), "else_branch": other.finish([other.use(y.value)])}
    (z,) = op.call("If", [op.Equal(op.size(symbol("n")), 1)], graphs, types=[y.type])
    text = print_graph(op.finish([z, positions, op.MatMul(big, big)], ["z", "where to", "b"], "main"))
    assert text == dedent("""\
        graph(x: f32[n,4]) opset=23
          %c0: f32[3,3]

          %0: f32[n,2], %1: i64[n,2] = TopK(x, i64[1](2)) {axis=-1}
          %2: f32[n,2] = Clip(%0, _, f32(0.1))
          %3: i64[1] = Shape(x) {start=0, end=1}
          %4: i64[] = Squeeze(%3, i64[1](0))
          %5: b8[] = Equal(%4, i64(1))
          %6: f32[n,2] = If(%5)
            then_branch = graph()
              @ head  Head  model.py:7
              %7: f32[n,2] = Exp(%2)   · exp
              return %7
            else_branch = graph()
              return %2
          @ -
          %8: f32[3,3] = MatMul(%c0, %c0)
          return %6 as z, %1 as "where to", %8 as b""")


def test_clashing_names_are_told_apart():
    value = lambda: Value(parse_type("f32[]"), "x")  # noqa: E731
    a, b, c = value(), value(), Value(parse_type("f32[]"), "x~2")
    text = print_graph(Graph((a, b, c), (), (b,), 20))
    assert text == "graph(x: f32[], x~2: f32[], x~2~2: f32[]) opset=20\n  return x~2"
    assert same_graph(parse_graph(text), parse_graph(text))


def test_constants_may_be_supplied():
    text = "graph() opset=20\n  w: f32[2]   %c0: i64[9]\n  return w, %c0"
    absent = parse_graph(text)
    assert absent.outputs[0].data.shape == (2,)
    with pytest.raises(AbsentContent, match="'w'"):
        absent.outputs[0].data.array()
    given = parse_graph(text, {"w": [1, 2], "%c0": ArrayData(np.arange(9))})
    assert given.outputs[0].data.array().tolist() == [1.0, 2.0]
    assert given.outputs[0].data.dtype is dtypes.FLOAT32
    assert given.outputs[1].data.array().tolist() == list(range(9))
    with pytest.raises(ParseError, match=r"f32\[3\], not f32\[2\]"):
        parse_graph(text, {"w": [1, 2, 3]})


def test_no_content_of_a_named_constant_is_read():
    class Unreadable:
        dtype, shape, identity = dtypes.FLOAT32, (2,), "unreadable"

        def array(self):
            raise AssertionError

    constant = Value(TensorType(dtypes.FLOAT32, (2,)), "bias", Unreadable())
    assert print_graph(Graph((), (), (constant,), 20)) == "graph() opset=20\n  bias: f32[2]\n\n  return bias"


def test_equal_literals_are_one_value():
    graph = parse_graph(
        "graph(x: f32[]) opset=20\n  %0: f32[] = Add(x, f32(1.0))\n  %1: f32[] = Add(%0, f32(1.0))\n  return %1"
    )
    assert graph.nodes[0].inputs[1] is graph.nodes[1].inputs[1]


def test_shape_arithmetic_is_known_again():
    graph = parse_graph(
        "graph(x: f32[n,4])\n  %0: i64[2] = Shape(x)\n  %1: i64[1] = Slice(%0, i64[1](0), i64[1](1))\n  return %1"
    )
    assert graph.nodes[1].output.known == (symbol("n"),)


def test_the_newest_opset_is_the_default():
    assert parse_graph("graph()\n  return").opset >= 28


@pytest.mark.parametrize(("text", "message", "line", "column"), [
    ("", "expected 'graph('", 1, 0),
    ("graph(x: f32[n)\n  return x", "expected a type such as", 1, 9),
    ("graph(x: f33[n])\n  return x", "no type: f33[n]", 1, 15),
    ("graph(x: f32[n-])\n  return x", "no type: f32[n-]", 1, 16),
    ("graph(x: f32[])\n  return y", "no value in sight is called y", 2, 9),
    ("graph(x: f32[])\n  return _", "an output cannot be absent", 2, 10),
    ("graph(x: f32[], x: f32[])\n  return", "x is written twice", 1, 17),
    ("graph(x: f32[])\n  %0: f32[] = Neg(x)\n", "no `return`", 3, 0),
    ("graph(x: f32[])\n  %0: f32[] = Neg(x) {to=}\n  return", "expected a value", 2, 25),
    ("graph(x: f32[])\n  %0: f32[] = Neg(x) {to=a}\n  return", "no number: a", 2, 26),
    ("graph(x: f32[])\n  %0: f32[] = Neg(x y)\n  return", "expected ', ' or ')'", 2, 19),
    ("graph(x: f32[])\n  %0: f32[] = Neg(i64[3](1, 2))\n  return", "2 elements do not make", 2, 30),
    ("graph(x: f32[])\n  %0: f32[] = Neg(i64(1.5))\n  return", "no int64: 1.5", 2, 25),
    ("graph(x: f32[])\n  %0: f32[] = Neg(x) {to=\"a}\n  return", "not closed", 2, 25),
    ("graph(x: f32[])\n  w: f32[n]\n  return", "no static shape", 2, 11),
    ("graph(x: f32[])\n  return x x", "expected ', '", 2, 10),
    ("graph(x: f32[])\n  return x\n  return x", "expected the end of the text", 3, 2),
    ("graph() opset=new\n  return", "opset= takes a number", 1, 17),
])  # fmt: skip
def test_errors_point_at_the_place(text, message, line, column):
    with pytest.raises(ParseError, match=re.escape(message)) as info:
        parse_graph(text)
    head, shown, caret = str(info.value).split("\n")
    assert head.startswith(f"line {line}: ")
    assert (caret.index("^"), len(shown) >= column) == (column, True)


def test_notes_stand_below():
    graph = parse_graph("graph(x: f32[])\n  %0: f32[] = Neg(x)\n  return %0")
    text = print_graph(graph, notes={graph.nodes[0]: ["wrong", "really"], graph: ["also"]})
    assert text.splitlines()[1:] == ["  %0: f32[] = Neg(x)", "  ^^^ wrong", "  ^^^ really", "  return %0", "  ^^^ also"]


def test_work_is_linear():
    def calls(size):
        op = Builder(23)
        tensor = op.input(parse_type("f32[n,4]"), "x")
        for index in range(size):
            with op.at(Location(f"layers.{index}", "Layer", "model.py", index, op="aten.add.Tensor")):
                tensor = tensor + float(index)
        graph = op.finish([tensor])
        return work(lambda: parse_graph(print_graph(graph)))

    calls(100)
    assert calls(2000) < 5 * calls(500)  # four times the size; sixteen times the calls would be quadratic
