"""Functions of our own against ONNX's reference, and where that has gaps against hand-computed results."""

import ml_dtypes
import numpy as np
import pytest
from tests.ir.cases import CASES, Case

from fxonnx import dtypes
from fxonnx.ir import schema
from fxonnx.ir.evaluate import CannotEvaluate, evaluate_node
from fxonnx.ir.evaluate.direct import DIRECT
from fxonnx.ir.evaluate.gaps import GAPS
from fxonnx.ir.evaluate.reference import compute_by_reference
from fxonnx.ir.graph import Node, Value
from fxonnx.ir.types import TensorType

OWN = [case for case in CASES if case.op in {*DIRECT, *GAPS}]
BFLOAT16 = np.dtype("bfloat16")
# On half precision the reference computes in float32 and rounds once, numpy after each step.
LOOSE = {"float32": 1e-6, "float16": 4e-3, "bfloat16": 3e-2}


def compute(op, *inputs, **attributes):
    """The results of one call."""
    return evaluate_node(Case(op, tuple(inputs), attributes).node(), inputs)


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
        expected = compute_by_reference(case.node(), case.arrays())
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
        expected = compute_by_reference(case.node(), arrays)
    except CannotEvaluate as error:
        pytest.skip(str(error).split(":")[0])
    for left, right in zip(ours, expected, strict=True):
        assert left.dtype == (np.dtype(half) if right.dtype.name in LOOSE and case.op != "CastLike" else right.dtype)
        same(left.astype(right.dtype), right)


# ── gaps of the reference ────────────────────────────────────────────────────────────────────────────────────────────

ROWS = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
THIRDS = np.full(1000, 1 / 3, np.float32)
GAP_CALLS = {  # operator -> inputs, attributes, result
    "Mod": (
        (np.array([-0.0, 0.0, -4.0, 4.0, -5.0], np.float32), np.array([2, -2, 2, -2, 3], np.float32)),
        {},
        np.array([-0.0, 0.0, -0.0, 0.0, 1.0], np.float32),
    ),
    "AffineGrid": ([np.array([[[2.0, 0, 0], [0, 1, 0.5]]]), np.array([1, 1, 1, 2])], {},
                   np.array([[[[-1.0, 0.5], [1.0, 0.5]]]])),
    "Pow": ([np.array([1, 2]), np.array([-1, -1])], {}, np.array([1, 0])),
    "GatherElements": ([np.arange(6).reshape(2, 3), np.array([[1, 0]])], {"axis": 0}, np.array([[3, 1]])),
    "Pad": ([ROWS[0, 0], np.array([-1, 2])], {}, np.array([1, 2, 0, 0], np.float32)),
    "ReduceSumSquare": ([np.array([2, 3], np.int32)], {"keepdims": 0}, np.array(13, np.int32)),
    "CumSum": ([THIRDS, np.array(0)], {}, np.cumsum(THIRDS, dtype=np.float64).astype(np.float32)),
    "CumProd": ([1 + THIRDS / 50, np.array(-1)], {},
                np.cumprod(1 + THIRDS / 50, dtype=np.float64).astype(np.float32)),
    "LogSoftmax": ([np.array([[16220, 15440, -np.inf]], np.float32)], {}, np.array([[0, -780, -np.inf]], np.float32)),
    "ReduceLogSumExp": ([np.array([-np.inf, np.inf], np.float32)], {}, np.array([np.inf], np.float32)),
}


def same_signs(ours, theirs):
    """Whether zeros have the same sign, too."""
    return np.array_equal(np.signbit(ours), np.signbit(theirs))


POOLS = ("AveragePool", "LpPool", "MaxPool")  # nobody here knows them, of NaN


@pytest.mark.parametrize("op", [op for op in GAPS if op not in POOLS])
def test_gaps_of_the_reference(op):
    inputs, attributes, expected = GAP_CALLS[op]
    ours = compute(op, *inputs, **attributes)[0]
    same(ours, expected)
    assert same_signs(ours, expected)
    try:
        with np.errstate(all="ignore"):
            (theirs,) = compute_by_reference(Case(op, tuple(inputs), attributes).node(), inputs)
    except CannotEvaluate:
        return
    closed = theirs.dtype == expected.dtype and np.array_equal(theirs, expected) and same_signs(theirs, expected)
    assert not closed, f"no gap any longer: {GAPS[op].__doc__}"


@pytest.mark.parametrize("op", POOLS)
def test_pools_of_nan_are_not_folded(op):
    x = np.array([[[1, np.nan, 3, 4]]], np.float32)
    node = Case(op, (x,), {"kernel_shape": (2,), "strides": (2,)}).node()
    with pytest.raises(CannotEvaluate, match="NaN"):
        evaluate_node(node, [x])
    assert not np.isnan(compute_by_reference(node, [x])[0]).any(), "no gap any longer"
    assert evaluate_node(node, [np.nan_to_num(x)])[0].shape == (1, 1, 2)


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


def test_operators_nobody_knows():
    node = Node("com.microsoft::Gelu", (), (Value(TensorType(dtypes.FLOAT32, ())),))
    with pytest.raises(CannotEvaluate, match=r"com\.microsoft::Gelu"):
        evaluate_node(node, [])


def test_ml_dtypes_are_registered():
    assert np.dtype("bfloat16") == ml_dtypes.bfloat16


def test_numbers_that_the_reference_stumbles_over():
    """It mirrors at both ends of an axis of one element, 0 apart."""
    grid = np.full((1, 1, 1, 2), 1.5, np.float32)
    with pytest.raises(CannotEvaluate, match="GridSample"):
        compute("GridSample", np.ones((1, 1, 1, 1), np.float32), grid, padding_mode="reflection", align_corners=1)
