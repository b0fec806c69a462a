"""Attention over a cache computes what the joined keys and values give: in the runtime and written out, with rows that
see no key, with NaN and infinities, at every size."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir import dims
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import parse_graph
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.optimize import optimizer
from fxonnx.target import Target

DECODER = """graph(q: f32[b,s,{wide}], k: f32[b,s,8], v: f32[b,s,8], mask: {mask}, past_key: f32[b,2,t,4], past_value: f32[b,2,t,4]) opset=28
  %0: f32[b,s,{heads},4] = Reshape(q, i64[4](0, 0, {heads}, 4))
  %1: f32[b,{heads},s,4] = Transpose(%0) {{perm=[0, 2, 1, 3]}}
  %2: f32[b,s,2,4] = Reshape(k, i64[4](0, 0, 2, 4))
  %3: f32[b,2,s,4] = Transpose(%2) {{perm=[0, 2, 1, 3]}}
  %4: f32[b,s,2,4] = Reshape(v, i64[4](0, 0, 2, 4))
  %5: f32[b,2,s,4] = Transpose(%4) {{perm=[0, 2, 1, 3]}}
  %6: f32[b,2,s+t,4] = Concat(past_key, %3) {{axis=2}}
  %7: f32[b,2,s+t,4] = Concat(past_value, %5) {{axis=2}}
  %8: f32[b,{heads},s,4] = Attention(%1, %6, %7, mask) {{scale=0.5{rest}}}
  %9: f32[b,s,{heads},4] = Transpose(%8) {{perm=[0, 2, 1, 3]}}
  %10: f32[b,s,{wide}] = Reshape(%9, i64[3](0, 0, {wide}))
  return %10, %6, %7"""  # noqa: E501
MASKS = ("b8[b,1,s,s+t]", "f32[b,1,s,s+t]", "f32[1,{heads},s,s+t]", "b8[s,s+t]")
ODD = np.array([0.0, -0.0, np.nan, np.inf, 1.0, -2.0, 0.5, 0.25], np.float32)


def decoder(heads: int, mask: str, rest: str = "") -> Graph:
    return parse_graph(DECODER.format(heads=heads, wide=4 * heads, mask=mask.format(heads=heads), rest=rest))


def run(graph: Graph, target: Target, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    named = replace(graph, output_names=("y", "key", "value"))
    model = inline_model(emit(LEGALIZE(named, target))).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def feeds(graph: Graph, b: int, s: int, t: int, odd: bool) -> dict[str, np.ndarray]:
    """Random numbers; masks hide all keys from the first row, and some from the others."""
    random = np.random.default_rng(3)
    given = {}
    for value in graph.inputs:
        shape = [dims.evaluate(dim, {"b": b, "s": s, "t": t}) for dim in value.shape]
        array = random.standard_normal(shape).astype(np.float32)
        if value.name == "mask":
            seen = random.random(shape) < 0.6
            seen[..., 0, :] = False
            array = seen if value.dtype.name == "bool" else np.where(seen, array, -np.inf).astype(np.float32)
        elif odd and value.name in ("v", "past_value"):
            array = random.choice(ODD, shape)
        given[value.name] = array
    return given


@pytest.mark.parametrize("target", [Target.onnxruntime(), Target.onnx(21)], ids=str)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("heads", [2, 4])
def test_a_cache_is_read_in_place(heads, mask, target) -> None:
    before = decoder(heads, mask)
    after = optimizer()(before, target)
    assert not any(node.op == "Concat" and node.output in after.outputs for node in after.nodes) or target.opset == 21
    for b, s, t in ((1, 1, 7), (2, 3, 5), (3, 1, 1), (1, 4, 2)):
        for odd in (False, True):
            given = feeds(before, b, s, t, odd)
            for wanted, found in zip(run(before, target, given), run(after, target, given), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_decoder_has_one_operator_for_its_attention() -> None:
    graph = optimizer()(decoder(2, "b8[b,1,s,s+t]"), Target.onnxruntime())
    assert [node.op for node in graph.nodes] == ["Attention"]


def test_scores_that_are_capped() -> None:
    target, before = Target.onnxruntime(), decoder(4, "b8[b,1,s,s+t]", ", softcap=2.0")
    given = feeds(before, 2, 3, 5, odd=False)
    for wanted, found in zip(run(before, target, given), run(optimizer()(before, target), target, given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
