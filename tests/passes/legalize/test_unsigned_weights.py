"""What `unsigned_weights` is for: products of the largest bytes, in a bare session; their sums need 17 bits."""

from pathlib import Path

import onnxruntime
import pytest
import torch
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn

import fxonnx
from fxonnx import Target

Q = torch.ops.quantized_decomposed
OLDER = [Target.onnxruntime(opset=opset) for opset in (9, 10, 12)]
RUNTIMES = [Target.onnxruntime(), Target.onnxruntime("1.17"), *OLDER]
WIDE = torch.full((2, 8, 6, 6), 255.0)


class Layer(nn.Module):
    """A layer between integers of a quantizer: all of them as large as they can be."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype, per_channel: bool) -> None:
        super().__init__()
        self.layer, self.channels = layer, per_channel
        ends = torch.iinfo(dtype)
        self.range = (ends.min, ends.min, ends.max, dtype)  # 0 is the least of the activations
        self.register_buffer("weight", torch.full(layer.weight.shape, 127, dtype=torch.int8))
        self.register_buffer("scales", torch.full((layer.weight.shape[0],), 2.0**-7))
        self.register_buffer("zeros", torch.zeros(layer.weight.shape[0], dtype=torch.int64))

    def on_steps(self, x: Tensor, scale: float) -> Tensor:
        zero, *ends = self.range
        return Q.dequantize_per_tensor(Q.quantize_per_tensor(x, scale, zero, *ends), scale, zero, *ends)

    def forward(self, x: Tensor) -> Tensor:
        ends = -127, 127, torch.int8
        weight = (Q.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, *ends) if self.channels
                  else Q.dequantize_per_tensor(self.weight, 2.0**-7, 0, *ends))  # fmt: skip
        found = torch.func.functional_call(self.layer, {"weight": weight}, (self.on_steps(x, 1.0),))
        return self.on_steps(found, 256.0)


def in_a_bare_session(compiled: fxonnx.Compiled, x: Tensor, path: Path) -> Tensor:
    compiled.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("target", [*RUNTIMES, Target.onnx(), Target.onnx(13)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8], ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_static(kind: str, per_channel: bool, dtype: torch.dtype, target: Target, tmp_path: Path) -> None:
    layer, x = (nn.Conv2d(8, 4, 3), WIDE) if kind == "convolution" else (nn.Linear(64, 4), torch.full((3, 64), 255.0))
    model = Layer(layer, dtype, per_channel).eval()
    compiled = fxonnx.compile(model, (x,), target=target)
    wanted = model(x)
    assert wanted.max() > 10_000
    torch.testing.assert_close(in_a_bare_session(compiled, x, tmp_path / "model.onnx"), wanted)


@pytest.mark.parametrize("precision", ["int8-dynamic", fxonnx.int8_static([torch.ones(1, 64)])], ids=str)
@pytest.mark.parametrize("optimize", [False, True])
def test_on_request(precision: object, optimize: bool, tmp_path: Path) -> None:
    model = nn.Linear(64, 32)
    nn.init.ones_(model.weight)
    x = torch.ones(1, 64)
    compiled = fxonnx.compile(model, (x,), precision=precision, optimize=optimize)
    torch.testing.assert_close(in_a_bare_session(compiled, x, tmp_path / "model.onnx"), model(x), rtol=1e-3, atol=1e-3)


def test_runtimes_that_want_them_signed_get_them_so() -> None:
    model = Layer(nn.Linear(64, 4), torch.int8, False).eval()
    x = torch.full((3, 64), 127.0)
    compiled = fxonnx.compile(model, (x,), target=Target.tensorrt())
    torch.testing.assert_close(compiled(x), model(x))
    assert {value.dtype.name for value in compiled.graph.constants() if value.type.size > 64} == {"int8"}
