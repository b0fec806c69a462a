"""Weights in safetensors files: a model without memory is compiled from them, and a saved model refers to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import fxonnx
from fxonnx import errors

safetensors = pytest.importorskip("safetensors.torch", exc_type=ImportError)


class Rotary(nn.Module):
    """A buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("angles", torch.empty(48), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.angles.copy_(torch.arange(48).float().cos())


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.rotary = nn.Embedding(50, 48), Rotary()
        self.up, self.norm = nn.Linear(48, 96), nn.LayerNorm(96)
        self.head = nn.Linear(96, 48, bias=False)
        self.out = nn.Linear(48, 50, bias=False)
        self.out.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids) * self.rotary.angles
        return self.out(self.head(self.norm(torch.relu(self.up(hidden)))))


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids)


IDS = torch.randint(0, 50, (2, 7))
DYNAMIC = {"ids": {0: "batch", 1: "length"}}


def write(model: nn.Module, path: Path) -> Path:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "out.weight"}
    safetensors.save_file(tensors, path)
    return path


def run(path: Path, ids: Tensor = IDS) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: ids.numpy()})[0])


def locations(path: Path) -> set[str]:
    """The files that a model refers to."""
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    return {each.value for tensor in tensors for each in tensor.external_data if each.key == "location"}


def without_memory(kind: str) -> nn.Module:
    with FakeTensorMode() if kind == "fake" else torch.device("meta"):
        model = Decoder()
    return Around(model) if kind == "around" else model


@pytest.mark.parametrize("target", [None, fxonnx.Target.onnx(17)], ids=["runtime", "standard"])
@pytest.mark.parametrize("kind", ["meta", "fake", "around"])
def test_a_model_without_memory(tmp_path: Path, kind: str, target: Any) -> None:
    model, bare = Decoder().eval(), without_memory(kind).eval()
    write(model, tmp_path / "model.safetensors")
    compiled = fxonnx.compile(bare, IDS, weights=tmp_path, dynamic_shapes=DYNAMIC, target=target)
    assert compiled.save(tmp_path / "m.onnx") == (tmp_path / "m.onnx",)
    assert locations(tmp_path / "m.onnx") == {"model.safetensors"} and os.path.getsize(tmp_path / "m.onnx") < 10_000
    onnx.checker.check_model(os.fspath(tmp_path / "m.onnx"))
    for ids in (IDS, IDS[:1, :1], IDS[:, :3]):
        torch.testing.assert_close(run(tmp_path / "m.onnx", ids), model(ids))
        torch.testing.assert_close(compiled(ids), model(ids))
    assert compiled.verify().ok and next(bare.parameters()).device.type == ("cpu" if kind == "fake" else "meta")


def test_weights_stay_as_they_lie(tmp_path: Path) -> None:
    write(Decoder(), tmp_path / "model.safetensors")
    compiled = fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path)
    ops = [node.op for node in compiled.graph.nodes]
    assert "Transpose" not in ops and ops.count("com.microsoft::FusedMatMul") == 3


def test_shards_and_their_index(tmp_path: Path) -> None:
    model = Decoder().eval()
    first, second = {}, {}
    for name, tensor in model.state_dict().items():
        (first if "up" in name else second)[name] = tensor.clone()
    (tmp_path / "parts").mkdir()
    safetensors.save_file(first, tmp_path / "parts" / "a.safetensors")
    safetensors.save_file(second, tmp_path / "parts" / "b.safetensors")
    index = tmp_path / "parts" / "model.safetensors.index.json"
    names = ",".join(f'"{n}": "{f}.safetensors"' for f, part in (("a", first), ("b", second)) for n in part)
    index.write_text(f'{{"weight_map": {{{names}}}}}')
    for given in (index, tmp_path / "parts"):
        compiled = fxonnx.compile(without_memory("meta"), IDS, weights=given)
        compiled.save(tmp_path / "m.onnx")
        assert locations(tmp_path / "m.onnx") == {"parts/a.safetensors", "parts/b.safetensors"}
        torch.testing.assert_close(run(tmp_path / "m.onnx"), model(IDS))


def test_a_model_with_memory_refers_to_its_file(tmp_path: Path) -> None:
    model = Around(Decoder()).eval()
    file = write(model.inner, tmp_path / "model.safetensors")
    compiled = fxonnx.compile(model, IDS)
    assert compiled.save(tmp_path / "m.onnx", weights=file) == (tmp_path / "m.onnx",)
    torch.testing.assert_close(run(tmp_path / "m.onnx"), model(IDS))
    with torch.no_grad():
        model.inner.up.weight.mul_(1.5)
    compiled.rebind().save(tmp_path / "m.onnx", weights=os.fspath(file))
    torch.testing.assert_close(run(tmp_path / "m.onnx"), model(IDS))
    assert b"inner.up.weight" in (tmp_path / "m.onnx").read_bytes(), "what is not in the file is written"


def test_what_is_made_of_weights_is_written(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.Conv2d(32, 8, 1), nn.Flatten(), nn.Linear(128, 9))
    safetensors.save_file(model.eval().state_dict(), tmp_path / "model.safetensors")
    x = torch.randn(1, 3, 6, 6)
    fxonnx.compile(model, x).save(tmp_path / "m.onnx", weights=tmp_path / "model.safetensors")
    torch.testing.assert_close(run(tmp_path / "m.onnx", x), model(x))
    assert locations(tmp_path / "m.onnx") == {"model.safetensors"}


def test_a_copy_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    model = Decoder().eval()
    write(model, tmp_path / "model.safetensors")
    compiled = fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path)
    with pytest.raises(errors.CannotWrite, match="hard-link"):
        compiled.save(tmp_path / "out" / "m.onnx")
    for how in ("inline", "external", "safetensors"):
        compiled.save(tmp_path / "out" / "m.onnx", weights=how)
        torch.testing.assert_close(run(tmp_path / "out" / "m.onnx"), model(IDS))
    os.link(tmp_path / "model.safetensors", tmp_path / "out" / "model.safetensors")
    fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path / "out").save(tmp_path / "out" / "m.onnx")
    torch.testing.assert_close(run(tmp_path / "out" / "m.onnx"), model(IDS))


def test_a_file_that_changes_is_another_model(tmp_path: Path) -> None:
    write(Decoder(), tmp_path / "model.safetensors")
    compiled = fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path)
    write(Decoder(), tmp_path / "model.safetensors")
    with pytest.raises(errors.ModelChanged, match=r"model\.safetensors"):
        compiled.save(tmp_path / "m.onnx")


def test_other_weights_for_a_model_without_memory(tmp_path: Path) -> None:
    other = Decoder().eval()
    write(Decoder(), tmp_path / "model.safetensors")
    compiled = fxonnx.compile(without_memory("meta").eval(), IDS, weights=tmp_path).rebind(other.state_dict())
    torch.testing.assert_close(compiled(IDS), other(IDS))
    compiled.save(tmp_path / "m.onnx")
    torch.testing.assert_close(run(tmp_path / "m.onnx"), other(IDS))


class Unknown(Decoder):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lost", torch.ones(48), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * self.lost[:1]


def test_buffers_that_nothing_computes(tmp_path: Path) -> None:
    write(Decoder(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        model = Unknown().eval()
    with pytest.raises(errors.WeightsMismatch, match="lost has no contents"):
        fxonnx.compile(model, IDS, weights=tmp_path)
    model.lost = torch.full((48,), 2.0)
    compiled = fxonnx.compile(model, IDS, weights=tmp_path)
    assert compiled.verify().ok


def no_files(folder: Path) -> dict[str, Any]:
    return {
        "an empty folder": folder,
        "no such path": folder / "nowhere.safetensors",
        "no safetensors": Path(__file__),
        "a shorter file": cut(folder / "cut.safetensors"),
        "a number": 3,
    }


def cut(path: Path) -> Path:
    whole = write(Decoder(), path).read_bytes()
    path.write_bytes(whole[:-9])
    return path


@pytest.mark.parametrize("case", ["an empty folder", "no such path", "no safetensors", "a shorter file", "a number"])
def test_what_cannot_be_read(tmp_path: Path, case: str) -> None:
    (tmp_path / "empty").mkdir()
    given = no_files(tmp_path)[case] if case != "an empty folder" else tmp_path / "empty"
    with pytest.raises(errors.CannotRead, match="weights cannot be read"):
        fxonnx.compile(without_memory("meta"), IDS, weights=given)


def test_another_models_file(tmp_path: Path) -> None:
    safetensors.save_file({"up.weight": torch.zeros(3), "other": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(errors.Failures) as caught:
        fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path)
    said = str(caught.value)
    assert "up.weight is f32[3] in model.safetensors" in said and "table.weight is in no file" in said
    with pytest.raises(errors.WeightsMismatch, match="none of the model's weights"):
        fxonnx.compile(Decoder(), IDS).save(tmp_path / "m.onnx", weights=tmp_path / "model.safetensors")


def test_another_dtype_in_the_file(tmp_path: Path) -> None:
    write(Decoder().half(), tmp_path / "model.safetensors")
    with pytest.raises(errors.Failures, match=r"model\.to\(torch\.float16\)"):
        fxonnx.compile(without_memory("meta"), IDS, weights=tmp_path)
    model = without_memory("meta")
    for module in model.modules():
        module.half()
    compiled = fxonnx.compile(model, IDS, weights=tmp_path)
    assert compiled(IDS).dtype is torch.float16 and np.isfinite(compiled(IDS).numpy()).all()
