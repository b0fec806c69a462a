"""Models of torch.ao's eager mode: the same as eager up to a step, by `compiled` and by the file."""

import onnxruntime
import pytest
import torch
import torch.ao.nn.quantized as nnq
import torch.ao.quantization as quantization
from torch import nn
from torch.ao.quantization import quantize_fx
from torch.nn import functional

import fxonnx
from fxonnx import errors, machines

torch.manual_seed(0)
ops = torch.ops.quantized
X = torch.randn(2, 4, 9, 9)
WEIGHTS = torch.rand(9)


def quint8(x, scale=0.03, zero=100):
    return torch.quantize_per_tensor(x, scale, zero, torch.quint8)


def int8(x, scale=0.1):
    return torch.quantize_per_tensor(x, scale, 0, torch.qint8)


def close(model, *args, step, path=None):
    """The compiled model returns what the model does, up to a step."""
    compiled = fxonnx.compile(model, args)
    for _ in range(2):
        wanted, found = model(*args), compiled(*args)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert (found - wanted).abs().max() <= step * 1.001
    if path is not None:
        compiled.save(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        named = {each.name: x.numpy() for each, x in zip(session.get_inputs(), args, strict=True)}
        assert (torch.from_numpy(session.run(None, named)[0]) - wanted).abs().max() <= step * 1.001
    return compiled


CALLS = {
    "add": lambda q: ops.add(q, q, 0.07, 90),
    "add_relu": lambda q: ops.add_relu(q, q, 0.07, 0),
    "add of a number": lambda q: ops.add(q, q, 0.05, 90),
    "mul": lambda q: ops.mul(q, q, 0.1, 3),
    "mul_relu": lambda q: ops.mul_relu(q, q, 0.1, 3),
    "cat": lambda q: ops.cat([q, ops.add(q, q, 0.06, 80)], 1, 0.06, 90),
    "leaky_relu": lambda q: ops.leaky_relu(q, 0.1, False, 0.03, 50),
    "sigmoid": lambda q: ops.sigmoid(q, 0.01, 0),
    "hardswish": lambda q: ops.hardswish(q, 0.03, 20),
    "elu": lambda q: ops.elu(q, 0.03, 60, 1.0),
    "layer_norm": lambda q: ops.layer_norm(q, [9], WEIGHTS[:9], WEIGHTS[:9], 1e-5, 0.04, 100),
    "instance_norm": lambda q: ops.instance_norm(q, WEIGHTS[:4], WEIGHTS[:4], 1e-5, 0.04, 100),
    "relu": torch.relu,
    "relu6": lambda q: ops.relu6(q, False),
    "reshape": lambda q: q.flatten(1).reshape(2, -1, 4),
    "max_pool": lambda q: nn.functional.max_pool2d(q, 2),
    "avg_pool": lambda q: nn.functional.avg_pool2d(q, 2),
    "adaptive_avg_pool": lambda q: nn.functional.adaptive_avg_pool2d(q, 1),
    "mean": lambda q: q.mean((2, 3)),
    "upsample": lambda q: nn.functional.interpolate(q, scale_factor=2, mode="nearest"),
    "aten.sigmoid": torch.sigmoid,
    "hardtanh": lambda q: nn.functional.hardtanh(q, -0.5, 0.5),
    "chunk": lambda q: q.chunk(2, 1)[1],
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    result = CALLS[name](quint8(X))

    def model(x):
        return CALLS[name](quint8(x)).dequantize()

    close(model, X, step=result.q_scale())


@pytest.mark.parametrize("name", ["mul_scalar", "add_scalar", "mul_scalar_relu", "add_scalar_relu", "mul", "add_relu"])
@pytest.mark.parametrize("number", [0.7, -0.3, 0.0, 2, 9.0, -9.0])
@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
def test_numbers_move_the_steps(name, number, dtype):
    """The integers are eager's to the bit: only in requantizing, where 0 would lie beyond them, is one off by 1."""

    def model(x):
        q = torch.quantize_per_tensor(x, 0.03, 20, dtype)
        q = getattr(ops, name)(q, torch.tensor(number) if name == "mul_scalar" else number)
        return q.int_repr(), q.dequantize()

    compiled = fxonnx.compile(model, (X,))
    (integers, floats), (found_integers, found_floats) = model(X), compiled(X)
    off = (found_integers.int() - integers.int()).abs()
    assert off.max() <= (name.startswith("add") and abs(number) > 2)
    assert ((found_floats - floats).abs()[off == 0] <= 1e-6 * floats.abs().max()).all()


def test_what_a_tensor_is_made_of():
    compiled = fxonnx.compile(lambda x: (quint8(x).int_repr(), quint8(x).dequantize() * quint8(x).q_scale()), (X,))
    for found, wanted in zip(compiled(X), (quint8(X).int_repr(), quint8(X).dequantize() * 0.03), strict=True):
        torch.testing.assert_close(found, wanted)


def test_quantization_per_channel():
    scales, zeros = torch.rand(4) * 0.02 + 0.02, torch.tensor([0, 50, 100, 128])
    close(lambda x: torch.quantize_per_channel(x, scales, zeros, 1, torch.quint8).dequantize(), X, step=0)


LAYERS = {
    "conv1d": (nnq.Conv1d(4, 6, 3, padding=1, stride=2), X[:, :, 0]),
    "conv2d": (nnq.Conv2d(4, 6, 3, padding=1, groups=2, dilation=2), X),
    "conv3d": (nnq.Conv3d(4, 6, 2), torch.randn(1, 4, 4, 5, 6)),
    "conv_transpose1d": (nnq.ConvTranspose1d(4, 6, 3, stride=2), X[:, :, 0]),
    "conv_transpose2d": (nnq.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, padding=1), X),
    "linear": (nnq.Linear(9, 5), X),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, monkeypatch):
    monkeypatch.setattr(torch.backends.quantized, "engine", "fbgemm")  # onednn's transposed ones of one axis are wrong
    layer, x = LAYERS[name]
    numbers = torch.randn(layer.weight().shape).clamp(-1.2, 1.2) * 0.2  # in 7 bits: more overflow in torch without VNNI
    weight = torch.quantize_per_tensor(numbers, 0.004, 0, torch.qint8)
    layer.set_weight_bias(weight, torch.randn(6 if "conv" in name else 5))
    layer.scale, layer.zero_point = 0.05, 110

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(quint8(x)).dequantize()

    close(Model(), x, step=0.05)


class Residual(nn.Module):
    """Stubs, fused layers, a sum, pools and a classifier."""

    def __init__(self):
        super().__init__()
        self.into, self.out = quantization.QuantStub(), quantization.DeQuantStub()
        self.first = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.second, self.sum = nn.Conv2d(8, 8, 3, padding=1), nnq.FloatFunctional()
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(self.into(x))
        x = self.sum.add_relu(x, self.second(x))
        return self.out(self.last(self.pool(x).flatten(1)))


def converted(model, x, engine="x86"):
    model.eval()
    model.qconfig = quantization.get_default_qconfig(engine)
    model = quantization.fuse_modules(model, [["first.0", "first.1", "first.2"]])
    prepared = quantization.prepare(model)
    prepared(x)
    return quantization.convert(prepared), prepared


def test_a_converted_model(tmp_path):
    model, _ = converted(Residual(), X)
    compiled = close(model, X, step=2 * model.last.scale, path=tmp_path / "model.onnx")
    stored = {value.dtype.name for value in compiled.graph.constants() if value.type.size > 200}
    assert stored == {"uint8" if machines.overflows() else "int8"}


def test_layers_that_ask_whether_a_tensor_is_quantized_and_constants_that_are():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.elu, self.prelu = nnq.ELU(0.03, 60), nnq.PReLU(0.03, 100, 4)
            self.prelu.set_weight(quint8(torch.rand(4), 0.01, 0))
            self.constant = quint8(torch.randn(4, 1, 1), 0.02, 128)

        def forward(self, x):
            x = ops.add(self.prelu(self.elu(quint8(x))), self.constant, 0.05, 110)
            return (x.dequantize() if x.is_quantized else x * 2) + self.constant.dequantize()

    close(Model(), X, step=0.06)


@pytest.mark.parametrize("kind", [nn.Linear, nn.LSTM, nn.GRU])
def test_dynamic_models(kind, tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = (kind(8, 16), nn.Linear(16, 4))

        def forward(self, x):
            found = self.layer(x)
            return self.head(torch.relu(found[0] if isinstance(found, tuple) else found))

    model = torch.ao.quantization.quantize_dynamic(Model().eval(), {kind, nn.Linear}, dtype=torch.qint8)
    close(model, torch.randn(3, 2, 8), step=0.02, path=tmp_path / "model.onnx")


def test_embeddings():
    table, rows = nnq.Embedding(20, 8), torch.tensor([[1, 19], [3, 0]])
    close(table, rows, step=1e-6)
    bag = nnq.EmbeddingBag(20, 8, mode="sum", include_last_offset=True)
    close(lambda rows, offsets: bag(rows, offsets), rows.flatten(), torch.tensor([0, 1, 4]), step=1e-6)


def test_tables_of_four_bits():
    """Their scales are packed in half precision, from which torch adds up rows."""
    bag = nnq.EmbeddingBag(20, 8, mode="sum", include_last_offset=True, dtype=torch.quint4x2)
    scales, zeros = torch.rand(20) * 0.1 + 0.1, torch.rand(20) * 15
    bag.set_weight(torch.quantize_per_channel(torch.randn(20, 8), scales, zeros, 0, torch.quint4x2))
    rows = torch.tensor([1, 19, 3, 0])
    close(lambda rows, offsets: bag(rows, offsets), rows, torch.tensor([0, 1, 4]), step=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("dtype", [torch.qint8, torch.float16])
def test_cells(kind, dtype):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(6, 9)

        def forward(self, x):
            state = self.cell(x[0])
            for row in x[1:]:
                state = self.cell(row, state)
            return state[1] if isinstance(state, tuple) else state

    model = torch.ao.quantization.quantize_dynamic(Model().eval(), {kind}, dtype=dtype)
    close(model, torch.randn(3, 2, 6), step=1e-5)


def test_numbers_in_graph_mode():
    """There a scale is a tensor of the model's own."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 6, 3)

        def forward(self, x):
            return torch.relu(self.conv(x)) * 2 + 1

    prepared = quantize_fx.prepare_fx(Model().eval(), quantization.get_default_qconfig_mapping("fbgemm"), (X,))
    prepared(X)
    converted = quantize_fx.convert_fx(prepared)
    step = 2 * float(converted._scale_0)  # of the product; the sum needs wider ones, to hold a number more
    close(converted, X, step=step * (255 + round(1 / step)) / 255)


ARGUMENTS = {
    "relu": nn.ReLU(),
    "layer": nnq.Hardswish(0.05, 100),
    "moved": lambda x: x.transpose(1, 2).flatten(1),
    "sum": lambda x: ops.add(x, x, 0.07, 90),
    "dequantized": lambda x: x.dequantize() * 2 + x.q_scale(),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_quantized_arguments(name, tmp_path):
    """The file takes the floats that they stand for, of any size."""
    model = ARGUMENTS[name]
    compiled = fxonnx.compile(model, (quint8(X),), dynamic_shapes="auto")
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for x in (quint8(X), quint8(torch.randn(3, 4, 7, 8))):
        wanted = model(x)
        wanted, step = (wanted.dequantize(), wanted.q_scale()) if wanted.is_quantized else (wanted, 1e-6)
        (only,) = session.get_inputs()
        for found in (compiled(x), torch.from_numpy(session.run(None, {only.name: x.dequantize().numpy()})[0])):
            assert found.shape == wanted.shape
            assert (found - wanted).abs().max() <= step * 1.001


def test_quantized_arguments_in_a_structure_and_on_other_steps():
    def model(pair):
        return pair["x"].dequantize() + pair["others"][0].dequantize()

    def pair(scale):
        return {"x": quint8(X), "others": [quint8(X, scale)]}

    compiled = fxonnx.compile(model, (pair(0.1),))
    torch.testing.assert_close(compiled(pair(0.1)), model(pair(0.1)))
    for other in (pair(0.2), {"x": X, "others": [quint8(X, 0.1)]}):
        with pytest.raises(errors.CallMismatch):
            compiled(other)


def test_a_quantized_argument_that_is_written_to():
    with pytest.raises(errors.CaptureRefused, match="writes into a quantized argument"):
        fxonnx.compile(lambda x: x.relu_().dequantize(), (quint8(X),))
    compiled = fxonnx.compile(lambda x: x.clone().relu_().dequantize() + x.dequantize(), (quint8(X),))
    torch.testing.assert_close(compiled(quint8(X)), quint8(X).clone().relu_().dequantize() + quint8(X).dequantize())


WRITES = {
    "row copied": lambda a, x: a[0].copy_(int8(x[1])),
    "floats copied": lambda a, x: a.copy_(x + 1),
    "filled": lambda a, x: a.view(-1)[1:3].fill_(0.37),
    "activation": lambda a, x: a[1:].relu_(),
    "slope": lambda a, x: functional.leaky_relu_(a, 0.3),
    "masked": lambda a, x: a.masked_fill_(x > 0, 0.23),
    "floats set": lambda a, x: a.__setitem__(0, x[1] * 2),
    "transposed": lambda a, x: a.t()[1].relu_(),
    "chunk": lambda a, x: a.chunk(2)[1].fill_(0.5),
    "read through": lambda a, x: a.contiguous().fill_(1.0),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_through_views(name):
    """What is written is on the steps, and the tensor and its views show it."""

    def model(x):
        a = int8(x)
        b = a[:, 1:]
        WRITES[name](a, x)
        return a.dequantize(), b.dequantize(), a.int_repr()

    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "b"}})
    for x in (torch.randn(3, 4), 100 * torch.randn(5, 4)):
        for found, wanted in zip(compiled(x), model(x), strict=True):
            assert torch.equal(found, wanted)


def test_copies_between_other_steps():
    with pytest.raises(errors.CaptureRefused, match="of other steps"):
        fxonnx.compile(lambda x: int8(x).copy_(int8(x, 0.3)).dequantize(), (torch.randn(3, 4),))


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
def test_results_on_steps_of_their_own(dtype):
    def model(x):
        a = torch.quantize_per_tensor(x, 0.1, 1, dtype)
        found = [torch.sigmoid(a), torch.tanh(a), functional.hardsigmoid(a), functional.hardsigmoid(a.clone(), True)]
        return [each.int_repr() for each in found], [each.dequantize() for each in found], found[3].q_scale()

    compiled, x = fxonnx.compile(model, (torch.randn(3, 4),)), torch.randn(3, 4)
    torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=0)
    with pytest.raises(errors.CaptureRefused, match="shares memory"):
        fxonnx.compile(lambda x: functional.hardsigmoid(int8(x)[1:], True).dequantize(), (x,))
