"""Adapters: weights that stay inputs of a file, with their values for defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors


class LoRA(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(48, 48)
        self.lora_A, self.lora_B = nn.Linear(48, 4, bias=False), nn.Linear(4, 48, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_B(self.lora_A(x)) * 0.5


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = LoRA(), LoRA()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


X = torch.randn(3, 5, 48)
NAMES = [f"{layer}.lora_{side}.weight" for layer in ("first", "second") for side in "AB"]


def run(path: Path, x: Tensor = X, **adapters: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["x"]
    named = {each.name for each in session.get_overridable_initializers()}
    assert set(NAMES) <= named
    given = {"x": x.numpy(), **{name: each.numpy() for name, each in adapters.items()}}
    return torch.from_numpy(session.run(None, given)[0])


@pytest.mark.parametrize("weights", ["inline", "external", "safetensors"])
@pytest.mark.parametrize("target", [None, fxonnx.Target.onnx(17)], ids=["runtime", "standard"])
def test_defaults_and_others(tmp_path: Path, weights: str, target: Any) -> None:
    model, other = Network().eval(), Network().eval()
    compiled = fxonnx.compile(model, X, adapters=["*.lora_?.*"], target=target, dynamic_shapes={"x": {1: "length"}})
    torch.testing.assert_close(compiled(X), model(X))
    assert compiled.verify().ok and compiled.locate(X).first is None
    compiled.save(tmp_path / "m.onnx", weights=weights)
    torch.testing.assert_close(run(tmp_path / "m.onnx"), model(X))
    torch.testing.assert_close(fxonnx.load(tmp_path / "m.onnx")(X), model(X))
    adapters = {name: each for name, each in other.state_dict().items() if name in NAMES}
    model.load_state_dict(adapters, strict=False)
    torch.testing.assert_close(run(tmp_path / "m.onnx", **adapters), model(X))
    torch.testing.assert_close(fxonnx.load(tmp_path / "m.onnx").run({"x": X, **adapters})["output"], model(X))
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    torch.testing.assert_close(compiled.rebind()(X), model(X))
    compiled.save(tmp_path / "m.onnx", weights=weights)
    torch.testing.assert_close(run(tmp_path / "m.onnx"), model(X))


def test_a_name_alone_and_the_rest_is_one_layer() -> None:
    model = Network().eval()
    compiled = fxonnx.compile(model, X, adapters=["first.lora_A.weight", "first.lora_B.weight"])
    names = [each.name for each in compiled.model_proto().graph.input]
    assert names == ["x", "first.lora_A.weight", "first.lora_B.weight"]
    assert sum(node.op in ("MatMul", "Gemm") for node in compiled.graph.nodes) == 4


class Gain(nn.Module):
    """A small one, which is read twice, and whose value rules would look at."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain + self.gain.exp()


def test_a_number(tmp_path: Path) -> None:
    compiled = fxonnx.compile(Gain(), X, adapters=["gain"])
    compiled.save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": X.numpy(), "gain": torch.tensor(2.0).numpy()})
    torch.testing.assert_close(torch.from_numpy(found), X * 2 + torch.tensor(2.0).exp())
    (found,) = session.run(None, {"x": X.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), Gain()(X))


class Decided(Gain):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain if self.gain > 0 else x


class Chosen(nn.Module):
    """Columns by numbers, whose sums are sizes to whoever looks at them."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.tensor([1, 0, 2]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., torch.cat([self.places + 1, self.places])]


class OnSteps(nn.Module):
    """Rounded to steps, whose zero point a pass would move."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.05), requires_grad=False)
        self.zero = nn.Parameter(torch.tensor(3, dtype=torch.int32), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(10 * x, self.scale, self.zero, -128, 127)


class Clipped(nn.Module):
    """Between numbers that were attributes once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(max=self.most)


@pytest.mark.parametrize("opset", [None, 10])
@pytest.mark.parametrize("model", [Chosen(), OnSteps(), Clipped()], ids=["indices", "steps", "bounds"])
def test_nothing_is_made_of_numbers(model: nn.Module, opset: int | None, tmp_path: Path) -> None:
    names = [name for name, _ in model.named_parameters()]
    compiled = fxonnx.compile(model, X, adapters=names, opset=opset)
    compiled.save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    others = {name: each.detach() + 20 * (each.dim() == 0) + 1 for name, each in model.named_parameters()}
    given = {"x": X.numpy(), **{name: each.numpy() for name, each in others.items()}}
    expected = torch.func.functional_call(model, others, X)
    torch.testing.assert_close(torch.from_numpy(session.run(None, given)[0]), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_16_bits(dtype: torch.dtype) -> None:
    model = Network().eval().to(dtype)
    compiled = fxonnx.compile(model, X.to(dtype), adapters=["*.lora_?.*"])
    torch.testing.assert_close(compiled(X.to(dtype)), model(X.to(dtype)), rtol=2e-2, atol=2e-2)
    assert {each.name for each in compiled.model_proto().graph.input} == {"x", *NAMES}


def test_computed_in_16_bits() -> None:
    target = fxonnx.Target.onnx(21)
    compiled = fxonnx.compile(Gain(), X, adapters=["gain"], target=target, precision="float16")
    assert compiled.verify(rtol=1e-2, atol=1e-2).ok
    assert [str(each.dtype) for each in compiled.graph.constants()] == ["f32"]


def test_what_cannot_be_an_adapter() -> None:
    with pytest.raises(errors.InvalidOption, match=r"'\*\.nothing'"):
        fxonnx.compile(Network(), X, adapters=["*.lora_?.*", "*.nothing"])
    with pytest.raises(errors.InvalidOption, match="adapters is 3"):
        fxonnx.compile(Network(), X, adapters=3)
    with pytest.raises(errors.WeightsMismatch, match="gain cannot be an input"):
        fxonnx.compile(Decided(), X, adapters=["gain"])
