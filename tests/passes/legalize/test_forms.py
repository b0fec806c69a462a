"""Forms that compete: each is written where the machine prefers it, and computes the same."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import compiler
from fxonnx.emit.onnx import emit
from fxonnx.emit.weights import inline_model
from fxonnx.errors import InvalidOption
from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.machines import Machine, Profile, Table
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.target import Target

ATTENTION = {"heads": (1,), "queries": (1, 100), "keys": (1,)}
LINEAR = {"rows": (1, 100), "inputs": (1,), "outputs": (1,)}


def table(axes, *seconds):
    """Seconds along the one axis that has several points."""
    return Table(axes, np.reshape(seconds, [len(points) for points in axes.values()]).tolist())


PROFILE = Profile("processor", "family", "onnxruntime 1.32", 1, "2026-01-01", "by hand", {
    "linear": table(LINEAR, 1.0, 10.0), "linear_by_blocks": table(LINEAR, 2.0, 2.0),
    "attention": table(ATTENTION, 1.0, 10.0), "blockwise_attention": table(ATTENTION, 2.0, 2.0),
})  # fmt: skip
TARGET = replace(Target.onnxruntime(), machine=Machine(PROFILE, [{"n": 100}]))


def attention(op, q, k, v):
    return op.Attention(q, k, v, q_num_heads=2, kv_num_heads=2)


def scaled_attention(op, q, k, v):
    return op.Attention(q, k, v, q_num_heads=2, kv_num_heads=2, scale=0.3)


def linear(op, x):
    return product(op, x) + np.arange(528, dtype=np.float32)


def product(op, x):
    return op.MatMul(x, np.random.default_rng(0).standard_normal((512, 528)).astype(np.float32) / 32)


def gemm(op, x):
    weight = np.random.default_rng(0).standard_normal((528, 512)).astype(np.float32) / 32
    return op.Gemm(x, weight, np.arange(528, dtype=np.float32), transB=1)


def small(op, x):
    return op.MatMul(x, np.ones((512, 16), np.float32))


def odd(op, x):
    return op.MatMul(x, np.ones((512, 518), np.float32))


CASES = {
    "attention": (attention, ["f32[1,100,8]", "f32[1,7,8]", "f32[1,7,8]"]),
    "scaled": (scaled_attention, ["f32[2,n,8]", "f32[2,n,8]", "f32[2,n,8]"]),
    "linear": (linear, ["f32[1,100,512]"]),
    "product": (product, ["f32[b,n,512]"]),
    "batched": (linear, ["f32[5,100,512]"]),
    "a matrix": (gemm, ["f32[n,512]"]),
    "an image": (linear, ["f32[b,5,n,512]"]),
}
CHOSEN = {"com.microsoft::MultiHeadAttention", "Conv"}


def graph_of(body, types):
    op = Builder()
    inputs = [op.input(parse_type(type), f"in{index}") for index, type in enumerate(types)]
    return op.finish((body(op, *inputs),), ("out",))


def run(graph, arrays):
    model = inline_model(emit(graph)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feed = {value.name: array for value, array in zip(graph.inputs, arrays, strict=True)}
    return session.run(None, feed)[0]


@pytest.mark.parametrize(("body", "types"), CASES.values(), ids=CASES)
def test_the_preferred_form_computes_the_same(body, types):
    target = replace(TARGET, machine=Machine(PROFILE, [{"n": 100, "b": 2}]))
    graph = graph_of(body, types)
    chosen, plain = LEGALIZE(graph, target), LEGALIZE(graph, Target.onnxruntime())
    assert {node.op for node in chosen.nodes} & CHOSEN and not {node.op for node in plain.nodes} & CHOSEN
    rng = np.random.default_rng(1)
    for number in (np.float32(0.5), np.float32("nan"), np.float32("inf"), np.float32("-inf")):
        shapes = [[{"n": 100, "b": 2}.get(str(dim), dim) for dim in value.shape] for value in graph.inputs]
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        arrays[-1].reshape(-1)[9] = arrays[0].reshape(-1)[25] = number
        np.testing.assert_allclose(run(chosen, arrays), run(plain, arrays), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "types", "target"),
    [
        (linear, ["f32[1,2,512]"], TARGET),
        (linear, ["f32[1,m,512]"], TARGET),
        (odd, ["f32[1,100,512]"], TARGET),
        (small, ["f32[1,100,512]"], TARGET),
        (attention, ["f32[1,2,8]"] * 3, TARGET),
        (attention, ["f32[1,100,8]"] * 3, replace(Target.onnx(24), machine=TARGET.machine)),
        (lambda op, q, k, v: op.Attention(q, k, v, q_num_heads=4, kv_num_heads=2),
         ["f32[1,100,8]", "f32[1,100,4]", "f32[1,100,4]"], TARGET),
        (lambda op, q, k, v: op.Attention(q, k, v, q_num_heads=2, kv_num_heads=2, is_causal=1),
         ["f32[1,100,8]"] * 3, TARGET),
        (lambda op, q, k, v: op.Attention(q, k, v, np.zeros((100, 100), np.float32), q_num_heads=2, kv_num_heads=2),
         ["f32[1,100,8]"] * 3, TARGET),
    ],
    ids=["few rows", "unknown rows", "odd columns", "few weights", "short", "standard", "grouped", "causal", "masked"],
)  # fmt: skip
def test_elsewhere_the_form_stays(body, types, target):
    assert not {node.op for node in LEGALIZE(graph_of(body, types), target).nodes} & CHOSEN


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(512, 528)

    def forward(self, x):
        return self.layer(x).relu()


def test_a_model_is_compiled_for_its_example_or_for_what_is_hinted(monkeypatch):
    monkeypatch.setattr(compiler.machines, "this_machine", lambda runtime: PROFILE)
    model, dims = Model().eval(), {"x": {0: "batch", 1: "n"}}

    def ops(rows, **options):
        compiled = fxonnx.compile(model, (torch.randn(2, rows, 512),), dynamic_shapes=dims, **options)
        for sizes in ((2, rows), (1, 1), (3, 200)):
            x = torch.randn(*sizes, 512)
            torch.testing.assert_close(compiled(x), model(x))
        return {node.op for node in compiled.graph.nodes}

    assert "Conv" in ops(50) and "Conv" not in ops(2)
    assert "Conv" in ops(2, hints={"n": [50, 60]}) and "Conv" not in ops(50, hints={"n": [1, 60], "batch": [1]})
    assert "Conv" not in ops(50, optimize={"linear_by_blocks": False})
    assert "Conv" not in ops(50, optimize=False) and "Conv" not in ops(50, target=Target.onnx())
    with pytest.raises(InvalidOption, match="hints names 'seq'"):
        ops(50, hints={"seq": [1]})
    with pytest.raises(InvalidOption, match="a dict from names of dynamic dims"):
        ops(50, hints={"n": 3})
