"""What all commands have in common: JSON, exit codes, options of compiling, and that they end quietly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from fxonnx.tools.cli import COMMANDS, main
from fxonnx.tools.outcome import DONE, FAILED, USAGE

MODELS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, x, mask=None):
        return torch.nn.functional.gelu(self.fc(x)) if mask is None else self.fc(x) * mask

def net(): return Net(), (torch.randn(2, 3),)
def bare(): return Net()
def random(): return torch.rand_like, (torch.randn(2, 3),)
ENTRIES = {"a net": "commanded.py:net"}

def lost(): return (lambda x: torch.ops.commandtest.lost(x)), (torch.randn(2, 3),)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with models, to be in."""
    (tmp_path / "commanded.py").write_text(MODELS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("fxonnx.tools.checks._SECONDS", 0.01)
    return tmp_path


NET = "commanded.py:net"
FOUND = {
    "compile": ([NET, "-o", "m.onnx"], "files"), "export": ([NET, "-o", "m.onnx"], "files"), "verify": ([NET], "ok"),
    "bisect": ([NET], "culprit"), "run": ([NET], "outputs"), "bench": ([NET], "median_ms"),
    "inspect": ([NET], "inputs"), "view": ([NET, "-o", "page.html"], "page"), "diff": ([NET], "changes"),
    "coverage": ([NET], "ops"),
    "sweep": (["commanded.py:ENTRIES", "--seconds", "0", "--results", "sweep.jsonl"], "results"),
    "explain": (["aten.gelu"], "text"), "errors": (["FX012"], "page"), "targets": ([], "targets"),
}  # fmt: skip


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() - FOUND.keys() == {"tune", "machine"}  # which measure, and have tests of their own


@pytest.mark.parametrize("command", FOUND)
def test_every_command_says_it_in_json(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, key = FOUND[command]
    assert main([command, *words, "--json"]) == DONE
    assert key in json.loads(capsys.readouterr().out)
    assert main([command, *words, "--quiet"]) == DONE
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("words", "code", "error"), [
    (["verify", "commanded.py:bare"], FAILED, "FX002"), (["run", "commanded.py:nothing"], USAGE, None),
    (["verify", "m.onnx"], USAGE, None), (["errors", "FX777"], USAGE, None),
    (["export", NET, "-o", "nowhere/m.onnx"], FAILED, "FX021"),
    (["inspect", NET, "--target", "tvm"], USAGE, None), (["inspect", NET, "--opset", "99"], FAILED, "FX013"),
    (["inspect", NET, "--shape", "y=2x3"], USAGE, None), (["inspect", NET, "--functions", "Block"], FAILED, "FX008"),
])  # fmt: skip
def test_errors_are_json_too(
    words: list[str], code: int, error: str | None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--json"]) == code
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said["ok"] is False and said["exit_code"] == code and said.get("error") == error and said["what"]
    assert said["message"] in printed.err


def test_a_difference_is_told_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "commanded.py:random", "--json"]) == FAILED
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ok"] is False and "FX040" in printed.err


def test_an_export_is_for_any_runtime(here: Path) -> None:
    for words, opset in (([], 21), (["--target", "onnx:17"], 17), (["--opset", "15"], 15)):
        assert main(["export", NET, "-o", "m.onnx", "-q", *words]) == DONE
        assert [(each.domain, each.version) for each in onnx.load("m.onnx").opset_import] == [("", opset)]


def test_sizes_names_and_functions(here: Path) -> None:
    words = ["--shape", "x=5x3", "--shape", "mask=5x1", "--input-names", "a,b", "--output-names", "y"]
    assert main(["compile", "commanded.py:bare", "-o", "m.onnx", "-q", *words, "--functions", "all"]) == DONE
    file = onnx.load("m.onnx")
    shapes = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in file.graph.input}
    assert shapes == {"a": [5, 3], "b": [5, 1]} and file.graph.output[0].name == "y"
    assert [each.name for each in file.functions] == ["Linear"]


def test_what_is_missing_of_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = torch.library.Library("commandtest", "DEF")
    library.define("lost(Tensor x) -> Tensor")
    library.impl("lost", torch.relu, "CPU")
    library.impl("lost", torch.empty_like, "Meta")
    assert main(["coverage", "commanded.py:lost", "--json"]) == FAILED
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ops"] == [{"op": "commandtest.lost", "calls": 1, "how": "missing"}]
    assert 'register_lowering("commandtest.lost")' in printed.err


def test_the_coverage_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "--json"]) == DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["lowered"] > 600 and "aten.gelu.default" not in found["without"]


def test_a_closed_pipe_is_nobodys_fault() -> None:
    words = [sys.executable, "-m", "fxonnx", "errors"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == DONE
