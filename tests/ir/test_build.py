"""The recording opset: what is recorded, what is refused, and that both ways of running a body agree."""

import re

import numpy as np
import onnx
import onnxscript
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ir.graphs import evaluate
from tests.ir.test_dims import EXPRESSIONS

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.build import Builder, InvalidCall, Tensor
from fxonnx.ir.calls import SymbolicAttribute
from fxonnx.ir.data import ArrayData, array_of
from fxonnx.ir.dims import evaluate as size_of
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Substitution, constant_ints
from fxonnx.ir.tensor import Number
from fxonnx.ir.text import print_graph
from fxonnx.ir.types import parse_type
from fxonnx.ir.verify import verify
from fxonnx.location import Location

n, m = symbol("n"), symbol("m")


@pytest.fixture
def op():
    return Builder()


@pytest.fixture
def x(op):
    return op.input(parse_type("f32[n,4]"), "x")


@pytest.mark.parametrize("group", [n, 2 * n + 1])
def test_an_attribute_is_a_number_that_is_known(op, x, group):
    with pytest.raises(SymbolicAttribute, match=re.escape(f"'group' fixed, and here it is {group}")):
        op.Conv(x, x, group=group)
    with pytest.raises(SymbolicAttribute, match=re.escape(f"[0, {n}]")):
        op.Conv(x, x, pads=[0, n])
    with pytest.raises(SymbolicAttribute):
        op.LeakyRelu(x, alpha=Number(op, op.input(parse_type("f64[]"), "number").value))


def test_a_number_takes_the_dtype_of_the_tensor_beside_it(op, x):
    number = Number(op, op.input(parse_type("f64[]"), "number").value)
    rest = 1 - number
    assert isinstance(rest, Number) and rest.dtype is dtypes.FLOAT64, "nothing but numbers"
    assert type(x * rest) is Tensor and (x * rest).dtype is dtypes.FLOAT32
    assert op.Where(x > number, x, number).dtype is dtypes.FLOAT32
    assert type(op.Cast(number, to=dtypes.INT64)) is Tensor


def lines(op, *outputs):
    """The body of the recorded graph as text."""
    return [line.strip() for line in print_graph(op.finish(outputs)).splitlines()[1:-1]]


def test_a_body_runs_both_ways(op, x):
    def body(op, x):
        return op.Relu(x) * 2.0 - op.ReduceMean(x, [-1], keepdims=1)

    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    graph = op.finish([body(op, x)])
    verify(graph)
    eager = body(onnxscript.opset23, onnxscript.tensor.Tensor(array)).value
    np.testing.assert_allclose(evaluate(graph, [array])[0], eager, 1e-6)


def test_operators_of_python(op, x):
    i, b = op.input(parse_type("i64[n]"), "i"), op.input(parse_type("b8[n]"), "b")
    results = [x + 1, 1 + x, x - 1, 1 - x, x * 2, 2 * x, x / 2, 2 / x, -x, x**2, x @ np.ones((4, 2), np.float32), i % 2,
               ~b, ~i, b & b, b | b, x < 1, x <= 1, x > 1, x >= 1]  # fmt: skip
    assert [node.op for node in op.nodes] == [
        "Add", "Add", "Sub", "Sub", "Mul", "Mul", "Div", "Div", "Neg", "Pow", "MatMul", "Mod",
        "Not", "BitwiseNot", "And", "Or", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
    ]  # fmt: skip
    assert all(isinstance(each, Tensor) for each in results)
    assert op.nodes[3].inputs[1] is x.value


def test_numbers_take_the_dtype_beside_them(op):
    half = op.input(parse_type("f16[2]"), "h")
    assert (half + 1).dtype is dtypes.FLOAT16
    assert op.Where(np.array([True, False]), 0, half).dtype is dtypes.FLOAT16
    assert op.Reshape(half, [2, 1]).shape == (2, 1)
    assert op.nodes[-1].inputs[1].dtype is dtypes.INT64
    assert op.Cast(half, to=dtypes.INT8).dtype is dtypes.INT8
    assert op.nodes[-1].attributes == {"to": dtypes.INT8.code}


def test_constants_are_shared(op):
    assert op.constant([1, 2]).value is op.constant(np.array([1, 2])).value
    assert op.constant(1).value is not op.constant(1.0).value
    assert op.constant(1).value is op.nested().constant(1).value
    assert op.constant([1], name="a").value is not op.constant([1], name="b").value
    large = ArrayData(np.zeros(1000))
    assert op.constant(large).value is op.constant(large).value


def test_constants_of_onnxscript(op):
    assert constant_ints(op.Constant(value_ints=[1, 2]).value) == (1, 2)
    assert op.Constant(value_float=0.5).dtype is dtypes.FLOAT32
    assert op.Constant(value=onnx.helper.make_tensor("", onnx.TensorProto.INT32, [1], [7])).dtype is dtypes.INT32
    filled = op.ConstantOfShape([2], value=onnx.helper.make_tensor("", onnx.TensorProto.INT32, [1], [7]))
    assert filled.dtype is dtypes.INT32
    assert isinstance(op.nodes[-1].attributes["value"], np.ndarray)


def test_attributes_are_of_their_kind(op, x):
    op.Softmax(x, axis=np.int64(1))
    op.LeakyRelu(x, alpha=1)
    op.Transpose(x, perm=[1, 0])
    op.ReduceSum(x, [0], keepdims=False)
    op.Gelu(x, approximate=None)
    kinds = [dict(node.attributes) for node in op.nodes]
    assert kinds == [{"axis": 1}, {"alpha": 1.0}, {"perm": (1, 0)}, {"keepdims": 0}, {}]
    assert type(kinds[0]["axis"]) is int
    assert type(kinds[1]["alpha"]) is float


@pytest.mark.parametrize(("call", "message"), [
    (lambda op, x: op.Foo(x), "has no operator Foo"),
    (lambda op, x: op.call("my.domain::Foo", [x], {}), "op.custom"),
    (lambda op, x: op.Relu(x, x), "takes 1 inputs, not 2"),
    (lambda op, x: op.Clip(None, x), "needs its input 'input'"),
    (lambda op, x: op.Add(x), "needs its input 'B'"),
    (lambda op, x: op.Relu(x, alpha=1), "no attribute 'alpha'"),
    (lambda op, x: op.Concat(x), "needs its attribute 'axis'"),
    (lambda op, x: x + np.ones(4), "mixes f32 and f64|mixes f64 and f32"),
    (lambda op, x: x + op.Cast(x, to=dtypes.INT32), "mixes f32 and i32"),
    (lambda op, x: x + np.ones(3, np.float32), "sizes 4 and 3 do not broadcast"),
    (lambda op, x: op.size(symbol("unheard_of")), "no value in this graph has the size 'unheard_of'"),
])  # fmt: skip
def test_what_is_refused(op, x, call, message):
    with pytest.raises(InvalidCall, match=message):
        call(op, x)


def test_absent_inputs(op, x):
    op.Clip(x, None, 1.0)
    assert op.nodes[-1].inputs[1] is None
    op.Clip(x, None, None)
    assert op.nodes[-1].inputs == (x.value,)


def test_several_outputs(op, x):
    values, positions = op.TopK(x, [2])
    assert (values.dtype, positions.dtype) == (dtypes.FLOAT32, dtypes.INT64)
    assert len(op.Split(x, num_outputs=2, axis=1)) == 2
    assert isinstance(op.MaxPool(op.Unsqueeze(x, [0]), kernel_shape=[2]), Tensor)
    assert len(op.MaxPool(op.Unsqueeze(x, [0]), kernel_shape=[2], _outputs=2)) == 2


def test_other_domains_need_types(op, x):
    with pytest.raises(InvalidCall):
        op.call("com.microsoft::Gelu", [x], {})
    (y,) = op.call("com.microsoft::Gelu", [x], {}, types=[x.type])
    assert y.type == x.type


def test_locations(op, x):
    place = Location("head", "Linear")
    with op.at(place):
        x + 1
        op.nested().Relu(x)
    x + 2
    assert [node.location for node in op.nodes] == [place, Location()]


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sizes_are_materialized_once(op, x):
    op.sizes([n, 2 * n, 4])
    op.sizes([2 * n])
    assert [node.op for node in op.nodes] == ["Shape", "Mul", "Concat"]
    assert op.sizes([2, 3]).value.is_constant
    assert op.Reshape(x, [n, 2, 2]).shape == (n, 2, 2)


def test_sizes_are_known(op, x):
    assert op.sizes([n // 2, 3]).value.known == (n // 2, 3)
    assert op.size(n + 1).value.known == (n + 1,)
    assert op.size(n + 1).shape == ()


def test_a_list_of_sizes_is_an_input(op, x):
    results = [op.Reshape(x, [n, 2, 2]), op.Expand(1.0, (2, n)), op.Range(0, n, 1), op.ConstantOfShape([])]
    assert [each.shape for each in results] == [(n, 2, 2), (2, n), (n,), ()]
    assert lines(op, *results)[:2] == [
        "%0: i64[1] = Shape(x) {start=0, end=1}",
        "%1: i64[3] = Concat(%0, i64[2](2, 2)) {axis=0}",
    ]
    assert op.nodes[-1].inputs[0].data.array().dtype == np.int64


def test_a_size_can_come_from_a_value(op, x):
    op.define_size("u0", op.ReduceMax(op.Cast(x, to=dtypes.INT64), keepdims=0))
    assert op.Expand(op.constant([1.0]), [symbol("u0")]).shape == (symbol("u0"),)


@settings(deadline=None)
@given(EXPRESSIONS, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)))
def test_any_dim_can_be_materialized(pair, sizes):
    op = Builder()
    op.input(parse_type("f32[n,m,k]"), "x")
    graph = op.finish([op.size(pair.dim)])
    (result,) = evaluate(graph, [np.zeros(sizes, np.float32)])
    assert result == size_of(pair.dim, dict(zip("nmk", sizes, strict=True)))


def test_refine_says_more_about_a_value(op, x):
    rows = op.NonZero(x)
    assert rows.shape[1].name.startswith("_")
    op.refine(rows, parse_type("i64[2,u1]"))
    assert rows.shape == (2, symbol("u1"))
    assert op.size(symbol("u1")).value.known == (symbol("u1"),)


# ── the rooms below ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_arrays_of_numbers():
    assert array_of(1).dtype == np.int64
    assert array_of([0.5]).dtype == np.float32
    assert array_of(True).dtype == bool
    assert array_of([]).dtype == np.int64
    assert array_of(np.float16(1)).dtype == np.float16
    assert array_of(np.ones(1)).dtype == np.float64
    assert array_of([1], dtypes.BFLOAT16).dtype == np.dtype("bfloat16")


def test_identity_of_contents():
    def identity(array):
        return ArrayData(array).identity

    assert identity(np.arange(3)) == identity(np.arange(3))
    assert identity(np.arange(3)) != identity(np.arange(3, dtype=np.int32))
    assert identity(np.arange(4)) != identity(np.arange(4).reshape(2, 2))
    assert identity(np.arange(999)) != identity(np.arange(999))
    assert identity(np.array(["a", "b"], object)) == identity(np.array(["a", "".join("b")], object))


def test_facts():
    gemm = schema.facts("Gemm")
    assert [parameter.name for parameter in gemm.inputs] == ["A", "B", "C"]
    assert gemm.inputs[2].optional
    assert gemm.attributes["alpha"].default == 1.0
    assert dtypes.BFLOAT16 in gemm.types["T"]
    assert schema.facts("Gelu", 19) is None
    assert schema.facts("com.microsoft::Gelu") is None
    assert schema.facts("Concat").input(7).name == "inputs"
    assert schema.versions("Gelu") == (20,)
    assert schema.versions("NoSuchOperator") == ()
    assert not schema.facts("RandomNormal").deterministic


def test_substitution_reaches_subgraphs(op, x):
    y, z = op.Relu(x), op.Neg(x)
    branch = op.nested()
    graph = branch.finish([branch.Exp(branch.use(y.value))])
    (result,) = op.call("If", [op.constant(True)], {"then_branch": graph, "else_branch": graph}, types=[y.type])
    replaced = Substitution()
    replaced[y.value] = z.value
    node = replaced.node(op.nodes[-1])
    assert node.reads[1:] == (z.value, z.value)
    assert node.outputs == (result.value,)
    assert replaced.node(op.nodes[0]) is op.nodes[0]


def test_sizes_of_sizes_are_made_where_they_are_asked_for():
    """A size that is known around a branch is read there, and what is made of it is the branch's."""
    op = Builder()
    x = op.input(parse_type("f32[n,m]"), "x")
    op.sizes(x.shape)
    before, inner = len(op.nodes), op.nested()
    inner.sizes([x.shape[0] * x.shape[1] + 2])
    assert len(op.nodes) == before
    assert [node.op for node in inner.nodes] == ["Mul", "Add"]
