"""Functions of our own against ONNX's reference, and where that has gaps against hand-computed results."""

import ml_dtypes
import numpy as np
import pytest
from tests.ir.cases import CASES, Case

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.build import Builder
from fxonnx.ir.data import AbsentContent
from fxonnx.ir.evaluate import CannotEvaluate, evaluate, evaluate_node
from fxonnx.ir.evaluate.direct import DIRECT
from fxonnx.ir.evaluate.gaps import GAPS
from fxonnx.ir.evaluate.reference import compute_by_reference
from fxonnx.ir.graph import Node, Value
from fxonnx.ir.text import parse_graph
from fxonnx.ir.types import TensorType

OWN = [case for case in CASES if case.op in {*DIRECT, *GAPS}]
BFLOAT16 = np.dtype("bfloat16")
# On half precision the reference computes in float32 and rounds once, numpy after each step.
LOOSE = {"float32": 1e-6, "float16": 4e-3, "bfloat16": 3e-2}


def compute(op, *inputs, outputs=1, opset=schema.NEWEST, **attributes):
    """The results of one call."""
    return evaluate_node(Case(op, tuple(inputs), attributes, outputs).node(), inputs, opset)


def same(ours, theirs):
    """The same dtype, shape and, within rounding, elements."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    tolerance = LOOSE.get(ours.dtype.name, 0)
    if tolerance:
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    np.testing.assert_allclose(ours, theirs, tolerance, tolerance)


def test_every_entry_has_a_case():
    assert {case.op for case in OWN} == {*DIRECT, *GAPS}


@pytest.mark.parametrize("case", OWN, ids=str)
def test_as_the_reference(case):
    ours = evaluate_node(case.node(), case.arrays())
    try:
        expected = compute_by_reference(case.node(), case.arrays(), schema.NEWEST)
    except CannotEvaluate as error:
        pytest.skip(str(error).split(":")[0])
    for left, right in zip(ours, expected, strict=True):
        same(left, right)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [case for case in OWN if "f32[" in str(case)], ids=str)
def test_half_precision_stays_half(case, half):
    admitted = schema.facts(case.op).types[schema.facts(case.op).inputs[0].type]
    if dtypes.dtype(half) not in admitted or case.op in ("Range", "Cast"):
        pytest.skip(f"no {half}")
    arrays = [a.astype(half) if a is not None and a.dtype == np.float32 else a for a in case.arrays()]
    ours = evaluate_node(case.node(), arrays)
    try:
        expected = compute_by_reference(case.node(), arrays, schema.NEWEST)
    except CannotEvaluate as error:
        pytest.skip(str(error).split(":")[0])
    for left, right in zip(ours, expected, strict=True):
        assert left.dtype == (np.dtype(half) if right.dtype.name in LOOSE and case.op != "CastLike" else right.dtype)
        same(left.astype(right.dtype), right)


# ── gaps of the reference ────────────────────────────────────────────────────────────────────────────────────────────

ROWS = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
GAP_CALLS = {  # operator -> inputs, attributes, opset, result
    "Pow": ([np.array([1, 2]), np.array([-1, -1])], {}, 28, np.array([1, 0])),
    "GatherElements": ([np.arange(6).reshape(2, 3), np.array([[1, 0]])], {"axis": 0}, 28, np.array([[3, 1]])),
    "Pad": ([ROWS[0, 0], np.array([-1, 2])], {}, 28, np.array([1, 2, 0, 0], np.float32)),
    "ReduceSumSquare": ([np.array([2, 3], np.int32)], {"keepdims": 0}, 28, np.array(13, np.int32)),
    "ReduceLogSumExp": ([np.array([-np.inf, np.inf], np.float32)], {}, 28, np.array([np.inf], np.float32)),
    "Softmax": ([np.zeros((1, 2, 2), np.float32)], {"axis": 1}, 11, np.full((1, 2, 2), 0.25, np.float32)),
    "LogSoftmax": ([np.zeros((1, 2, 2), np.float32)], {}, 9, np.full((1, 2, 2), -np.log(4), np.float32)),
}


@pytest.mark.parametrize("op", GAPS)
def test_gaps_of_the_reference(op):
    inputs, attributes, opset, expected = GAP_CALLS[op]
    same(compute(op, *inputs, opset=opset, **attributes)[0], expected)
    try:
        with np.errstate(invalid="ignore"):
            (theirs,) = compute_by_reference(Case(op, tuple(inputs), attributes).node(), inputs, opset)
    except CannotEvaluate:
        return
    closed = theirs.dtype == expected.dtype and np.array_equal(theirs, expected)
    assert not closed, f"the reference does it now: {GAPS[op].reason} no longer"


# ── exact meanings ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_integer_division_rounds_towards_zero():
    x, y = np.array([7, -7, 7, -7, 6, -6], np.int32), np.array([2, 2, -2, -2, 3, 3], np.int32)
    assert compute("Div", x, y)[0].tolist() == [3, -3, -3, 3, 2, -2]
    assert compute("Div", np.array([-(2**63)]), np.array([1]))[0].tolist() == [-(2**63)]
    assert compute("Mod", x, y)[0].tolist() == [1, 1, -1, -1, 0, 0]
    assert compute("Mod", x, y, fmod=1)[0].tolist() == [1, -1, 1, -1, 0, 0]


def test_power_keeps_the_base():
    assert compute("Pow", np.array([2], np.int32), np.array([0.5], np.float32))[0].dtype == np.int32
    assert compute("Pow", np.array([2], np.int32), np.array([-1], np.int32))[0].tolist() == [0]
    assert compute("Pow", np.array([2], BFLOAT16), np.array([3]))[0].tolist() == [8]


def test_round_goes_to_even():
    assert compute("Round", np.array([0.5, 1.5, 2.5, -0.5], np.float32))[0].tolist() == [0, 2, 2, 0]


def test_cast_saturates_float8():
    x = np.array([1e9, -np.inf, 1.5], np.float32)
    code = dtypes.FLOAT8E4M3FN.code
    assert compute("Cast", x, to=code)[0].astype(np.float32).tolist() == [448, -448, 1.5]
    assert np.isnan(compute("Cast", x, to=code, saturate=0)[0].astype(np.float32)).tolist() == [True, True, False]


def test_cast_wraps_and_truncates_integers():
    assert compute("Cast", np.array([300, -1]), to=dtypes.UINT8.code)[0].tolist() == [44, 255]
    assert compute("Cast", np.array([1.9, -1.9], np.float32), to=dtypes.INT64.code)[0].tolist() == [1, -1]
    assert compute("Cast", np.array([0.0, np.nan], np.float32), to=dtypes.BOOL.code)[0].tolist() == [False, True]
    assert compute("Cast", np.array(["1.5"], object), to=dtypes.FLOAT32.code)[0].tolist() == [1.5]


def test_half_precision_is_rounded_after_each_step():
    x = np.array([1, 256], BFLOAT16)
    assert compute("Add", x, np.array(1, BFLOAT16))[0].tolist() == [2, 256]
    assert compute("ReduceSum", np.array([60000, 60000], np.float16), keepdims=0)[0] == np.inf


def test_reductions_of_nothing():
    nothing = np.zeros((2, 0), np.float32)
    assert compute("ReduceMax", nothing, np.array([1]), keepdims=0)[0].tolist() == [-np.inf, -np.inf]
    assert compute("ReduceMin", nothing.astype(np.int32), np.array([1]), keepdims=0)[0].tolist() == [2**31 - 1] * 2
    assert compute("ReduceProd", nothing, np.array([1]), keepdims=0)[0].tolist() == [1, 1]
    assert compute("Softmax", nothing)[0].shape == (2, 0)


def test_log_sum_exp_of_infinities():
    x = np.array([[-np.inf, -np.inf], [np.inf, 0], [1000, 1000]], np.float32)
    (result,) = compute("ReduceLogSumExp", x, np.array([1]), keepdims=0)
    assert result.tolist() == pytest.approx([-np.inf, np.inf, 1000.6931])


def test_gather_elements_where_the_reference_has_a_gap():
    x = np.arange(6).reshape(2, 3)
    assert compute("GatherElements", x, np.array([[2], [-1]]), axis=1)[0].tolist() == [[2], [5]]
    assert compute("GatherElements", x, np.array([[1, 0]]), axis=0)[0].tolist() == [[3, 1]]


def test_older_opsets_have_attributes_for_inputs():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert compute("Squeeze", x, axes=(0,), opset=11)[0].shape == (2, 3)
    assert compute("Unsqueeze", x, axes=(0, -1), opset=11)[0].shape == (1, 1, 2, 3, 1)
    assert compute("ReduceMean", x, axes=(-1,), keepdims=0, opset=13)[0].tolist() == [[1, 4]]
    assert compute("Slice", x, starts=(1,), ends=(2,), axes=(2,), opset=9)[0].tolist() == [[[1], [4]]]
    assert compute("Clip", x, min=1.0, max=3.0, opset=6)[0].ravel().tolist() == [1, 1, 2, 3, 3, 3]
    assert compute("Pad", x[0, 0], np.array([-1, 2]))[0].tolist() == [1, 2, 0, 0]
    assert compute("Pad", np.ones(1, np.float32), pads=(1, 0), value=5.0, opset=2)[0].tolist() == [5, 1]
    assert [a.tolist() for a in compute("Split", x[0, 0], split=(1, 2), outputs=2, opset=11)] == [[0], [1, 2]]
    assert compute("Softmax", x, axis=1, opset=11)[0].sum() == pytest.approx(1)


def test_operators_nobody_knows():
    node = Node("com.microsoft::Gelu", (), (Value(TensorType(dtypes.FLOAT32, ())),))
    with pytest.raises(CannotEvaluate, match=r"com\.microsoft::Gelu"):
        evaluate_node(node, [])


# ── graphs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_graph():
    graph = parse_graph(
        """graph(x: f32[n,2], y: f32[2])
  w: f32[2,2]

  %0: f32[n,2] = MatMul(x, w)
  %1: f32[n,2] = Add(%0, y)
  %2: f32[n,1], %3: i64[n,1] = TopK(%1, i64[1](1))
  return %1, %3, x, w
""",
        {"w": [[1, 2], [3, 4]]},
    )
    x, y = np.ones((3, 2), np.float32), np.array([10, 0], np.float32)
    by_order, by_name = evaluate(graph, [x, y]), evaluate(graph, {"y": y, "x": x})
    assert by_order[0].tolist() == [[14, 6]] * 3
    assert by_order[1].tolist() == [[0]] * 3
    assert by_order[2] is x
    assert all((a == b).all() for a, b in zip(by_order, by_name, strict=True))


def test_absent_contents_are_named():
    graph = parse_graph("graph(x: f32[2])\n  layer.w: f32[2]\n  %0: f32[2] = Add(x, layer.w)\n  return %0")
    with pytest.raises(AbsentContent, match=r"layer\.w"):
        evaluate(graph, [np.ones(2, np.float32)])


def test_if_reads_what_is_around_it():
    graph = parse_graph("""graph(x: f32[2], c: b8[])
  %0: f32[2] = Exp(x)
  %1: f32[2] = If(c)
    then_branch = graph()
      %2: f32[2] = Neg(%0)
      return %2
    else_branch = graph()
      return x
  return %1
""")
    x = np.zeros(2, np.float32)
    assert evaluate(graph, [x, np.array(True)])[0].tolist() == [-1, -1]
    assert evaluate(graph, [x, np.array(False)])[0].tolist() == [0, 0]


LOOP = """graph(trips: i64[], going: b8[], x: i64[])
  %0: i64[], %1: i64[k] = Loop(trips, going, x)
    body = graph(i: i64[], c: b8[], v: i64[])
      %2: i64[] = Add(v, i)
      %3: b8[] = Less(%2, i64(5))
      return %3, %2, i
  return %0, %1
"""


@pytest.mark.parametrize(("trips", "going", "last", "scanned"), [
    (2, True, 1, [0, 1]), (9, True, 6, [0, 1, 2, 3]), (0, True, 0, []), (9, False, 0, []),
])  # fmt: skip
def test_loop(trips, going, last, scanned):
    results = evaluate(parse_graph(LOOP), [np.array(trips), np.array(going), np.array(0)])
    assert [each.tolist() for each in results] == [last, scanned]
    assert results[1].dtype == np.int64


def test_scan():
    graph = parse_graph("""graph(x: i64[3,2], y: i64[2,3])
  %0: i64[2], %1: i64[2,3] = Scan(i64[2](0, 0), x, y) {num_scan_inputs=2, scan_input_axes=[0, 1], scan_input_directions=[0, 1], scan_output_axes=[1], scan_output_directions=[1]}
    body = graph(s: i64[2], a: i64[2], b: i64[2])
      %2: i64[2] = Add(s, a)
      %3: i64[2] = Mul(a, b)
      return %2, %3
  return %0, %1
""")  # noqa: E501
    x, y = np.arange(6).reshape(3, 2), np.arange(6).reshape(2, 3)
    state, scanned = evaluate(graph, [x, y])
    assert state.tolist() == x.sum(0).tolist()
    assert scanned.tolist() == (x.T * y[:, ::-1])[:, ::-1].tolist()


def test_deep_graphs_need_no_recursion():
    op = Builder()
    tensor = op.input(TensorType(dtypes.INT64, ()), "x")
    for _ in range(3000):
        tensor = tensor + 1
    assert evaluate(op.finish([tensor]), [np.array(0)])[0] == 3000


def test_ml_dtypes_are_registered():
    assert np.dtype("bfloat16") == ml_dtypes.bfloat16
