"""What a compiled model shows of itself, in texts, notebooks and pages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.ir.text.test_html import read
from torch import nn

import fxonnx
from fxonnx import errors


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(self.body(x).mean((2, 3)))
        return 0.5 * y * (1 + torch.erf(y / 2**0.5))


@pytest.fixture(scope="module")
def compiled() -> fxonnx.Compiled:
    return fxonnx.compile(Net().eval(), (torch.randn(2, 3, 8, 8),), dynamic_shapes={"x": {0: "n"}})


def test_all_are_shown_in_notebooks(compiled: fxonnx.Compiled) -> None:
    shown = {
        "compiled": (compiled, "body.0.weight.folded"),
        "stage": (compiled.stages[0], "BatchNormalization"),
        "report": (compiled.verify(), "max relative"),
        "found": (compiled.locate(), "values compared"),
        "diff": (compiled.diff("lowered", "optimized"), "conv_batch_norm"),
    }
    for each, word in shown.values():
        bundle = each._repr_mimebundle_(include=None, exclude=None)
        assert bundle.keys() == {"text/plain", "text/html"}
        read(bundle["text/html"])
        assert word in bundle["text/html"]
        assert bundle["text/plain"].startswith(repr(each) if each in (compiled, compiled.stages[0]) else str(each))


def test_a_notebook_is_told_what_differs() -> None:
    def wrong_gelu(op, self, *, approximate="none"):  # type: ignore[no-untyped-def]
        return op.Gelu(self, approximate="tanh") * 1.01

    wrong = fxonnx.compile(nn.GELU(), (torch.randn(2, 3),), lowerings={"aten.gelu": wrong_gelu})
    assert "first" in (html := wrong.locate()._repr_mimebundle_()["text/html"]) and "✗" in html
    assert "✗" in wrong.verify()._repr_mimebundle_()["text/html"]


def test_what_changed(compiled: fxonnx.Compiled) -> None:
    changed = {change.by: change for change in compiled.diff("lowered", "optimized").changes}
    assert changed.keys() == {("conv_batch_norm",), ("erf_gelu",)}
    assert [node.op for node in changed["conv_batch_norm",].before] == ["Conv", "BatchNormalization"]
    assert changed["erf_gelu",].location.code == "return 0.5 * y * (1 + torch.erf(y / 2**0.5))"
    backwards = compiled.diff("optimized", "lowered").changes
    assert {tuple(node.op for node in change.before) for change in backwards} == {("Conv",), ("Gelu",)}


def test_onnxs_own_text(compiled: fxonnx.Compiled) -> None:
    assert "Gelu (" in compiled.show(format="onnx")
    assert "Erf (" in compiled.show("lowered", format="onnx")
    with pytest.raises(errors.InvalidOption, match="format is 'dot'"):
        compiled.show(format="dot")


def test_a_page_of_all_stages(compiled: fxonnx.Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    text = compiled.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "BatchNormalization" in text and "erf_gelu" in text and "0.5 * y * (1 + torch.erf" in text
    assert opened == []
    assert opened == [compiled.view().as_uri()]
    with pytest.raises(errors.CannotWrite):
        compiled.to_html(tmp_path / "none" / "page.html")
