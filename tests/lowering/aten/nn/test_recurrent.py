"""Recurrent layers and cells."""

from dataclasses import replace

import pytest
import torch
from tests.lowering.support import check, operators
from torch import nn

import fxonnx
from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.lowering.aten.nn.recurrent import recurrent
from fxonnx.lowering.weights import TorchData

torch.manual_seed(0)
LENGTH, BATCH, FEATURES, HIDDEN = 5, 2, 3, 4

LAYERS = {
    "lstm": (nn.LSTM, "LSTM", {}),
    "gru": (nn.GRU, "GRU", {}),
    "tanh": (nn.RNN, "RNN", {}),
    "relu": (nn.RNN, "RNN", {"nonlinearity": "relu"}),
}
OPTIONS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "no bias": {"bias": False},
    "deep": {"num_layers": 3, "dropout": 0.5},
    "everything": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, option):
    kind, operator, extra = LAYERS[name]
    layer = kind(FEATURES, HIDDEN, **OPTIONS[option], **extra).eval()
    compiled = check(layer, torch.randn(LENGTH, BATCH, FEATURES))
    assert operators(compiled).count(operator) == layer.num_layers


@pytest.mark.parametrize("name", LAYERS)
def test_initial_states(name):
    kind, _, extra = LAYERS[name]
    layer = kind(FEATURES, HIDDEN, 2, bidirectional=True, **extra).eval()
    state = torch.randn(4, BATCH, HIDDEN)
    states = (state, torch.randn(4, BATCH, HIDDEN)) if kind is nn.LSTM else state
    x = torch.randn(LENGTH, BATCH, FEATURES)
    compiled = fxonnx.compile(layer, (x, states))
    torch.testing.assert_close(compiled(x, states), layer(x, states))


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_batch(name):
    kind, _, extra = LAYERS[name]
    check(kind(FEATURES, HIDDEN, **extra).eval(), torch.randn(LENGTH, FEATURES))


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}], ids=["plain", "deep"]
)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_projections(options, bias):
    layer = nn.LSTM(FEATURES, HIDDEN, proj_size=2, bias=bias, **options).eval()
    compiled = check(layer, torch.randn(LENGTH, BATCH, FEATURES))
    assert "Scan" in operators(compiled)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_dtypes(name, dtype):
    kind, _, extra = LAYERS[name]
    tolerance = 1e-6 if dtype is torch.float64 else 5e-3
    check(
        kind(FEATURES, HIDDEN, **extra).eval().to(dtype),
        torch.randn(LENGTH, BATCH, FEATURES).to(dtype),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("projected", [0, 2], ids=["whole", "projected"])
def test_any_length_and_batch(projected):
    """Straight through the body: whether a dynamic length is captured is another room's question."""
    layer = nn.LSTM(FEATURES, HIDDEN, 2, bidirectional=True, proj_size=projected).eval()
    op = Builder()
    x = op.input(parse_type(f"f32[t,b,{FEATURES}]"), "x")
    h = op.input(parse_type(f"f32[4,b,{projected or HIDDEN}]"), "h")
    c = op.input(parse_type(f"f32[4,b,{HIDDEN}]"), "c")
    weights = [op.constant(TorchData(weight), name=key) for key, weight in layer.named_parameters()]
    results = recurrent(op, x, [h, c], weights, True, 2, 0.0, False, True, False, kind="LSTM")
    assert [str(result.type) for result in results[:1]] == [f"f32[t,b,{2 * (projected or HIDDEN)}]"]
    session = run(op.finish(results, ["y", "hn", "cn"]))
    for length, batch in ((1, 1), (7, 3)):
        x, h, c = (
            torch.randn(length, batch, FEATURES),
            torch.randn(4, batch, projected or HIDDEN),
            torch.randn(4, batch, HIDDEN),
        )
        expected = layer(x, (h, c))
        found = session.run(None, {"x": x.numpy(), "h": h.numpy(), "c": c.numpy()})
        for result, wanted in zip(found, (expected[0], *expected[1]), strict=True):
            torch.testing.assert_close(torch.from_numpy(result), wanted)


def run(graph):
    """A session of the graph as it was recorded."""
    import onnxruntime

    from fxonnx.emit.onnx import emit

    return onnxruntime.InferenceSession(emit(replace(graph, opset=22)).proto.SerializeToString())


CELLS = {
    "lstm": (nn.LSTMCell, {}),
    "gru": (nn.GRUCell, {}),
    "tanh": (nn.RNNCell, {}),
    "relu": (nn.RNNCell, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, bias):
    kind, extra = CELLS[name]
    cell = kind(FEATURES, HIDDEN, bias=bias, **extra).eval()
    check(cell, torch.randn(BATCH, FEATURES), dynamic={"input": {0: "b"}}, again=(torch.randn(5, FEATURES),))


def test_dropout_between_layers_is_refused_in_training():
    layer = nn.GRU(FEATURES, HIDDEN, 2, dropout=0.5)
    with pytest.raises(fxonnx.errors.UnsupportedArguments, match="dropout"):
        fxonnx.compile(layer, (torch.randn(LENGTH, BATCH, FEATURES),), mode="train")


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_a_batch_of_nothing(layer, is_bidirectional):
    model = layer(4, 5, 2, batch_first=True, bidirectional=is_bidirectional).eval()
    sizes = {"input": {0: "batch", 1: "length"}}
    check(model, torch.randn(3, 6, 4), dynamic=sizes, again=(torch.randn(0, 2, 4),))
    for batch in (3, 0):
        assert "If" not in operators(check(model, torch.randn(batch, 6, 4)))
