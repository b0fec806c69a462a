"""Files survive tools of others: what they write of ours loads in a bare session, and computes what eager does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx.target import Target

EXACT, QUANTIZED = 1e-4, 0.2  # how far an output may be from eager's, of its own size


class Images(nn.Module):
    """Convolutions with norms, a residual, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Hardswish())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.ReLU6())
        self.head = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head((x + self.body(x)).mean((2, 3)))


class Upsampled(nn.Module):
    """A resize by a factor, beside what it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2)
        self.last = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = F.gelu(self.down(x))
        return self.last(torch.cat([self.up(low), F.interpolate(low, size=x.shape[2:], mode="bilinear")], 1))


class Tokens(nn.Module):
    """An encoder of two layers with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True) for _ in range(2))
        self.head = nn.Linear(32, 8)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=mask == 0)
        return self.head(x)


class Causal(nn.Module):
    """Attention to what came before, with a cache, as decoders have it."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.project(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4).unbind(0)
        key, value = torch.cat([key, k], 2), torch.cat([value, v], 2)
        places = torch.arange(key.shape[2])
        mask = places <= places[key.shape[2] - x.shape[1] :, None]
        found = F.scaled_dot_product_attention(q, key, value, mask)
        return self.out(found.transpose(1, 2).flatten(2)), key, value


class Series(nn.Module):
    """Recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 16, 2, bidirectional=True, batch_first=True), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])


MODELS: dict[str, tuple[type[nn.Module], Callable[[], tuple[Tensor, ...]], Any]] = {
    "images": (Images, lambda: (torch.randn(2, 3, 32, 32),), {"x": {0: "batch"}}),
    "upsampled": (Upsampled, lambda: (torch.randn(2, 3, 16, 24),), {"x": {0: "batch", 3: "2*half"}}),
    "tokens": (Tokens, lambda: (torch.randint(0, 50, (2, 7)), (torch.arange(7) < 5).long().repeat(2, 1)),
               {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}),
    "causal": (Causal, lambda: (torch.randn(2, 3, 32), *torch.randn(2, 2, 4, 5, 8)),
               {"x": {0: "batch", 1: "new"}, "key": {0: "batch", 2: "past"}, "value": {0: "batch", 2: "past"}}),
    "series": (Series, lambda: (torch.randn(2, 6, 8),), {"x": {0: "batch", 1: "length"}}),
}  # fmt: skip
TARGETS = {"default": None, "standard": Target.onnx(21)}


def quantized_dynamically(source: Path, written: Path, feeds: dict[str, np.ndarray]) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    quantization.quantize_dynamic(source, written, op_types_to_quantize=["MatMul", "Gemm"])


def quantized_statically(source: Path, written: Path, feeds: dict[str, np.ndarray]) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Once(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        left = [feeds]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        source, written, Once(), op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        activation_type=quantization.QuantType.QUInt8,
    )  # fmt: skip


def optimized(source: Path, written: Path, feeds: dict[str, np.ndarray]) -> None:
    pytest.importorskip("sympy", reason="onnxruntime.transformers asks for sympy")
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
    optimizer.optimize_model(str(source), "bert", num_heads=4, hidden_size=32).save_model_to_file(str(written))


def slimmed(source: Path, written: Path, feeds: dict[str, np.ndarray]) -> None:
    onnx.save(pytest.importorskip("onnxslim").slim(str(source)), written)


def simplified(source: Path, written: Path, feeds: dict[str, np.ndarray]) -> None:
    model, checked = pytest.importorskip("onnxsim").simplify(onnx.load(source))
    assert checked
    onnx.save(model, written)


# What a tool cannot read, and why; docs/howto/opsets_and_targets.md tells of it.
UNREADABLE = {("series", optimized): "takes away what only branches read"}
TOOLS = {
    quantized_dynamically: QUANTIZED, quantized_statically: QUANTIZED, optimized: EXACT, slimmed: EXACT,
    simplified: EXACT,
}  # fmt: skip


@cache
def saved(name: str, target: str) -> tuple[bytes, tuple[Tensor, ...], list[np.ndarray]]:
    """The file of a model, an example, and what eager makes of it."""
    torch.manual_seed(0)
    kind, draw, shapes = MODELS[name]
    model, inputs = kind().eval(), draw()
    compiled = fxonnx.compile(model, inputs, dynamic_shapes=shapes, target=TARGETS[target])
    with torch.no_grad():
        results = model(*inputs)
    expected = [each.numpy() for each in (results if isinstance(results, tuple) else (results,))]
    return compiled.model_proto().SerializeToString(), inputs, expected


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_file_survives(target: str, name: str, tool: Callable[..., None], tmp_path: Path) -> None:
    if (name, tool) in UNREADABLE:
        pytest.skip(UNREADABLE[name, tool])
    source, written = tmp_path / "model.onnx", tmp_path / "written.onnx"
    model, inputs, expected = saved(name, target)
    source.write_bytes(model)
    names = [value.name for value in session(source).get_inputs()]
    feeds = dict(zip(names, (each.numpy() for each in inputs), strict=True))
    tool(source, written, feeds)
    for got, want in zip(session(written).run(None, feeds), expected, strict=True):
        assert np.linalg.norm(got - want) <= TOOLS[tool] * np.linalg.norm(want)
