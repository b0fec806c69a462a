"""The commands that look at a model or a file: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fxonnx.tools.cli import main
from fxonnx.tools.outcome import DONE, FAILED, USAGE

MODELS = """
import torch

def layer(): return torch.nn.Linear(3, 2), (torch.randn(2, 3),)
def random(): return torch.rand_like, (torch.randn(2, 3),)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with models, a saved file and an exported program, to be in."""
    (tmp_path / "own_models.py").write_text(MODELS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2), (torch.randn(2, 3),)), "model.pt2")
    assert main(["compile", "own_models.py:layer", "-o", "model.onnx", "-q", "--dynamic", "input:0=batch"]) == DONE
    return tmp_path


@pytest.mark.parametrize("model", ["own_models.py:layer", "own_models:layer", "model.pt2", "model.onnx"])
@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_model_in_every_form(command: str, model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["--shape", "input=2x3"] if command == "run" and model == "model.onnx" else []
    capsys.readouterr()
    assert main([command, model, *shape]) == DONE
    printed = capsys.readouterr().out
    assert "float32[2, 2]" in printed if command == "run" else "2]" in printed
    assert main([command, model, *shape, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)


def test_bench(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxonnx.tools.checks._SECONDS", 0.01)
    assert main(["bench", "model.onnx", "--shape", "input=4x3", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["median_ms"] > 0


def test_tune(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here))
    assert main(["tune", "own_models:layer", "--seconds", "0.1", "--json", "-o", "tuned.onnx"]) == DONE
    assert json.loads(capsys.readouterr().out)["ratio"] <= 1
    assert (here / "tuned.onnx").exists()


def test_verify_of_a_saved_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("own_models.py")
    path.write_text(path.read_text().replace("def layer():", "def layer(): torch.manual_seed(0);"))
    assert main(["compile", "own_models.py:layer", "-o", "same.onnx", "-q"]) == DONE
    capsys.readouterr()
    assert main(["verify", "own_models.py:layer", "same.onnx"]) == DONE
    assert capsys.readouterr().out.startswith("✓ output: float32[2, 2]")
    assert main(["verify", "own_models.py:layer", "model.onnx"]) == FAILED  # of another model
    assert "✗ output" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["onnx", "onnx:17", "onnxruntime", "onnxruntime:1.32"])
def test_verify_for_a_target(target: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "own_models:layer", "--target", target, "--no-optimize", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_difference_is_an_exit_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "own_models:random", "--quiet"]) == FAILED
    out, err = capsys.readouterr()
    assert not out and "FX040" in err and "fxonnx bisect own_models:random" in err
    assert main(["verify", "own_models:random", "--quiet", "--atol", "2"]) == DONE


@pytest.mark.parametrize(
    "words, said",
    [
        (["verify", "model.onnx"], "needs the model"),
        (["verify", "model.onnx", "model.pt2"], "fxonnx verify package.module:factory model.onnx"),
        (["run", "model.onnx"], "--shape input=2x3"),
        (["run", "missing.py:f"], "there is no file missing.py"),
        (["run", "missing.pt2"], "no file of torch.export.save"),
        (["run", "own_models:layer", "--target", "openvinno"], "there are onnx:opset"),
        (["inspect", "layer"], "not like package.module:factory"),
    ],
)
def test_what_is_not_there(words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == USAGE
    assert said in capsys.readouterr().err


def test_no_file_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "missing.onnx"]) == FAILED
    assert "FX023" in capsys.readouterr().err


def test_targets_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets"]) == DONE
    assert "onnxruntime:1.32" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == DONE and capsys.readouterr().out.startswith("fxonnx ")


def test_who_stops_reading_is_no_fault() -> None:
    program = "import sys; from fxonnx.tools.cli import main; sys.exit(main(['errors']))"
    command = f'{sys.executable} -c "{program}" | true; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == DONE and "FX099" not in ended.stderr


def test_the_machine_is_measured_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fxonnx.runtime import measure

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "CONTESTS", ())
    assert main(["machine"]) == DONE
    said = capsys.readouterr().out
    assert "onnxruntime" in said and "measured on" in said
    assert main(["machine"]) == DONE and capsys.readouterr().out == said
