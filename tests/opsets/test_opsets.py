"""Small models at every opset, from the oldest to the newest: the checker takes them, and they compute what
eager does.

In ONNX Runtime, and in ONNX's reference evaluator where that has no kernel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from tests.opsets.__main__ import main
from torch import Tensor, nn
from torch.nn import functional as F

import fxonnx
from fxonnx import errors
from fxonnx.runtime.failures import runtime_errors
from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET

OPSETS = range(OLDEST_OPSET, NEWEST_OPSET + 1)


class Convolutional(nn.Module):
    """Convolutions, norms, activations, pools and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d(2))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.GroupNorm(2, 8), nn.GELU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).flatten(1)).softmax(-1)


class Encoder(nn.Module):
    """Embeddings, positions, a mask, attention and norms."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(50, 16), nn.Embedding(32, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="gelu")

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.layer(x, src_key_padding_mask=mask == 0)


class Decoder(nn.Module):
    """A U-Net's way up: resizes, joins, pads of what is missing."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.pad(x, (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2]))
        return F.interpolate(torch.cat([x, skip], 1), scale_factor=2, mode="nearest")


class Indexing(nn.Module):
    """Elements read and written at places that are known when the model runs."""

    def forward(self, x: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
        written = x.clone()
        written[:, indices[0]] = 0.5
        taken = torch.gather(x, 1, indices % x.shape[1])
        return written, taken, x[indices[0] % x.shape[0], 1], x.flip(1)[:, 1:-1:2], x.scatter(1, indices, 2.0)


class Arithmetic(nn.Module):
    """Comparisons, bounds and remainders of floats and integers."""

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        bounded = n.clamp(-2, 3), torch.minimum(n, n.flip(0)), n % 3, n // 2, n.clamp(min=0) ** 2
        return *bounded, x.round(), x.clamp(x.min() / 2, 0.5), (x >= x.flip(0)) & (x == x), x.cumsum(1), x**3, x.isinf()


class Recurrent(nn.Module):
    """An LSTM of two layers, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


class Shaping(nn.Module):
    """Everything that moves elements, with axes counted from the back."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        parts = x.split([1, 2], -1)
        stacked = torch.stack([x, -x], -2).flatten(-2)
        reduced = x.mean(-2), x.amax(-1), x.argmin(-1), x.topk(2, -1, largest=False)[0]
        return *reduced, stacked, parts[1].repeat(2, 1), x.tril()


class Sampling(nn.Module):
    """Points of images, sums at places that occur twice, and spectra."""

    def forward(self, x: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        grid = F.affine_grid(theta, [x.shape[0], 2, 5, 6], align_corners=False)
        warped = [F.grid_sample(x, grid, mode, "reflection", False) for mode in ("bilinear", "nearest", "bicubic")]
        rows = x.flatten(1)
        summed = torch.zeros_like(rows).index_add(1, torch.tensor([1, 1, 0]), rows[:, :3])
        spectrum = torch.fft.rfft(x, n=8)
        return *warped, summed, torch.view_as_real(spectrum), torch.fft.irfft(spectrum, n=8)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(high))


def draw(rows: int, columns: int) -> dict[type[nn.Module], tuple[Tensor, ...]]:
    """Inputs of each model for some sizes."""
    return {
        Convolutional: (normal(rows, 3, 12, 10),),
        Encoder: (integers(50, rows, columns), (torch.arange(columns) < columns - 1).long().repeat(rows, 1)),
        Decoder: (normal(rows, 2, 4, columns), normal(rows, 3, 9, 2 * columns + 1)),
        Indexing: (normal(rows, columns), integers(3, 2, 3)),
        Arithmetic: (normal(rows, columns) * 3, integers(9, rows, columns) - 4),
        Recurrent: (normal(rows, columns, 6),),
        Shaping: (normal(rows, 3),),
        Sampling: (normal(rows, 2, 4, columns), normal(rows, 2, 3)),
    }  # fmt: skip


DYNAMIC: dict[type[nn.Module], Any] = {
    Convolutional: {"x": {0: "batch"}},
    Encoder: {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}},
    Decoder: {"x": {0: "batch", 3: "width"}, "skip": {0: "batch", 3: "2*width + 1"}},
    Indexing: {"x": {0: "rows", 1: "columns"}},
    Arithmetic: {"x": {0: "rows", 1: "columns"}, "n": {0: "rows", 1: "columns"}},
    Recurrent: {"x": {0: "batch", 1: "length"}},
    Shaping: {"x": {0: "rows"}},
    Sampling: {"x": {0: "batch", 3: "width"}, "theta": {0: "batch"}},
}


def session(path: Path) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """Something that runs the file: the runtime, or the reference evaluator where it has no kernel."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except runtime_errors():
        reference = ReferenceEvaluator(str(path))
        return lambda feeds: reference.run(None, feeds)
    return lambda feeds: runtime.run(None, feeds)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", DYNAMIC, ids=lambda kind: kind.__name__)
def test_opset(kind: type[nn.Module], opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = kind().eval(), tmp_path / "model.onnx"
    compiled = fxonnx.export(model, draw(3, 5)[kind], path, opset=opset, dynamic_shapes=DYNAMIC[kind])
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    assert [each.version for each in written.opset_import if each.domain == ""] == [opset]
    run = session(path)
    for rows, columns in ((3, 5), (4, 7)):
        inputs = draw(rows, columns)[kind]
        feeds = {value.name: tensor.numpy() for value, tensor in zip(compiled.graph.inputs, inputs, strict=True)}
        expected = model(*inputs)
        for got, want in zip(run(feeds), expected if isinstance(expected, tuple) else (expected,), strict=True):
            torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", (9, 13))
def test_operators_without_inputs(opset: int, tmp_path: Path) -> None:
    fxonnx.export(lambda x: x + torch.randn(3), (normal(2, 3),), tmp_path / "model.onnx", opset=opset)
    assert session(tmp_path / "model.onnx")({"x": np.zeros((2, 3), np.float32)})[0].shape == (2, 3)


@pytest.mark.parametrize("opset", [9, 13])
def test_nothing_has_a_size_of_0(opset: int) -> None:
    x = torch.ones(2, 4, 0, 3)
    model = lambda x: (F.pixel_shuffle(x, 2), x.reshape(0, 24) + 1)  # noqa: E731
    torch.testing.assert_close(fxonnx.compile(model, (x,), opset=opset)(x), model(x))


def test_what_is_respelled_is_expanded_too() -> None:
    x = torch.tensor([2, 3, 2**40])
    assert fxonnx.compile(lambda x: x.sum(0), (x,), opset=11)(x) == x.sum()


def test_bounds_of_doubles() -> None:
    x = torch.tensor([-2.0, 0.25, 2.0, math.nan], dtype=torch.float64)
    found = fxonnx.compile(lambda x: x.clamp(-1, 1), (x,), opset=11)(x)
    torch.testing.assert_close(found, x.clamp(-1, 1), equal_nan=True)


def test_what_needs_a_newer_form_is_said_with_its_opset() -> None:
    """TopK-1 has `k` in its text: none that is computed."""
    with pytest.raises(fxonnx.errors.Error, match="opset=11"):
        fxonnx.compile(lambda x: x.sort().values, (integers(9, 3, 4).byte(),), dynamic_shapes={"x": {1: "n"}}, opset=9)


@pytest.mark.parametrize(("dtype", "since"), [(torch.bfloat16, 13), (torch.float8_e4m3fn, 19)], ids=str)
def test_casts_of_what_was_no_dtype_yet(dtype: torch.dtype, since: int) -> None:
    x = torch.ones(3).to(dtype)
    with pytest.raises(fxonnx.errors.NotInOpset, match=f"opset={since}"):
        fxonnx.compile(lambda x: x.float() + 1, (x,), opset=since - 1)
    torch.testing.assert_close(fxonnx.compile(lambda x: x.float() + 1, (x,), opset=since)(x), torch.full((3,), 2.0))


def test_the_table_of_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embedding_bag", "--opsets", "9,23", "--dynamic"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["embedding_bag", "✓", "✓"]


@pytest.mark.parametrize("opset", [9, 12])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize(
    "function",
    [lambda x: x, lambda x: x.reshape(3, 2), lambda x: torch.zeros_like(x), lambda x: x.float() + 1],
    ids=["returned", "moved", "constant", "widened"],
)
def test_a_dtype_that_an_opset_has_not_is_said_to_be_newer(function, dtype, opset):
    with pytest.raises(errors.NotInOpset) as raised:
        fxonnx.compile(function, torch.ones(2, 3).to(dtype), opset=opset)
    newer = int(re.search(r"opset=(\d+)", raised.value.cure)[1])
    x = torch.ones(2, 3).to(dtype)
    torch.testing.assert_close(fxonnx.compile(function, x, opset=newer)(x).float(), function(x).float())


@pytest.mark.parametrize("opset", [11, 15, 17])
@pytest.mark.parametrize("reduce", ["sum", "prod", "amin", "amax"])
def test_elements_reduced_at_places_that_may_be_none(reduce: str, opset: int) -> None:
    def function(x: Tensor) -> Tensor:
        rows = (x[:, 0] > 0).nonzero().flatten()
        return x.scatter_reduce(0, rows[:, None].expand(-1, 3), x[rows] * 2, reduce)

    x = torch.tensor([[1.0, math.inf, -2.0], [-1.0, math.nan, 3.0]])
    compiled = fxonnx.compile(function, (x,), opset=opset)
    for given in (x, -x.abs()):
        torch.testing.assert_close(compiled(given), function(given), equal_nan=True)


@pytest.mark.parametrize("opset", [13, 17, 19])
def test_a_fill_of_bfloat16_at_free_sizes(opset):
    def fills(x):
        return torch.zeros_like(x), torch.full_like(x, 2.5), x.new_ones(x.shape[1], dtype=torch.bfloat16)

    compiled = fxonnx.compile(fills, (torch.rand(2, 3).bfloat16(),), dynamic_shapes="auto", opset=opset)
    x = torch.rand(4, 1).bfloat16()
    torch.testing.assert_close(compiled(x), fills(x))
