"""`fxonnx view` and `fxonnx diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fxonnx.tools.cli import main
from fxonnx.tools.outcome import DONE, USAGE

MODEL = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

def net(): return Net(), (torch.randn(2, 3),)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a model, its file and its print-outs, to be in."""
    (tmp_path / "viewed_models.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["compile", "viewed_models.py:net", "-o", "model.onnx", "-q", "--dump", "stages"]) == DONE
    return tmp_path


@pytest.mark.parametrize("model", ["viewed_models.py:net", "model.onnx"])
def test_view(model: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["view", model, "-o", "page.html"]) == DONE
    assert "Gelu" in (here / "page.html").read_text(encoding="utf-8")
    assert opened == []
    assert main(["view", model]) == DONE
    assert opened == [Path(capsys.readouterr().out.splitlines()[-1]).as_uri()]


def test_diff(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = sorted(map(str, Path("stages").iterdir()))
    for words in (["viewed_models.py:net"], ["viewed_models.py:net", "lowered", "-1"], [first, last]):
        capsys.readouterr()
        assert main(["diff", *words]) == DONE
        printed = capsys.readouterr().out
        assert "by erf_gelu" in printed and "+ %0: f32[2,3] = Gelu(x)" in printed
    assert main(["diff", first]) == USAGE
    assert main(["diff", "viewed_models.py:net", "none"]) != DONE
