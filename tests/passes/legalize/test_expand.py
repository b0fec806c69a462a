"""Every expansion computes what its operator computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.passes.legalize.test_double import ELEMENTWISE, WINDOWS

from fxonnx import dtypes
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir.build import Builder
from fxonnx.ir.dims import floor_divide, symbol
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.legalize.registry import EXPANSIONS, FORMS, load
from fxonnx.target import Target

N = symbol("n")
F32 = dtypes.FLOAT32


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def record(body: Callable[..., Any], *shapes: tuple[Any, ...], dtype: dtypes.DType = F32) -> Graph:
    op = Builder()
    inputs = [op.input(TensorType(dtype, shape), f"x{index}") for index, shape in enumerate(shapes)]
    result = body(op, *inputs)
    results = result if isinstance(result, tuple) else (result,)
    return op.finish(results, [f"y{index}" for index in range(len(results))])


def run(graph: Graph, opset: int, arrays: list[np.ndarray], target: Target | None = None) -> list[np.ndarray]:
    legal = LEGALIZE(graph, target or Target.onnx(opset))
    model = inline_model(emit(legal))
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{index}": array for index, array in enumerate(arrays)})


def causal(op: Any, q: Any, k: Any, v: Any) -> Any:
    return op.Attention(q, k, v, is_causal=1)


def grouped(op: Any, q: Any, k: Any, v: Any) -> Any:
    return op.Attention(q, k, v, scale=0.3)


def flat(op: Any, q: Any, k: Any, v: Any) -> Any:
    return op.Attention(q, k, v, q_num_heads=4, kv_num_heads=2)


def masked(op: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
    return op.Attention(q, k, v, op.Greater(mask, 0.0))


def blind(op: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
    return op.Attention(q, k, v, op.Less(op.Abs(mask), 0.2))


def padded(mode: str) -> Callable[..., Any]:
    """A Pad by a number that is known when the model runs."""
    return lambda op, x: op.Pad(x, (1, 0, x.shape[0] - 2, 2), 0.5 if mode == "constant" else None, mode=mode)


def integers(op: Any, x: Any) -> Any:
    return op.Cast(x * 10.0, to=dtypes.INT64)


def resized(**attributes: Any) -> Callable[..., Any]:
    """A Resize to sizes, of which one is known when the model runs."""
    return lambda op, x: op.Resize(x, None, None, (x.shape[0], 3, x.shape[2] * 2, 3), **attributes)


def sampled(op: Any, x: Any, grid: Any, **attributes: Any) -> Any:
    """Points of which some lie outside."""
    return op.GridSample(x, grid * 1.5, **attributes)


WIDE = np.array([2**62 + 1, -(2**63), 2**62, 5, 2**63 - 1, 5, -(2**63) + 1])  # some alike in float64
SPECIAL = np.array([-np.inf, -2.5, -1.5, -0.5, -0.2, 0.0, 0.5, 1.5, 2.5, 2.6, np.inf, np.nan], np.float32)
QKV = [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)]


def of_bits(op: Any, x: Any, y: Any, *, operator: str, dtype: Any) -> Any:
    """Of integers of either sign that fill the dtype."""
    scale = 2.0 ** (dtype.bits - 4)
    numbers = (x, y) if dtype.is_signed else (op.Abs(x), op.Abs(y))
    return op.Cast(getattr(op, operator)(*(op.Cast(each * scale, to=dtype) for each in numbers)), to=dtypes.INT64)


CASES: dict[str, tuple[Callable[..., Any], list[tuple[Any, ...]], list[tuple[int, ...]], int]] = {
    # name: (body, recorded shapes, actual shapes, opset in which the operator stands whole)
    "Reshape": (lambda op, x: op.Reshape(x, [x.shape[1] * 4, x.shape[0]], allowzero=1), [(N, symbol("m"), 4)],
                [(3, 5, 4)], 14),
    "Gelu-exact": (lambda op, x: op.Gelu(x), [(N, 4)], [(3, 4)], 20),
    "Gelu-tanh": (lambda op, x: op.Gelu(x, approximate="tanh"), [(N, 4)], [(3, 4)], 20),
    "HardSwish": (lambda op, x: op.HardSwish(x), [(N, 4)], [(3, 4)], 14),
    "Mish": (lambda op, x: op.Mish(x * 8.0), [(N, 4)], [(3, 4)], 18),
    "Swish": (lambda op, x: op.Swish(x, alpha=1.5), [(N, 4)], [(3, 4)], 24),
    "LayerNormalization": (
        lambda op, x, s, b: op.LayerNormalization(x, s, b, axis=-2),
        [(N, 4, 6), (4, 6), (4, 6)],
        [(3, 4, 6), (4, 6), (4, 6)],
        17,
    ),
    "RMSNormalization": (lambda op, x, s: op.RMSNormalization(x, s, axis=-1), [(N, 4, 6), (6,)], [(3, 4, 6), (6,)], 23),
    "GroupNormalization": (
        lambda op, x, s, b: op.GroupNormalization(x, s, b, num_groups=2),
        [(N, 6, 5, 5), (6,), (6,)],
        [(2, 6, 5, 5), (6,), (6,)],
        21,
    ),
    "Attention-causal": (causal, QKV, QKV, 23),
    "Attention-grouped": (
        grouped,
        [(N, 4, 5, 8), (N, 2, 7, 8), (N, 2, 7, 6)],
        [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)],
        23,
    ),
    "Attention-flat": (flat, [(N, 5, 32), (N, 7, 16), (N, 7, 16)], [(2, 5, 32), (2, 7, 16), (2, 7, 16)], 23),
    "Attention-bool-mask": (masked, [*QKV, (5, 7)], [*QKV, (5, 7)], 23),
    "Attention-blind-rows": (blind, [*QKV, (5, 7)], [*QKV, (5, 7)], 23),
    "RotaryEmbedding": (
        lambda op, x, c, s: op.RotaryEmbedding(x, c, s),
        [(N, 4, 5, 8), (N, 5, 4), (N, 5, 4)],
        [(2, 4, 5, 8), (2, 5, 4), (2, 5, 4)],
        23,
    ),
    "RotaryEmbedding-interleaved": (
        lambda op, x, c, s: op.RotaryEmbedding(x, c, s, interleaved=1),
        [(N, 4, 5, 8), (N, 5, 4), (N, 5, 4)],
        [(2, 4, 5, 8), (2, 5, 4), (2, 5, 4)],
        23,
    ),
    "Trilu-lower": (lambda op, x: op.Trilu(x, np.array(1), upper=0), [(N, 4)], [(3, 4)], 14),
    "Trilu-upper": (lambda op, x: op.Trilu(x, np.array(-1), upper=1), [(N, 4)], [(3, 4)], 14),
    "AffineGrid": (lambda op, t: op.AffineGrid(t, np.array([2, 3, 4, 5])), [(N, 2, 3)], [(2, 2, 3)], 20),
    "AffineGrid-corners": (
        lambda op, t: op.AffineGrid(t, np.array([2, 3, 4, 2]), align_corners=1),
        [(N, 2, 3)],
        [(2, 2, 3)],
        20,
    ),
    "AffineGrid-3d": (lambda op, t: op.AffineGrid(t, np.array([2, 3, 4, 5, 6])), [(N, 3, 4)], [(2, 3, 4)], 20),
    "Col2Im": (
        lambda op, x: op.Col2Im(x, np.array([7, 6]), np.array([3, 2]), strides=[2, 2], pads=[1, 1, 1, 1]),
        [(N, 12, 16)],
        [(2, 12, 16)],
        18,
    ),
    "Col2Im-dilated": (
        lambda op, x: op.Col2Im(x, np.array([9, 1]), np.array([3, 1]), dilations=[2, 1], strides=[3, 1]),
        [(N, 6, 2)],
        [(3, 6, 2)],
        18,
    ),
    "Celu": (lambda op, x: op.Celu(x, alpha=2.0), [(N, 4)], [(3, 4)], 12),
    "Shape": (lambda op, x: op.Cast(op.Shape(x, start=1, end=3), to=F32), [(N, 4, 5)], [(2, 4, 5)], 15),
    "Split": (lambda op, x: op.Split(x, num_outputs=3, axis=1), [(N, 7)], [(2, 7)], 18),
    "Split-computed": (
        lambda op, x: op.Split(x, [floor_divide(x.shape[1], 2), 1, x.shape[1] - floor_divide(x.shape[1], 2) - 1],
                               axis=1, _outputs=3), [(2, N)], [(2, 7)], 13,
    ),
    "Pad": (lambda op, x: op.Pad(x, [1, 2], None, [1]), [(N, 4, 5)], [(2, 4, 5)], 18),
    "Pad-computed": (padded("constant"), [(N, 4)], [(3, 4)], 11),
    "Pad-edge": (padded("edge"), [(N, 4)], [(3, 4)], 11),
    "Pad-reflect": (padded("reflect"), [(N, 4)], [(5, 4)], 11),
    "Resize": (
        lambda op, x: op.Resize(x, None, None, [7, 9], axes=[2, 3], mode="linear"),
        [(N, 3, 4, 5)],
        [(2, 3, 4, 5)],
        18,
    ),
    "Resize-scales": (
        lambda op, x: op.Resize(x, None, [1.0, 1.0, 2.0, 0.5], mode="nearest",
                                coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        [(N, 3, symbol("h"), 6)], [(2, 3, 4, 6)], 13,
    ),
    "Resize-centers": (resized(mode="nearest", nearest_mode="round_prefer_ceil"), [(N, 3, symbol("h"), 5)],
                       [(2, 3, 4, 5)], 13),
    "Resize-linear": (resized(mode="linear"), [(N, 3, symbol("h"), 5)], [(2, 3, 4, 5)], 13),
    "Resize-one": (
        lambda op, x: op.Resize(x, None, None, [2, 3, 1, 7], mode="linear",
                                coordinate_transformation_mode="pytorch_half_pixel"),
        [(2, 3, 4, 5)], [(2, 3, 4, 5)], 13,
    ),
    "Resize-corners": (resized(mode="linear", coordinate_transformation_mode="align_corners"),
                       [(N, 3, symbol("h"), 5)], [(2, 3, 4, 5)], 13),
    "Resize-cubic": (resized(mode="cubic", coordinate_transformation_mode="half_pixel"), [(N, 3, symbol("h"), 5)],
                     [(2, 3, 4, 5)], 13),
    "Softmax": (lambda op, x: op.Softmax(x, axis=1), [(N, 4, 5)], [(2, 4, 5)], 13),
    "Softmax-last": (lambda op, x: op.Softmax(x, axis=-1), [(N, 4, 5)], [(2, 4, 5)], 13),
    "LogSoftmax": (lambda op, x: op.LogSoftmax(x, axis=0), [(N, 4, 5)], [(2, 4, 5)], 13),
    "Range": (lambda op, x: op.Range(op.size(x.shape[0]), np.array(-3), np.array(-2)), [(N, 4)], [(5, 4)], 11),
    "Range-float": (lambda op, x: op.Range(op.ReduceMin(x, keepdims=0), np.float32(3), np.float32(0.4)), [(N, 4)],
                    [(5, 4)], 11),
    "CumSum": (lambda op, x: op.CumSum(x, np.array(1)), [(N, 4, 3)], [(2, 4, 3)], 11),
    "CumProd": (lambda op, x: op.CumProd(x, np.array(-1)), [(N, 4, 3)], [(2, 4, 3)], 26),
    "CumProd-reverse": (lambda op, x: op.CumProd(x, np.array(0), reverse=1), [(N, 4)], [(5, 4)], 26),
    "CumProd-exclusive": (lambda op, x: op.CumProd(x, np.array(0), exclusive=1), [(N, 4)], [(0, 4)], 26),
    "CumSum-nothing": (lambda op, x: op.CumSum(x, np.array(0), reverse=1), [(N, 4)], [(0, 4)], 11),
    "CumSum-reverse": (lambda op, x: op.CumSum(x, np.array(0), reverse=1, exclusive=1), [(N, 4)], [(3, 4)], 11),
    "Gather": (lambda op, x: op.Gather(x, [-1, 0], axis=0), [(N, 4)], [(3, 4)], 11),
    "Gather-axis": (lambda op, x: op.Gather(x, [-2], axis=-1), [(N, 4)], [(3, 4)], 11),
    "GatherElements": (
        lambda op, x: op.GatherElements(x, np.array([[[0, -1]], [[1, 1]]]), axis=1), [(2, 4, N)], [(2, 4, 3)], 11),
    "GatherND": (lambda op, x: op.GatherND(x, np.array([[0, -1], [1, 2]])), [(N, 4, 3)], [(2, 4, 3)], 11),
    "ScatterElements": (lambda op, x, y: op.ScatterElements(x, np.array([[1, 3]]), y, axis=-1), [(N, 4), (1, 2)],
                        [(3, 4), (1, 2)], 11),
    "ScatterND": (lambda op, x, y: op.ScatterND(x, np.array([[0, -1], [1, 2]]), y), [(N, 4, 3), (2, 3)],
                  [(2, 4, 3), (2, 3)], 11),
    "ScatterElements-add": (
        lambda op, x, y: op.ScatterElements(x, np.array([[1, 1], [0, -1]]), y, axis=-1, reduction="add"),
        [(N, 4), (2, 2)], [(3, 4), (2, 2)], 18),
    "ScatterND-max": (
        lambda op, x, y: op.ScatterND(x, np.array([[0, -1], [0, 3], [1, 2]]), y, reduction="max"),
        [(N, 4, 3), (3, 3)], [(2, 4, 3), (3, 3)], 18),
    "ScatterND-mul": (
        lambda op, x, y: op.ScatterND(x, np.array([[1], [1]]), y, reduction="mul"),
        [(N, 3), (2, 3)], [(2, 3), (2, 3)], 16),
    "Slice": (lambda op, x: op.Slice(x, [3], [-9], [1], [-2]), [(N, 4)], [(3, 4)], 10),
    "Slice-computed": (lambda op, x: op.Slice(x, (1,), (x.shape[0] - 1,), [0]), [(N, 4)], [(5, 4)], 10),
    "Slice-beyond": (lambda op, x: op.Slice(x, (-9,), (x.shape[0] + 3,), [0], [2]), [(N, 4)], [(5, 4)], 10),
    "Equal": (lambda op, x: op.Cast(op.Equal(x, SPECIAL), to=F32), [(12,)], [(12,)], 11),
    "Equal-self": (lambda op, x: op.Cast(op.Equal(x * 0.0 + SPECIAL, SPECIAL), to=F32), [(12,)], [(12,)], 11),
    "Min": (lambda op, x, y: op.Min(integers(op, x), integers(op, y)), [(N, 4), (4,)], [(3, 4), (4,)], 12),
    "Max": (lambda op, x, y: op.Max(integers(op, x), integers(op, y)), [(N, 4), (4,)], [(3, 4), (4,)], 12),
    "Clip": (lambda op, x, y: op.Clip(x, op.ReduceMin(y, keepdims=0), 0.7), [(N, 4), (4,)], [(3, 4), (4,)], 11),
    "Clip-constant": (lambda op, x: op.Clip(x, -0.5, None), [(N, 4)], [(3, 4)], 11),
    "Clip-integers": (lambda op, x: op.Clip(integers(op, x), np.array(-3), np.array(4)), [(N, 4)], [(3, 4)], 12),
    "Pow": (lambda op, x: op.Pow(x, np.array(3)), [(N, 4)], [(3, 4)], 12),
    "Pow-integers": (lambda op, x: op.Pow(integers(op, x), np.array(2)), [(N, 4)], [(3, 4)], 12),
    "IsInf": (lambda op, x: op.Cast(op.IsInf(x + SPECIAL), to=F32), [(12,)], [(12,)], 10),
    "IsInf-negative": (lambda op, x: op.Cast(op.IsInf(x + SPECIAL, detect_positive=0), to=F32), [(12,)], [(12,)], 10),
    "Round": (lambda op, x: op.Div(1.0, op.Round(x * 0.0 + SPECIAL)), [(12,)], [(12,)], 11),
    "Mod": (lambda op, x, y: op.Mod(integers(op, x), op.Abs(integers(op, y)) + 1), [(N, 4), (4,)], [(3, 4), (4,)], 10),
    "Mod-floats": (lambda op, x, y: op.Mod(x * 1e9, y, fmod=1), [(N, 4), (4,)], [(3, 4), (4,)], 10),
    "BitShift": (
        lambda op, x: op.BitShift(op.Cast(op.Abs(x) * 9.0, to=dtypes.UINT8), np.array(2, np.uint8), direction="RIGHT"),
        [(N, 4)], [(3, 4)], 11,
    ),
    "BitwiseAnd": (partial(of_bits, operator="BitwiseAnd", dtype=dtypes.INT64), [(N, 4), (4,)], [(3, 4), (4,)], 18),
    "BitwiseOr": (partial(of_bits, operator="BitwiseOr", dtype=dtypes.UINT8), [(N, 4), (4,)], [(3, 4), (4,)], 18),
    "BitwiseXor": (partial(of_bits, operator="BitwiseXor", dtype=dtypes.INT8), [(N, 4), (4,)], [(3, 4), (4,)], 18),
    "BitwiseNot": (lambda op, x: op.BitwiseNot(op.Cast(op.Abs(x) * 9.0, to=dtypes.UINT8)), [(N, 4)], [(3, 4)], 18),
    "Reshape-empty": (lambda op, x: op.Reshape(x, [5, x.shape[0], 0], allowzero=1), [(N, 0)], [(3, 0)], 14),
    "Gemm": (lambda op, x, y: op.Gemm(x, y, transB=1), [(N, 4), (3, 4)], [(2, 4), (3, 4)], 11),
    "TopK": (lambda op, x: op.TopK(x, [2], axis=-1, largest=0), [(N, 4)], [(3, 4)], 11),
    "TopK-special": (lambda op, x: op.TopK(x * 0.0 + SPECIAL, [12], largest=0), [(12,)], [(12,)], 11),
    "TopK-wide": (lambda op, x: op.TopK(op.constant(WIDE), [3], largest=0), [(N,)], [(3,)], 11),
    "TopK-widest": (lambda op, x: op.TopK(op.constant(WIDE), [1]), [(N,)], [(3,)], 11),
    "ArgMax": (lambda op, x: op.ArgMax(op.Floor(x), axis=-1, select_last_index=1), [(N, 9)], [(3, 9)], 12),
    "ArgMin": (lambda op, x: op.ArgMin(op.Floor(x), axis=0, keepdims=0, select_last_index=1), [(N, 9)], [(5, 9)], 12),
    "DepthToSpace": (lambda op, x: op.DepthToSpace(x, blocksize=2, mode="CRD"), [(N, 8, 2, 3)], [(2, 8, 2, 3)], 11),
    "Einsum": (lambda op, x: op.Einsum(x, equation="iai->ai"), [(3, N, 3)], [(3, 2, 3)], 12),
    "DFT": (lambda op, x: op.DFT(x, None, np.array(1)), [(N, 7, 3, 1)], [(2, 7, 3, 1)], 20),
    "DFT-dynamic": (lambda op, x: op.DFT(x, np.array(6), np.array(0), onesided=1), [(N, 1)], [(5, 1)], 20),
    "STFT": (lambda op, x: op.STFT(x, 3, None, 8, onesided=1), [(N, 20, 1)], [(2, 20, 1)], 17),
    "STFT-complex": (
        lambda op, x: op.STFT(x, 2, op.constant(np.linspace(0, 1, 6, dtype=np.float32)), onesided=0),
        [(2, N, 2)], [(2, 15, 2)], 17,
    ),
    "DFT-inverse": (lambda op, x: op.DFT(x, None, np.array(1), inverse=1), [(2, N, 2)], [(2, 6, 2)], 20),
    **{
        f"GridSample-{mode}-{padding}-{corners}": (
            partial(sampled, mode=mode, padding_mode=padding, align_corners=corners),
            [(N, 3, 4, symbol("w")), (N, 3, 5, 2)], [(2, 3, 4, 6), (2, 3, 5, 2)], 20,
        )
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    },
    "GridSample-3d": (partial(sampled, mode="linear"), [(N, 2, 3, 4, 5), (N, 2, 2, 2, 3)],
                      [(2, 2, 3, 4, 5), (2, 2, 2, 2, 3)], 20),
    "Negative": (lambda op, x: op.Concat(x, op.Squeeze(op.Unsqueeze(x, [-1]), [-1]), axis=-2), [(N, 4)], [(3, 4)], 11),
    "ReduceMean": (lambda op, x: op.ReduceMean(x, [0, -1], keepdims=0), [(N, 4, 5)], [(2, 4, 5)], 18),
    "ReduceMax": (lambda op, x: op.ReduceMax(x, [-1]), [(N, 4, 5)], [(2, 4, 5)], 18),
}


@pytest.mark.parametrize("name", CASES)
def test_expansion_computes_the_same(name: str) -> None:
    body, recorded, actual, whole = CASES[name]
    arrays = [normal(*shape, seed=index) for index, shape in enumerate(actual)]
    graph = record(body, *recorded)
    expected = run(graph, max(whole, 13), arrays)
    for opset in (9, 10, 11, 12, 13, 17, 19):
        if opset < whole:
            for got, want in zip(run(graph, opset, arrays), expected, strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6, err_msg=f"at opset {opset}")


def test_every_expansion_and_form_has_a_case() -> None:
    load()
    tested = {name.partition("-")[0] for name in CASES} | {
        "CastLike",
        "GreaterOrEqual",
        "LessOrEqual",
    }
    tested |= {"InstanceNormalization"}  # for a runtime without a kernel of the dtype: tests/lowering/aten/nn/
    tested |= {name.partition("-")[0] for name in (*ELEMENTWISE, *WINDOWS)}
    tested |= {"BitCast"}  # tests/passes/legalize/test_bits.py
    tested |= {"ConstantOfShape"}  # of bfloat16, which no opset below 13 has: tests/opsets/test_opsets.py
    tested |= {"QuantizeLinear", "DequantizeLinear"}  # tests/lowering/aten/nn/test_quantized.py
    assert set(EXPANSIONS) | set(FORMS) <= tested


@pytest.mark.parametrize("target", [Target.onnx(10), Target.onnxruntime().at(10)], ids=["standard", "runtime"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_wide_integers_are_sorted_exactly(k: int, largest: int, target: Target) -> None:
    op = Builder()
    x = op.input(TensorType(dtypes.INT64, (N, 7)), "x0")
    graph = op.finish(op.TopK(x, [k], axis=-1, largest=largest), ["y0", "y1"])
    values, places = run(graph, 10, [np.stack([WIDE, WIDE[::-1]])], target)
    for row, found, where in zip((WIDE, WIDE[::-1]), values, places, strict=True):
        order = sorted(range(7), key=lambda place: -int(row[place]) if largest else int(row[place]))[:k]
        assert [*where] == order
        assert [*found] == [row[place] for place in order]


@pytest.mark.parametrize("dtype", [dtypes.FLOAT32, dtypes.FLOAT16], ids=str)
def test_remainders_of_floats_are_exact(dtype: dtypes.DType) -> None:
    random = np.random.default_rng(0)
    x, y = (random.normal(size=500) * 10.0 ** random.integers(-44, 38, 500) for _ in range(2))
    with np.errstate(all="ignore"):
        x, y = (np.append(each, special).astype(dtype.numpy) for each, special in ((x, [1, 0, np.inf, -6, 5, -1]),
                                                                               (y, [0, 1, 2, 3, np.inf, np.nan])))
        expected = np.fmod(x, y)
    (found,) = run(record(lambda op, x, y: op.Mod(x, y, fmod=1), (N,), (N,), dtype=dtype), 9, [x, y])
    np.testing.assert_array_equal(found, expected)


def test_cast_like() -> None:
    graph = record(lambda op, x: op.CastLike(op.Floor(x), np.array(1)) + 1, (N,))
    np.testing.assert_array_equal(run(graph, 13, [np.array([1.5, 2.5], np.float32)])[0], [2, 3])


def test_graph_at_the_newest_opset_is_left_alone() -> None:
    graph = record(lambda op, x: op.Gelu(x), (N, 4))
    legal = LEGALIZE(graph, Target.onnx(28))
    assert [node.op for node in legal.nodes] == ["Gelu"]
    assert replace(legal, opset=28).nodes == legal.nodes
