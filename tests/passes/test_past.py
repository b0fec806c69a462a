"""Attention over a cache computes what the joined keys and values give: in the runtime and written out, with rows that
see no key, with NaN and infinities, at every size."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from fxonnx.dtypes import INT64
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.ir import dims
from fxonnx.ir.graph import Graph, Value
from fxonnx.ir.text import parse_graph
from fxonnx.ir.types import TensorType
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.passes.optimize import optimizer
from fxonnx.passes.past import past_in_place, written_in_place
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


def with_room(graph: Graph) -> Graph | None:
    """A legal decoder whose cache has room; two more inputs tell how many tokens come, and how many there are."""
    new, every = (Value(TensorType(INT64, (dims.symbol("b"), dims.symbol(name))), name) for name in ("new", "every"))
    return past_in_place(replace(graph, inputs=(*graph.inputs, new, every)), new, every)


def with_heads_apart(before: Graph) -> Graph:
    target = Target.onnxruntime()
    optimized = optimizer((), frozenset({"joined_heads_with_past"}))(before, target)
    return LEGALIZE(replace(optimized, output_names=("y", "key", "value")), target)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("heads", [2, 4])
def test_a_cache_with_room_for_more(heads, mask) -> None:
    before, room = with_heads_apart(decoder(heads, mask)), 11
    after = with_room(before)
    assert after is not None
    assert written_in_place(after) == {1: 4, 2: 5}
    for b, s, t in ((1, 1, 7), (2, 3, 5), (3, 1, 0), (1, 4, 2)):
        given = feeds(before, b, s, t, odd=False)
        wide = {name: np.zeros((b, 2, room, 4), np.float32) for name in ("past_key", "past_value")}
        for name, array in wide.items():
            array[:, :, :t] = given[name]
        counts = {"new": np.zeros((b, s), np.int64), "every": np.zeros((b, s + t), np.int64)}
        wanted = run(before, Target.onnxruntime(), given) if t else None
        found = run(after, Target.onnxruntime(), {**given, **wide, **counts})
        assert [each.shape[2] for each in found[1:]] == [room, room]
        if wanted is not None:
            found = [found[0], *(each[:, :, : s + t] for each in found[1:])]
            for one, other in zip(wanted, found, strict=True):
                np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_a_cache_that_somebody_else_reads_has_no_room() -> None:
    before = with_heads_apart(decoder(2, "b8[b,1,s,s+t]"))
    returned = replace(before, outputs=(*before.outputs, before.inputs[4]), output_names=("y", "key", "value", "past"))
    assert with_room(returned) is None
    joined = LEGALIZE(optimizer()(decoder(2, "b8[b,1,s,s+t]"), Target.onnxruntime()), Target.onnxruntime())
    assert with_room(joined) is None
