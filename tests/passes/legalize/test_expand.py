"""Every expansion computes what its operator computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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


QKV = [(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)]
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
    "Celu": (lambda op, x: op.Celu(x, alpha=2.0), [(N, 4)], [(3, 4)], 13),
    "Shape": (lambda op, x: op.Cast(op.Shape(x, start=1, end=3), to=F32), [(N, 4, 5)], [(2, 4, 5)], 15),
    "Split": (lambda op, x: op.Split(x, num_outputs=3, axis=1), [(N, 7)], [(2, 7)], 18),
    "Pad": (lambda op, x: op.Pad(x, [1, 2], None, [1]), [(N, 4, 5)], [(2, 4, 5)], 18),
    "Resize": (
        lambda op, x: op.Resize(x, None, None, [7, 9], axes=[2, 3], mode="linear"),
        [(N, 3, 4, 5)],
        [(2, 3, 4, 5)],
        18,
    ),
    "ReduceMean": (lambda op, x: op.ReduceMean(x, [0, -1], keepdims=0), [(N, 4, 5)], [(2, 4, 5)], 18),
    "ReduceMax": (lambda op, x: op.ReduceMax(x, [-1]), [(N, 4, 5)], [(2, 4, 5)], 18),
}


@pytest.mark.parametrize("name", CASES)
def test_expansion_computes_the_same(name: str) -> None:
    body, recorded, actual, whole = CASES[name]
    arrays = [normal(*shape, seed=index) for index, shape in enumerate(actual)]
    graph = record(body, *recorded)
    expected = run(graph, max(whole, 13), arrays)
    for opset in (13, 17):
        if opset < whole:
            for got, want in zip(run(graph, opset, arrays), expected, strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_every_expansion_and_form_has_a_case() -> None:
    load()
    tested = {name.partition("-")[0] for name in CASES} | {
        "CastLike",
        "GreaterOrEqual",
        "LessOrEqual",
    }  # see below; opset 12
    tested |= {"Mod", "BitShift"}  # new in 28 and met at every target: tests/lowering/aten/math/test_arithmetic
    tested |= {"InstanceNormalization"}  # for a runtime without a kernel of the dtype: tests/lowering/aten/nn/
    assert set(EXPANSIONS) | set(FORMS) <= tested


def test_cast_like() -> None:
    graph = record(lambda op, x: op.CastLike(op.Floor(x), np.array(1)) + 1, (N,))
    np.testing.assert_array_equal(run(graph, 13, [np.array([1.5, 2.5], np.float32)])[0], [2, 3])


def test_graph_at_the_newest_opset_is_left_alone() -> None:
    graph = record(lambda op, x: op.Gelu(x), (N, 4))
    legal = LEGALIZE(graph, Target.onnx(28))
    assert [node.op for node in legal.nodes] == ["Gelu"]
    assert replace(legal, opset=28).nodes == legal.nodes
