"""Each form that the runtime misreads is wrong as it stands, in a bare session, and right as it is written instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fxonnx import dtypes
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import symbol
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.legalize.inputs_to_attributes import inputs_to_attributes
from fxonnx.passes.legalize.respell import MISREAD
from fxonnx.runtime.failures import runtime_errors
from fxonnx.target import Target

TARGET = Target.onnx(21)

WEIGHT = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6) ** 3  # small ones beside large ones

FORMS: dict[str, tuple[str, Callable[..., Any], list[tuple[int, ...]]]] = {
    # name: (the optimizer, what is recorded of inputs, their shapes)
    "a transposed matrix times a vector": (
        "MatmulTransposeFusion",
        lambda op, x, v: op.MatMul(op.Transpose(x, perm=[1, 0]), v),
        [(3, 4), (3,)],
    ),
    "a batch of them, scaled": (
        "MatmulTransposeFusion",
        lambda op, x, v: op.MatMul(op.Transpose(x, perm=[0, 2, 1]) * 2.0, v),
        [(2, 3, 4), (3,)],
    ),
    "rows backwards": (
        "GatherToSliceFusion",
        lambda op, x: op.Gather(x, op.Range(op.size(x.shape[0]) - 1, np.array(-1), np.array(-1)), axis=0),
        [(5, 2)],
    ),
    "columns counted from the back": (
        "GatherToSliceFusion",
        lambda op, x: op.Gather(x, op.Range(np.array(-2), op.size(x.shape[0]) - 4, np.array(1)), axis=1),
        [(5, 3)],
    ),
    "what one size leaves of 1": (
        "DivMulFusion",
        lambda op, x: op.Cast(op.Div(np.array([1]), op.Shape(x)) * op.Shape(x), to=dtypes.FLOAT32),
        [(2, 3)],
    ),
    "one row made none": (
        "ExpandElimination",
        lambda op, x: op.Expand(op.Reshape(x, [1, 0], allowzero=1), [0, 1]) * 2.0,
        [(0,)],
    ),
    "one row and one column made none": (
        "ExpandElimination",
        lambda op, x: op.Expand(op.Reshape(x, [1, 1]), [0, 0]) * 2.0,
        [(1,)],
    ),
    "rows divided by nothing, times a matrix": (
        "MatMulScaleFusion",
        lambda op, x, y: op.MatMul(op.Div(x, np.array(-0.0, np.float32)), y),
        [(2, 3), (3, 2)],
    ),
    "rows times infinity, times a matrix": (
        "MatMulScaleFusion",
        lambda op, x, y: op.MatMul(op.Mul(np.array(np.inf, np.float32), x), y),
        [(2, 3), (3, 2)],
    ),
    "an axis padded after a transpose": (
        "TransposeOptimizer",
        lambda op, x: op.Transpose(op.Pad(op.Transpose(x, perm=[1, 0, 2]), [1, 2], None, [1]), perm=[1, 0, 2]),
        [(2, 3, 4)],
    ),
    "nothing, seen beside a size that is computed": (
        "ReshapeFusion",
        lambda op, x: op.Reshape(op.Slice(x, [0], [0], [0]), op.sizes([0, 2, x.shape[1] * 2])),
        [(3, 4)],
    ),
    "a layer with a weight in floats between steps": (
        "WeightBiasQuantization",
        lambda op, x: on_steps(op, op.Gemm(on_steps(op, x), WEIGHT, np.ones(6, np.float32))),
        [(5, 4)],
    ),
    "a convolution, scaled": (
        "WeightBiasQuantization",
        lambda op, x: on_steps(op, op.Relu(op.Conv(on_steps(op, x), WEIGHT.T[:, :, None, None]) * 2.0)),
        [(2, 4, 3, 3)],
    ),
}


def on_steps(op: Builder, x: Any) -> Any:
    """A value on 256 steps."""
    steps = np.array(0.05, np.float32), np.array(128, np.uint8)
    return op.DequantizeLinear(op.QuantizeLinear(x, *steps), *steps)


def recorded(body: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Graph:
    """The form as it stands, of inputs with sizes that nobody knows."""
    op = Builder()
    types = [TensorType(dtypes.FLOAT32, tuple(symbol(f"s{size}") for size in shape)) for shape in shapes]
    inputs = [op.input(each, f"x{index}") for index, each in enumerate(types)]
    return op.finish([body(op, *inputs)], ["y"])


def run(graph: Graph, arrays: list[np.ndarray], *, optimize: bool = True) -> np.ndarray:
    """What a bare session computes."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    model = inline_model(emit(graph)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{index}": array for index, array in enumerate(arrays)})[0]


def is_right(graph: Graph, arrays: list[np.ndarray], right: np.ndarray) -> bool:
    """Whether a session with all optimizers computes the right values."""
    try:
        found = run(graph, arrays)
    except runtime_errors():  # some mistakes end so
        return False
    return found.shape == right.shape and np.allclose(found, right, equal_nan=True)


@pytest.mark.parametrize("name", FORMS)
def test_form(name: str) -> None:
    optimizer, body, shapes = FORMS[name]
    arrays = [np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in shapes]
    as_it_stands = inputs_to_attributes(recorded(body, shapes), TARGET)
    right = run(as_it_stands, arrays, optimize=False)
    assert not is_right(as_it_stands, arrays, right), f"{optimizer} is mended: take the form from the table"
    np.testing.assert_allclose(run(LEGALIZE(recorded(body, shapes), TARGET), arrays), right, rtol=1e-6)


def test_every_misread_form_is_shown() -> None:
    of_kernels = {""}  # shown in test_integer_reductions.py
    assert {each.optimizer for each in MISREAD} - of_kernels == {optimizer for optimizer, _, _ in FORMS.values()}


def read_in_a_body(op: Builder, x: Any) -> Any:
    """What both bodies of an If compute of a value outside of them."""
    up, down = op.nested(), op.nested()
    bodies = {
        "then_branch": up.finish([up.Abs(x)], ["then"]),
        "else_branch": down.finish([down.Neg(x)], ["else"]),
    }
    (result,) = op.call("If", [op.Equal(op.size(x.shape[0]), np.array(2))], bodies, 1, [x.type])
    return result


@pytest.mark.parametrize(("dtype", "wide"), [(dtypes.FLOAT32, dtypes.FLOAT64), (dtypes.INT32, dtypes.INT64)])
@pytest.mark.parametrize("is_read_too", [False, True])
def test_what_is_cast_there_and_back_and_read_in_a_body(
    dtype: dtypes.DType, wide: dtypes.DType, is_read_too: bool
) -> None:
    """RemoveDuplicateCastTransformer, which no level of optimization switches off: `casts_there_and_back`. As it stands
    the body reads memory that is nobody's, which is not tried out here."""
    op = Builder()
    x = op.input(TensorType(dtype, (symbol("n"), 3)), "x0")
    there = op.Cast(x, to=wide)
    outputs = [read_in_a_body(op, op.Cast(there, to=dtype)), *[there] * is_read_too]
    graph = op.finish(outputs, ["y", "wide"][: len(outputs)])
    values = np.arange(6).reshape(2, 3).astype(dtype.numpy)
    legal = LEGALIZE(graph, TARGET)
    assert sum(node.op == "Cast" for node in legal.all_nodes()) == is_read_too
    np.testing.assert_array_equal(run(legal, [values]), np.abs(values))


def test_a_dtype_that_an_opset_refuses_becomes_a_signed_one_where_no_kernels_are_known() -> None:
    """No runtime has the unsigned ones of ReduceMax-1."""
    op = Builder()
    x = op.input(TensorType(dtypes.UINT8, (2, 3)), "x0")
    graph = op.finish([op.ReduceMax(x, [1], keepdims=0)], ["y"])
    legal = LEGALIZE(graph, Target.onnx(9))
    values = np.array([[1, 200, 3], [0, 0, 255]], np.uint8)
    assert any(node.op == "ReduceMax" and node.output.dtype is dtypes.INT32 for node in legal.nodes)
    assert np.array_equal(run(legal, [values]), [200, 255])
