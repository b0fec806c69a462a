"""Packed sequences: packed, run through recurrent layers and padded again, each op by itself and together."""

from dataclasses import replace

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence as pack
from torch.nn.utils.rnn import pad_packed_sequence as pad

from fxonnx.emit.onnx import emit
from fxonnx.ir.build import Builder
from fxonnx.ir.types import parse_type
from fxonnx.lowering.aten.nn.packed import BatchSizes, PackedData, pack_padded_sequence, pad_packed_sequence
from fxonnx.lowering.aten.nn.recurrent import recurrent_over_packed
from fxonnx.lowering.weights import TorchData

torch.manual_seed(0)
FEATURES, HIDDEN = 3, 4
LAYERS = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "RNN": (nn.RNN, {}),
    "RNN_RELU": (nn.RNN, {"nonlinearity": "relu"}),
}
OPTIONS = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "deep": {"num_layers": 2, "bias": False},
    "everything": {"num_layers": 2, "bidirectional": True},
}
LENGTHS = (6, [5, 3, 3, 1]), (4, [4]), (3, [1, 1]), (5, [2, 2, 2]), (7, [7, 7, 1])


def layer_graph(layer, kind, dtype, is_packed):
    """The layer over a packed sequence, which comes as such, or is packed of a padded tensor."""
    op, count = Builder(), layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or HIDDEN, HIDDEN][: 2 if kind == "LSTM" else 1]
    states = [op.input(parse_type(f"{dtype}[{count},b,{size}]"), name) for size, name in zip(sizes, "hc", strict=False)]
    if is_packed:
        data, batch_sizes = op.input(parse_type(f"{dtype}[n,{FEATURES}]"), "x"), op.input(parse_type("i64[s]"), "l")
    else:
        x, lengths = op.input(parse_type(f"{dtype}[t,b,{FEATURES}]"), "x"), op.input(parse_type("i64[b]"), "l")
        data, batch_sizes = pack_padded_sequence(op, x, lengths, batch_first=False)
    weights = [op.constant(TorchData(weight.detach()), name=key) for key, weight in layer.named_parameters()]
    has_biases, is_both = layer.bias, layer.bidirectional
    output, *last = recurrent_over_packed(
        op, data, batch_sizes, states, weights, has_biases, layer.num_layers, 0.0, False, is_both, kind=kind
    )
    scaled = op.Mul(output, 2.0)  # the data of a sequence, of which nobody knows any more what it was packed of
    padded = [
        *pad_packed_sequence(op, output, batch_sizes, True, 0.0, 0),
        pad_packed_sequence(op, output, batch_sizes, False, -1.5, 9)[0],
        pad_packed_sequence(op, scaled, batch_sizes, False, 2.0, 0)[0],
    ]
    return op.finish([output, *last, *padded])


def expected(layer, kind, packed, states):
    output, last = layer(packed, states if kind == "LSTM" else states[0])
    scaled = output._replace(data=output.data * 2)
    return [
        output.data, *(last if kind == "LSTM" else (last,)), *pad(output, batch_first=True),
        pad(output, padding_value=-1.5, total_length=9)[0], pad(scaled, padding_value=2.0)[0],
    ]  # fmt: skip


def compare(layer, kind, dtype, is_packed):
    graph = layer_graph(layer, kind, {torch.float32: "f32", torch.float64: "f64"}[dtype], is_packed)
    session = onnxruntime.InferenceSession(emit(replace(graph, opset=22)).proto.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    for steps, lengths in LENGTHS:
        x, lengths = torch.randn(steps, len(lengths), FEATURES, dtype=dtype), torch.tensor(lengths)
        packed = pack(x, lengths)
        states = [torch.randn(count, len(lengths), size, dtype=dtype) for size in (layer.proj_size or HIDDEN, HIDDEN)]
        given = {"x": packed.data, "l": packed.batch_sizes} if is_packed else {"x": x, "l": lengths}
        given |= dict(zip("hc", states, strict=True))
        found = session.run(None, {name: given[name].numpy() for name in names})
        for one, other in zip(found, expected(layer, kind, packed, states), strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other)
    return [node.op for node in graph.all_nodes()]


@pytest.mark.parametrize("is_packed", [False, True], ids=["packed here", "packed before"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind, option, is_packed):
    make, extra = LAYERS[kind]
    layer = make(FEATURES, HIDDEN, **OPTIONS[option], **extra).eval()
    assert compare(layer, kind, torch.float32, is_packed).count(kind[:4].strip("_")) == layer.num_layers


@pytest.mark.parametrize("is_packed", [False, True], ids=["packed here", "packed before"])
def test_what_has_no_operator(is_packed):
    """Projections, and float64: a Scan that stays where a sequence has ended."""
    projected = nn.LSTM(FEATURES, HIDDEN, 2, bidirectional=True, proj_size=2).eval()
    assert "Scan" in compare(projected, "LSTM", torch.float32, is_packed)
    wide = nn.GRU(FEATURES, HIDDEN, bidirectional=True).double().eval()
    assert "Scan" in compare(wide, "GRU", torch.float64, is_packed)


def test_what_was_packed_is_known():
    op = Builder()
    x, lengths = op.input(parse_type("f32[b,t,3]"), "x"), op.input(parse_type("i64[b]"), "l")
    data, batch_sizes = pack_padded_sequence(op, x, lengths, batch_first=True)
    assert isinstance(data, PackedData)
    assert isinstance(batch_sizes, BatchSizes)
    before = len(op.nodes)
    padded, found = pad_packed_sequence(op, data, batch_sizes, False, 0.0, x.shape[1])
    assert found is batch_sizes.lengths.each
    assert "Gather" not in [node.op for node in op.nodes[before:]]
    assert op.nodes[-1].op == "Where"  # what was beyond the ends is not zero
    assert padded.shape == (*x.shape[1::-1], 3)


def test_what_was_packed_is_known_in_a_branch():
    """As torch.cond hands it on."""
    op = Builder()
    x, lengths = op.input(parse_type("f32[b,t,3]"), "x"), op.input(parse_type("i64[b]"), "l")
    data, batch_sizes = (each.within(inner := op.nested()) for each in pack_padded_sequence(op, x, lengths, True))
    padded, _ = pad_packed_sequence(inner, data, batch_sizes, False, 0.0, x.shape[1])
    assert padded.builder is inner
    assert [node.op for node in inner.nodes].count("Gather") == 0
