"""Quantization: pairs of QuantizeLinear and DequantizeLinear, and their ranges."""

import copy
from math import inf, prod

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.ao.quantization.fx._decomposed
from tests.lowering.support import check, operators
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules_qat, get_default_qat_qconfig, prepare_qat

import fxonnx
from fxonnx import machines

torch.manual_seed(0)
Q = torch.ops.quantized_decomposed
X = torch.linspace(-8, 8, 60).reshape(3, 4, 5) + 0.01  # no value in the middle between two steps

RANGES = {
    "int8": (torch.int8, -128, 127, 3),
    "int8 symmetric": (torch.int8, -127, 127, 0),
    "int4 in int8": (torch.int8, -8, 7, -1),
    "uint8": (torch.uint8, 0, 255, 120),
    "uint8 reduced": (torch.uint8, 0, 127, 60),
    "int16": (torch.int16, -32768, 32767, 0),
    "int32": (torch.int32, -(2**20), 2**20, 0),
    "int32 with a zero point": (torch.int32, -1000, 1000, 5),
}


@pytest.mark.parametrize("name", RANGES)
def test_per_tensor(name):
    dtype, low, high, zero = RANGES[name]

    def function(x):
        q = Q.quantize_per_tensor(x, 0.05, zero, low, high, dtype)
        return q, Q.dequantize_per_tensor(q, 0.05, zero, low, high, dtype)

    compiled = check(function, X)
    assert ("QuantizeLinear" in operators(compiled)) == (dtype is not torch.int32)


@pytest.mark.parametrize("name", ["int8", "int8 symmetric", "uint8 reduced", "int32 with a zero point"])
def test_parameters_that_are_tensors(name):
    dtype, low, high, zero = RANGES[name]

    def function(x, scale, zero):
        q = Q.quantize_per_tensor.tensor(x, scale, zero, low, high, dtype)
        return q, Q.dequantize_per_tensor.tensor(q, scale, zero, low, high, dtype, out_dtype=torch.float32)

    check(function, X, torch.tensor(0.05), torch.tensor(zero))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["int8", "int8 symmetric", "uint8", "int32 with a zero point"])
def test_per_channel(name, axis):
    dtype, low, high, zero = RANGES[name]
    count = X.shape[axis]
    scales, zeros = torch.linspace(0.04, 0.09, count), torch.arange(count) + zero

    def function(x):
        q = Q.quantize_per_channel(x, scales, zeros, axis % 3, low, high, dtype)
        return q, Q.dequantize_per_channel(q, scales, zeros, axis % 3, low, high, dtype)

    check(function, X)


def test_without_zero_points():
    q = torch.randint(-128, 127, (4, 6), dtype=torch.int8)
    scales = torch.rand(4) + 0.1
    check(lambda q: Q.dequantize_per_channel(q, scales, None, 0, -128, 127, torch.int8), q)


def test_groups():
    q, scales = torch.randint(-8, 7, (4, 64), dtype=torch.int8), torch.rand(4, 2) + 0.1
    zeros = torch.zeros(4, 2, dtype=torch.int8)
    check(lambda q: Q.dequantize_per_channel_group(q, scales, zeros, -8, 7, torch.int8, 32, torch.float32), q)


def test_per_token():
    def function(x, scales, zeros):
        q = Q.quantize_per_token(x, scales, zeros, -128, 127, torch.int8)
        return q, Q.dequantize_per_token(q, scales, zeros, -128, 127, torch.int8, torch.float32)

    check(function, X, torch.rand(3, 4, 1) + 0.1, torch.ones(3, 4, 1, dtype=torch.int64))


@pytest.mark.parametrize("offset", [0.0, 10.0, -10.0])
def test_dynamic_quantization(offset):
    def function(x):
        scale, zero = Q.choose_qparams.tensor(x, 0, 255, 1e-5, torch.uint8)
        q = Q.quantize_per_tensor.tensor(x, scale, zero, 0, 255, torch.uint8)
        return scale, zero, Q.dequantize_per_tensor.tensor(q, scale, zero, 0, 255, torch.uint8)

    check(function, X + offset, dynamic={"x": {0: "n"}}, again=(X[:2] * 3,), rtol=1e-5, atol=1e-5)


def test_symmetric_dynamic_quantization():
    check(lambda x: Q.choose_qparams_symmetric.tensor(x, -128, 127, 1e-5, torch.int8), X, rtol=1e-6, atol=1e-6)


FAKE = {
    "int8": (-128, 127, 2),
    "uint8": (0, 255, 100),
    "uint8 reduced": (0, 127, 60),
    "int4": (-8, 7, 0),
    "wide": (0, 1000, 500),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("name", FAKE)
def test_fake_quantization(name, dtype):
    low, high, zero = FAKE[name]
    scales, zeros = torch.linspace(0.04, 0.09, 4), torch.full((4,), zero, dtype=torch.int32)

    def function(x):
        return (
            torch.fake_quantize_per_tensor_affine(x, 0.05, zero, low, high),
            torch.fake_quantize_per_tensor_affine(x, scales[0], zeros[0], low, high),
            torch.fake_quantize_per_channel_affine(x, scales, zeros, 1, low, high),
        )

    again = (X[:2].to(dtype),)
    check(function, X.to(dtype), dynamic={"x": {0: "n"}}, again=again, rtol=1e-5, atol=1e-5)


# ── models: integers where the runtime has kernels for them ──


class Quantized(torch.nn.Module):
    """A classifier as quantizers write it: pairs around each layer, weights in int8 with a scale per channel."""

    def __init__(self, dtype=torch.int8, dynamic=False):
        super().__init__()
        self.range = (-128, 127, torch.int8) if dtype is torch.int8 else (0, 255, torch.uint8)
        self.zero, self.dynamic = (-128, 0)[dtype is torch.uint8], dynamic
        for name, shape in {"first": (8, 3, 3, 3), "second": (8, 8, 3, 3), "last": (5, 8)}.items():
            self.register_buffer(name, torch.randint(-127, 128, shape, dtype=torch.int8))
            self.register_buffer(f"{name}_scale", torch.rand(shape[0]) * 0.002 + 0.001)
            self.register_buffer(f"{name}_zero", torch.zeros(shape[0], dtype=torch.int64))
            self.register_parameter(f"{name}_bias", torch.nn.Parameter(torch.randn(shape[0])))

    def pair(self, x, scale, zero=None):
        if self.dynamic:
            scale, zero = Q.choose_qparams.tensor(x, self.range[0], self.range[1], 1e-6, self.range[2])
            q = Q.quantize_per_tensor.tensor(x, scale, zero, *self.range)
            return Q.dequantize_per_tensor.tensor(q, scale, zero, *self.range)
        zero = self.zero if zero is None else zero + self.zero
        q = Q.quantize_per_tensor(x, scale, zero, *self.range)
        return Q.dequantize_per_tensor(q, scale, zero, *self.range)

    def weight(self, name):
        scale, zero = getattr(self, f"{name}_scale"), getattr(self, f"{name}_zero")
        return Q.dequantize_per_channel(getattr(self, name), scale, zero, 0, -127, 127, torch.int8)

    def forward(self, x):
        x = torch.nn.functional.conv2d(self.pair(x, 0.03, 120), self.weight("first"), self.first_bias)
        x = self.pair(torch.relu(x), 0.05)
        x = self.pair(torch.nn.functional.max_pool2d(x, 2), 0.05)
        x = torch.nn.functional.conv2d(x, self.weight("second"), self.second_bias)
        x = self.pair(torch.nn.functional.hardtanh(x, 0.0, 6.0), 0.02)
        return torch.nn.functional.linear(self.pair(x.mean((2, 3)), 0.03), self.weight("last"), self.last_bias)


INTEGER_PRODUCT = "com.microsoft::MatMulIntegerToFloat"
WEIGHT = "uint8" if machines.overflows() else "int8"
STEP = 0.05 * 0.003 * 127  # what one step of an activation makes in a result


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8], ids=str)
@pytest.mark.parametrize("dynamic", [False, True])
def test_models_run_in_integers(dtype, dynamic):
    model = Quantized(dtype, dynamic)
    compiled = check(model, torch.randn(2, 3, 12, 12), rtol=0, atol=STEP)
    names = operators(compiled)
    assert ("MatMulInteger" if dynamic else INTEGER_PRODUCT) in names
    assert dynamic or not {"Clip", "Relu", "If", "Transpose"} & set(names)
    weights = {value.dtype.name for value in compiled.graph.constants() if value.type.size > 100}
    assert dynamic or weights == {WEIGHT}  # a convolution without integers behind has small weights folded


@pytest.mark.parametrize("zero", [0, 60])
def test_a_convolution_that_a_residual_is_added_to(zero):
    weight, scales = torch.randint(-127, 128, (8, 8, 3, 3), dtype=torch.int8), torch.rand(8) * 0.002 + 0.001
    rows, step = torch.zeros(8, dtype=torch.int64), 0.05

    def on_steps(x, zero):
        steps = Q.quantize_per_tensor(x, step, zero, 0, 255, torch.uint8)
        return Q.dequantize_per_tensor(steps, step, zero, 0, 255, torch.uint8)

    def function(x):
        x = on_steps(x, 128)
        kernel = Q.dequantize_per_channel(weight, scales, rows, 0, -127, 127, torch.int8)
        return on_steps(torch.nn.functional.conv2d(x, kernel, padding=1) + x, zero)

    compiled = check(function, torch.randn(2, 8, 6, 6) * 3, rtol=0, atol=step * 1.01)
    assert operators(compiled).count("QuantizeLinear") == 3  # behind the convolution, too: an integer kernel


def test_standard_files_keep_the_pairs():
    compiled = check(Quantized(), torch.randn(2, 3, 12, 12), rtol=0, atol=STEP, opset=17)
    assert INTEGER_PRODUCT in operators(compiled)
    compiled = fxonnx.compile(Quantized(), (torch.randn(2, 3, 12, 12),), target=fxonnx.Target.onnx(17))
    assert "MatMulInteger" not in operators(compiled)


def test_activations_of_16_bits_keep_them():
    weight, scales = torch.randint(-127, 128, (32, 64), dtype=torch.int8), torch.rand(32) * 0.002 + 0.001
    ends = -(2**15), 2**15 - 1, torch.int16

    def function(x):
        x = Q.dequantize_per_tensor(Q.quantize_per_tensor(x, 2.0**-12, 0, *ends), 2.0**-12, 0, *ends)
        rows = torch.zeros(32, dtype=torch.int64)
        return torch.nn.functional.linear(x, Q.dequantize_per_channel(weight, scales, rows, 0, -127, 127, torch.int8))

    check(function, torch.randn(4, 64), rtol=0, atol=2.0**-12)


@pytest.mark.parametrize("opset", [9, 13])
def test_steps_are_granted_where_the_file_has_no_operator_for_them(opset):
    compiled = fxonnx.compile(Quantized(), (torch.randn(2, 3, 12, 12),), opset=opset)
    assert opset > 9 or "QuantizeLinear" not in operators(compiled)
    compiled.verify().check()


def test_rows_of_a_table_are_dequantized_alone():
    table, scales = torch.randint(-127, 128, (40, 8), dtype=torch.int8), torch.rand(40) + 0.1
    zeros = torch.zeros(40, dtype=torch.int64)

    def function(rows):
        return Q.dequantize_per_channel(table, scales, zeros, 0, -127, 127, torch.int8)[rows]

    assert "DequantizeLinear" not in operators(check(function, torch.tensor([[1, 39], [0, 7]])))


@pytest.mark.parametrize("opset", [9, 13, 20, 21])
@pytest.mark.parametrize("name", ["int16", "uint16", "int8"])
def test_wider_steps_at_older_opsets(name, opset):
    low, high = (torch.iinfo(getattr(torch, name)).min, torch.iinfo(getattr(torch, name)).max)
    zero, scale = high // 3, 8.0 / (high - low)

    def function(x):
        q = Q.quantize_per_tensor(x, scale, zero, low, high, getattr(torch, name))
        return Q.dequantize_per_tensor(q, scale, zero, low, high, getattr(torch, name))

    check(function, torch.randn(4, 50) * 3, rtol=0, atol=scale * 1.01, opset=opset)


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_older_opsets(opset):
    q, scales = torch.randint(-8, 7, (4, 64), dtype=torch.int8), torch.rand(4, 2) + 0.1
    zeros, rows = torch.ones(4, 2, dtype=torch.int8), torch.tensor([3, 0, -2, 1])

    def function(q, x):
        groups = Q.dequantize_per_channel_group(q, scales, zeros, -8, 7, torch.int8, 32, torch.float32)
        steps = Q.quantize_per_channel(x, scales[:, 0], rows, 0, -128, 127, torch.int8)
        return groups, Q.dequantize_per_channel(steps, scales[:, 0], rows, 0, -128, 127, torch.int8)

    check(function, q, torch.randn(4, 5), opset=opset)


def test_products_of_integers():
    a, b = (torch.randint(-128, 128, shape, dtype=torch.int8) for shape in ((20, 24), (24, 16)))
    check(lambda a: torch._int_mm(a, b), a, dynamic={"a": {0: "n"}}, again=(a[:18],))


def test_weights_of_a_prepared_model_are_stored_in_integers():
    weight, scales, zeros = torch.randn(64, 48), torch.rand(64) * 0.01 + 0.02, torch.zeros(64, dtype=torch.int32)

    def function(x):
        x = torch.fake_quantize_per_tensor_affine(x, 0.05, 128, 0, 255)
        return x @ torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -128, 127).T

    compiled = check(function, torch.randn(4, 48), rtol=1e-5, atol=1e-4)
    assert [value.dtype.name for value in compiled.graph.constants() if value.type.size > 1000] == [WEIGHT]
    assert INTEGER_PRODUCT in operators(compiled)


OBSERVED = {
    "nothing seen": (inf, -inf),
    "around 0": (-1.3, 2.1),
    "above 0": (0.4, 2.0),
    "below 0": (-2.0, -0.1),
    "0 alone": (0.0, 0.0),
    "hardly anything": (-1e-6, 3e-6),
    "hardly anything above 0": (0.0, 1e-6),
    "hardly anything below 0": (-1e-6, 0.0),
    "next to nothing": (0.0, 1e-42),
}


@pytest.mark.parametrize("name", OBSERVED)
@pytest.mark.parametrize("flags", [(1, 1), (0, 1), (1, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("ends", [(-128, 127), (0, 127)], ids=str)
def test_a_range_that_follows_what_is_seen(name, flags, symmetric, rows, ends):
    low, high = OBSERVED[name]
    if not flags[0] and low > high:
        pytest.skip("torch refuses the range")
    state = [torch.full((3 if rows else 1,), each) for each in (low, high, 1.0)]
    state.append(torch.zeros(3 if rows else 1, dtype=torch.int32))
    on = [torch.tensor([each], dtype=torch.uint8) for each in flags]
    rate = 0.01 if "hardly" not in name else 0.0

    def function(x, low, high, scale, zero):
        found, _, *after = torch.ops.aten._fused_moving_avg_obs_fq_helper_functional(
            x, *on, low, high, scale, zero, rate, *ends, 0, rows, symmetric
        )
        return found, *after

    check(function, torch.randn(3, 4, 5), *state)


@pytest.mark.parametrize("dynamic", [None, {"x": {0: "n"}}])
def test_a_prepared_model_whose_observers_are_on(dynamic):
    model = fuse_modules_qat(Classifier().train(), [["conv", "norm", "relu"]])
    model.qconfig = get_default_qat_qconfig("x86")
    prepared = prepare_qat(model)
    prepared(torch.randn(2, 3, 8, 8))
    prepared.eval()
    eager, x = copy.deepcopy(prepared), torch.randn(2, 3, 8, 8)
    compiled = fxonnx.compile(prepared, (x,), dynamic_shapes=dynamic)
    for scale in (1, 3, 0.5):
        torch.testing.assert_close(compiled(x * scale), eager(x * scale))
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(prepared.state_dict()[name], value)


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.quantize, self.dequantize = QuantStub(), DeQuantStub()
        self.conv, self.norm, self.relu = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        self.last = torch.nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(self.quantize(x))))
        return self.dequantize(self.last(x.mean((2, 3))))


class StoredInBlocks(torch.nn.Module):
    """A linear layer with its weight in blocks of int8, as torchao's weight-only formats compute it."""

    def __init__(self, highest, blocks, zero):
        super().__init__()
        size = 64, *blocks, 64 // prod(blocks)
        self.q = torch.nn.Buffer(torch.randint(-highest - 1, highest + 1, size, dtype=torch.int8))
        self.zero = torch.nn.Buffer(torch.randint(-zero, zero + 1, (64, *blocks, 1), dtype=torch.int8))
        self.scale = torch.nn.Buffer(torch.rand(64, *blocks, 1) * 0.01)

    def forward(self, x):
        weight = (self.q.float() - self.zero.float()) * self.scale
        return torch.nn.functional.linear(x, weight.reshape(64, 64))


@pytest.mark.parametrize(("highest", "stored"), [(7, "int4"), (127, "int8")])
@pytest.mark.parametrize("blocks", [(), (4,)], ids=["rows", "blocks"])
@pytest.mark.parametrize("zero", [0, 3])
def test_weights_in_few_bits_stay_so(highest, stored, blocks, zero):
    model, x = StoredInBlocks(highest, blocks, zero), torch.randn(5, 64)
    for target in (fxonnx.Target.onnx(), fxonnx.Target.onnxruntime()):
        compiled = fxonnx.compile(model, (x,), dynamic_shapes={"x": {0: "n"}}, target=target)
        assert [each.dtype.name for each in compiled.graph.constants() if each.type.size > 1000] == [stored]
        assert operators(compiled)[:2] == ["DequantizeLinear", "MatMul"]
        for rows in (5, 1, 30):
            y = torch.randn(rows, 64)
            torch.testing.assert_close(compiled(y), model(y), rtol=0.02, atol=0.02 * float(model(y).abs().max()))


class ReadInFloats(torch.nn.Module):
    """Integers with steps for each row or block, added, compared, and on the left of products."""

    def __init__(self, highest, blocks):
        super().__init__()
        shape = (32, *blocks, 64 // prod(blocks))
        weight = torch.randint(-highest, highest + 1, shape, dtype=torch.int8)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.scales = torch.nn.Parameter(torch.rand(*shape[:-1], 1) * 0.01)

    def forward(self, x):
        floats = (self.weight.float() * self.scales).reshape(32, 64)
        return floats @ x, floats + x.mT, (floats > x.mT).float(), floats.softmax(0) @ x


@pytest.mark.parametrize("blocks", [(), (4,)], ids=["rows", "blocks"])
@pytest.mark.parametrize("highest", [7, 127])
def test_weights_that_no_kernel_takes(highest, blocks):
    check(ReadInFloats(highest, blocks).eval(), torch.randn(64, 32))



@pytest.mark.parametrize("opset", [9, 13, 20])
@pytest.mark.parametrize("blocks", [(), (4,)], ids=["rows", "blocks"])
def test_weights_in_few_bits_at_older_opsets(blocks, opset):
    check(StoredInBlocks(7, blocks, 3), torch.randn(5, 64), opset=opset, dynamic={"x": {0: "n"}})


# ── products of uint8 with int8, which overflow in 16 bits on x86 without VNNI ──

LARGE = torch.randint(100, 128, (24, 16), dtype=torch.int8) * torch.tensor([1, -1], dtype=torch.int8).repeat(8)
COLUMNS = torch.full((16,), 0.01), torch.zeros(16, dtype=torch.int32)


def on_bytes(x, scale=0.01, zero=3):
    q = Q.quantize_per_tensor(x, scale, zero, 0, 255, torch.uint8)
    return Q.dequantize_per_tensor(q, scale, zero, 0, 255, torch.uint8)


def in_rows(x):
    return on_bytes(x) @ Q.dequantize_per_channel(LARGE, *COLUMNS, 1, -127, 127, torch.int8)


def turned(x):
    weight = Q.dequantize_per_channel(LARGE.T.contiguous(), *COLUMNS, 0, -127, 127, torch.int8)
    return torch.nn.functional.linear(on_bytes(x), weight)


def in_images(x):
    weight = Q.dequantize_per_channel(LARGE.T.reshape(16, 24, 1, 1), *COLUMNS, 0, -127, 127, torch.int8)
    return on_bytes(torch.nn.functional.conv2d(on_bytes(x[:, :, None, None]), weight), 1.0, 128)


def steps_of_the_call(x):
    steps = Q.choose_qparams(x, 0, 255, 1e-9, torch.uint8)
    return on_bytes(x, *steps) @ Q.dequantize_per_channel(LARGE, *COLUMNS, 1, -127, 127, torch.int8)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("function", [in_rows, turned, in_images, steps_of_the_call], ids=lambda each: each.__name__)
def test_products_that_do_not_fit_in_16_bits(function, optimize, tmp_path):
    x, step = torch.rand(5, 24) * 0.5 + 2, 1.0 if function is in_images else 0.0
    compiled = fxonnx.compile(function, (x,), optimize=optimize)
    torch.testing.assert_close(compiled(x), function(x), rtol=1e-5, atol=step + 1e-3)
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], function(x), rtol=1e-5, atol=step + 1e-3)


@pytest.mark.parametrize(("overflows", "dtype"), [(True, "uint8"), (False, "int8")])
@pytest.mark.parametrize("function", [in_rows, in_images, steps_of_the_call], ids=lambda each: each.__name__)
def test_where_they_overflow_weights_are_unsigned(function, overflows, dtype, monkeypatch):
    monkeypatch.setattr(machines, "overflows", lambda: overflows)
    compiled = fxonnx.compile(function, (torch.rand(5, 24),))
    assert [value.dtype.name for value in compiled.graph.constants() if value.type.size > 100] == [dtype]
    assert any("unsigned_weights" in node.location.rules for node in compiled.graph.nodes) is overflows


def test_whether_they_overflow_is_what_the_runtime_does():
    x, w = np.full((1, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    text = """<ir_version: 10, opset_import: ["" : 20]>
        product (uint8[1, 64] x, int8[64, 16] w) => (int32[1, 16] y) { y = MatMulInteger(x, w) }"""
    model = onnx.parser.parse_model(text)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x, "w": w})
    assert machines.overflows() or np.array_equal(found, x.astype(int) @ w.astype(int))
