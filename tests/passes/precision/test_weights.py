"""Precision on request: what is stored, what runs, and how far results are from the model's."""

import onnx
import onnxruntime
import pytest
import torch
from tests.lowering.support import operators
from torch import nn

import fxonnx
from fxonnx import machines

torch.manual_seed(0)
ERRORS = {"int8-dynamic": 0.03, "int8-weights": 0.02, "int4-weights": 0.2}  # relative, root mean square
DTYPES = {"int8-dynamic": "int8", "int8-weights": "int8", "int4-weights": "int4"}


class Decoder(nn.Module):
    """A table, two layers, and a head that is the table."""

    def __init__(self):
        super().__init__()
        self.table, self.first, self.second = nn.Embedding(100, 64), nn.Linear(64, 96), nn.Linear(96, 64, bias=False)
        self.head = nn.Linear(64, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens)
        return self.head(x + self.second(torch.relu(self.first(x))))


TOKENS = torch.randint(0, 100, (1, 5))


def apart(found, wanted):
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    return ((found - wanted).square().mean() / wanted.square().mean()).sqrt()


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize("optimize", [True, False])
def test_layers_and_tables_are_stored_in_few_bits(precision, optimize, tmp_path):
    model = Decoder().eval()
    sizes = {"tokens": {1: "length"}}
    compiled = fxonnx.compile(model, (TOKENS,), dynamic_shapes=sizes, precision=precision, optimize=optimize)
    for tokens in (TOKENS, TOKENS[:, :1], TOKENS.repeat(1, 3)):
        assert apart(compiled(tokens), model(tokens)) < ERRORS[precision]
    large = {value.dtype.name for value in compiled.graph.constants() if value.type.size > 1000}
    products = "uint8" if precision == "int8-dynamic" and machines.overflows() else DTYPES[precision]
    assert large == {products, "uint8" if precision == "int4-weights" else "int8"}  # the table, which is the head
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"tokens": TOKENS.numpy()})[0]), compiled(TOKENS))


@pytest.mark.parametrize("precision", ERRORS)
def test_a_matrix_of_two_axes(precision):
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 48, bias=False)).eval()
    x = torch.randn(7, 64)
    compiled = fxonnx.compile(model, (x,), precision=precision)
    assert apart(compiled(x), model(x)) < ERRORS[precision]
    assert "Gemm" not in operators(compiled)


def test_the_runtime_has_kernels_for_them(tmp_path):
    kernels = {"int8-dynamic": "DynamicQuantizeMatMul", "int8-weights": "MatMulNBits", "int4-weights": "MatMulNBits"}
    for precision, kernel in kernels.items():
        fxonnx.compile(Decoder(), (TOKENS,), precision=precision).save(tmp_path / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
        used = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
        assert used.count(kernel) == 3 and "MatMul" not in used


@pytest.mark.parametrize("precision", ["int8-weights", "int4-weights"])
def test_many_rows_are_multiplied_with_floats(precision, tmp_path):
    """The runtime makes floats of a weight once, when it loads the file; it would unpack it again for each row."""
    tokens = torch.randint(0, 100, (3, 8))
    model = Decoder().eval()
    few, many = (fxonnx.compile(model, (each,), precision=precision) for each in (tokens[:1], tokens))
    assert operators(few).count("DequantizeLinear") >= 2 and "DequantizeLinear" not in operators(many)
    large = {value.dtype.name for value in many.graph.constants() if value.type.size > 1000}
    assert large == {DTYPES[precision], "int8"}
    assert max(apart(many(tokens), model(tokens)), apart(few(tokens[:1]), model(tokens[:1]))) < ERRORS[precision]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimized.onnx"), 3
    many.save(tmp_path / "model.onnx")
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    used = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert not {"MatMulNBits", "DequantizeLinear"} & {*used}
    assert used.count("Mul") == 1, "of the rows of the table: weights are scaled when the file is loaded"


@pytest.mark.parametrize("name", ["head", "first"])
def test_layers_that_are_kept(name):
    compiled = fxonnx.compile(Decoder(), (TOKENS,), precision=fxonnx.int4_weights(block=16, keep=[name]))
    assert sum(value.dtype.name == "int4" for value in compiled.graph.constants()) == (2 if name == "head" else 1)
    assert ("com.microsoft::GatherBlockQuantized" in operators(compiled)) is (name != "head")


class Tied(nn.Module):
    """A table that is read twice, and is a head with a bias."""

    def __init__(self, size=64):
        super().__init__()
        self.table, self.inner = nn.Embedding(300, size), nn.Linear(size, size)
        self.bias = nn.Parameter(torch.randn(300))

    def forward(self, tokens):
        x = self.table(tokens) + self.table(tokens.flip(1))
        return nn.functional.linear(x + torch.tanh(self.inner(x)), self.table.weight, self.bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("block", [16, 32])
def test_a_table_that_is_a_head_is_stored_once(dtype, block, tmp_path):
    model, tokens = Tied().eval().to(dtype), torch.randint(0, 300, (2, 5))
    sizes, precision = {"tokens": {0: "batch", 1: "length"}}, fxonnx.int4_weights(block=block)
    compiled = fxonnx.compile(model, (tokens,), dynamic_shapes=sizes, precision=precision)
    older = fxonnx.Target.onnxruntime("1.20", opset=21)
    apart_from_head = fxonnx.compile(model, (tokens,), dynamic_shapes=sizes, precision=precision, target=older)
    assert operators(compiled).count("com.microsoft::GatherBlockQuantized") == 2
    assert "com.microsoft::GatherBlockQuantized" not in operators(apart_from_head)
    for each in (tokens, tokens[:1, :1], torch.randint(0, 300, (3, 9))):
        wanted = model(each)
        assert apart(compiled(each), wanted) < 0.2
        assert apart(compiled(each), apart_from_head(each)) < 0.15  # whose table has eight bits
    for name, each in (("once", compiled), ("twice", apart_from_head)):
        each.save(tmp_path / name)
    saved = (tmp_path / "twice").stat().st_size - (tmp_path / "once").stat().st_size
    assert saved > 0.9 * 300 * 64
    session = onnxruntime.InferenceSession(tmp_path / "once", providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"tokens": tokens.numpy()})[0])
    torch.testing.assert_close(found, compiled(tokens))


def test_tables_that_no_block_divides_and_heads_of_many_rows():
    tokens = torch.randint(0, 300, (4, 5))
    for size, many in ((72, False), (64, True)):
        model, dims = Tied(size).eval(), None if many else {"tokens": {1: "length"}}
        compiled = fxonnx.compile(model, (tokens,), dynamic_shapes=dims, precision="int4-weights")
        assert "com.microsoft::GatherBlockQuantized" not in operators(compiled)
        assert apart(compiled(tokens), model(tokens)) < 0.2


def test_weights_of_eight_bits_are_verified():
    model, x = nn.Linear(64, 48).eval(), torch.randn(2, 64)
    assert fxonnx.compile(model, (x,), precision="int8-weights").verify().ok


def test_weights_that_a_model_casts_itself():
    weight, scale = torch.randint(-127, 128, (48, 64), dtype=torch.int8), torch.rand(48) * 0.01
    x = torch.randn(1, 64)
    compiled = fxonnx.compile(lambda x: (x @ weight.T.to(x.dtype)) * scale, (x,), verify=True)
    assert operators(compiled) == ["DequantizeLinear", "MatMul"]


@pytest.mark.parametrize("target", [None, fxonnx.Target.onnx()])
def test_layers_of_16_bits(target):
    model = Decoder().eval().half()
    compiled = fxonnx.compile(model, (TOKENS,), precision="int4-weights", target=target)
    assert apart(compiled(TOKENS), model(TOKENS)) < ERRORS["int4-weights"]
    assert sum(value.dtype.name == "int4" for value in compiled.graph.constants()) == (3 if target else 2)


def test_a_block_that_does_not_divide_leaves_the_layer():
    model, x = nn.Linear(72, 48), torch.randn(3, 72)
    compiled = fxonnx.compile(model, (x,), precision="int4-weights")
    torch.testing.assert_close(compiled(x), model(x))


def test_what_is_no_precision():
    for wrong in ("int3", 8, "float8"):
        with pytest.raises(fxonnx.errors.InvalidOption, match="precision is"):
            fxonnx.compile(nn.Linear(4, 4), (torch.randn(1, 4),), precision=wrong)
    with pytest.raises(fxonnx.errors.InvalidOption, match="int4 cannot be written in opset 17"):
        fxonnx.compile(nn.Linear(64, 64), (torch.randn(1, 64),), precision="int4-weights", opset=17)
    with pytest.raises(fxonnx.errors.InvalidOption, match="block is 24"):
        fxonnx.int4_weights(block=24)
    with pytest.raises(fxonnx.errors.InvalidOption, match="keep is"):
        fxonnx.int8_weights(keep="lm_head")
