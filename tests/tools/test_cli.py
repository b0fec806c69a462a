"""The command: what it writes, what it says, its exit codes, and that a failure leaves nothing behind."""

import argparse
import re
import subprocess
import sys

import onnx
import pytest
import torch

from fxonnx import errors
from fxonnx.tools import cli, load
from fxonnx.tools.outcome import DONE, FAILED, INTERNAL, USAGE, Outcome, Usage

MODELS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x, *, scale=1.0):
        return self.fc(x).relu() * scale

class Case:
    def build(self):
        return Net(), (torch.randn(2, 8),), {"scale": 2.0}

class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)

x = torch.randn(2, 8)
net = Net()
case = Case()
table = {"case": case}

def with_args(): return Net(), (x,)
def with_keywords(): return Net(), (x,), {"scale": 3.0}
def lone_tensor(): return Net(), x
def a_function(): return torch.relu, (x,)
def differing(): return Random(), (x,)
def too_many(): return Net(), x, {}, 1
def no_inputs(): return Net()
def raising(): return 1 / 0
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a module of models, to be in."""
    (tmp_path / "toymodels.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import not_there_at_all\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("toymodels", None)


def left_behind(directory):
    """What is there that was not at the start."""
    at_the_start = {"toymodels.py", "broken.py", "__pycache__"}
    return sorted({path.name for path in directory.iterdir()} - at_the_start)


def compile(factory, *options):
    return cli.main(["compile", f"toymodels:{factory}", "-o", "m.onnx", *options])


# ── compile ──


@pytest.mark.parametrize("factory", ["with_args", "with_keywords", "lone_tensor", "a_function", "case", "table.case"])
def test_a_factory_gives_a_model(here, factory):
    assert compile(factory) == DONE
    onnx.checker.check_model("m.onnx", full_check=True)
    assert left_behind(here) == ["m.onnx"]


def test_all_options_at_once(here, capsys):
    options = "--opset 15 --dynamic x:0=batch --verify --external --show lower --dump stages"
    assert compile("with_args", *options.split()) == DONE
    model = onnx.load("m.onnx", load_external_data=False)
    assert model.opset_import[0].version == 15
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert sorted(path.name for path in (here / "stages").iterdir())[0] == "00-lower.ir"
    output = capsys.readouterr()
    assert output.out.startswith("graph(x: f32[batch,8])")
    for word in ("load", "capture", "legalize", "verify", "save", "max error"):
        assert word in output.err


FAILURES = {
    "a model that is called wrongly": (["no_inputs"], FAILED, "FX002"),
    "a factory that raises": (["raising"], FAILED, "toymodels.py:"),
    "a tuple of four": (["too_many"], FAILED, "FX001"),
    "no model": (["x"], FAILED, "FX001"),
    "an opset out of range": (["with_args", "--opset", "99"], FAILED, "FX013"),
    "numbers that differ": (["differing", "--verify", "--dump", "stages"], FAILED, "FX040"),
    "a directory that is not there": (["with_args", "-o", "nowhere/m.onnx"], FAILED, "FX021"),
    "a dump where a file is": (["with_args", "--dump", "toymodels.py"], FAILED, "FX021"),
    "no such factory": (["nothing"], USAGE, "there is no 'nothing'"),
    "no such stage": (["with_args", "--show", "nothing"], USAGE, "there are lower"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_says_why_and_leaves_nothing(here, capsys, arguments, code, words):
    assert compile(*arguments) == code
    assert words in capsys.readouterr().err
    assert left_behind(here) == []


def test_a_dump_goes_when_the_file_cannot_be_written(here, monkeypatch, capsys):
    def full(*_):
        raise errors.CannotWrite("m.onnx cannot be written", cause="no space left on device")

    monkeypatch.setattr("fxonnx.file.write_model", full)
    assert compile("with_args", "--dump", "stages") == FAILED
    assert "no space left" in capsys.readouterr().err
    assert left_behind(here) == []


@pytest.mark.parametrize(
    ("spec", "code", "words"),
    [
        ("toymodels", USAGE, "package.module:factory"),
        ("nowhere.at.all:f", USAGE, "no module 'nowhere'"),
        ("broken:f", FAILED, "not_there_at_all"),
    ],
)
def test_a_module_that_cannot_be_had(here, capsys, spec, code, words):
    assert cli.main(["compile", spec, "-o", "m.onnx"]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["", "compile", "nothing", "compile a:b -o m --dynamic x=batch"])
def test_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments.split())
    assert stopped.value.code == USAGE


def test_dynamic_dims():
    assert cli.dynamic_dims("x:0=batch, x:1=time,past.0:2=n") == {"x": {0: "batch", 1: "time"}, "past.0": {2: "n"}}
    assert cli.dynamic_dims("auto") == "auto"
    with pytest.raises(argparse.ArgumentTypeError, match="like x:0=batch"):
        cli.dynamic_dims("x:batch")


def test_an_exported_program_is_a_model_not_a_factory(here):
    program = torch.export.export(torch.nn.ReLU(), (torch.ones(2),))
    assert load._maker(program)() is program


# ── how it ends ──


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Usage("there is no such thing"), USAGE, "fxonnx: there is no such thing"),
        (errors.CannotWrite("x cannot be written"), FAILED, "error[FX021]"),
        (errors.Failures([errors.NameClash("a"), errors.NameClash("b")]), FAILED, "2 different errors"),
        (errors.InternalError("a pass broke the graph"), INTERNAL, "the fault is in fxonnx"),
        (ZeroDivisionError("division by zero"), INTERNAL, "ZeroDivisionError"),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, Exception) else None,
)
def test_exit_codes(error, code, words, capsys):
    with Outcome() as outcome:
        raise error
    assert outcome.code == code
    assert words in capsys.readouterr().err


def test_an_interrupt_passes():
    with pytest.raises(KeyboardInterrupt), Outcome():
        raise KeyboardInterrupt


# ── errors, explain ──


def test_errors_prints_a_page(capsys):
    assert cli.main(["errors", "fx012"]) == DONE
    assert "What to do: raise the opset" in capsys.readouterr().out


def test_errors_lists_all(capsys):
    assert cli.main(["errors"]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(errors.BY_CODE)


def test_errors_knows_no_other_code(capsys):
    assert cli.main(["errors", "FX777"]) == USAGE
    assert "no error FX777" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["aten.gelu", "aten::gelu", "gelu", "torch.ops.aten.gelu.default"])
def test_explain_an_op(capsys, name):
    assert cli.main(["explain", name]) == DONE
    text = capsys.readouterr().out
    assert text.startswith("aten.gelu\n")
    for words in ("aten::gelu(Tensor self", "activation.py:", "Hendrycks", "floating", "Gelu  from opset 20, else "):
        assert words in text


def test_explain_tells_overloads_apart(capsys):
    assert cli.main(["explain", "aten.max"]) == DONE
    text = capsys.readouterr().out
    assert text.count("  schema ") == 3
    assert cli.main(["explain", "aten.max.dim"]) == DONE
    assert capsys.readouterr().out.count("  schema ") == 1


def test_explain_what_writes_in_place(capsys):
    assert cli.main(["explain", "aten.relu_"]) == DONE
    assert "capture makes it aten.relu\n" in capsys.readouterr().out


def test_explain_control_flow(capsys):
    assert cli.main(["explain", "higher_order.cond"]) == DONE
    text = capsys.readouterr().out
    assert "control.py:" in text
    assert re.search(r"ONNX .*\bIf\b", text)


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("aten.silu", "Mul, Sigmoid"),
        ("aten.expm1", "Add, Exp, Mul, Tanh"),
        ("aten.mv", "MatMul"),
        ("aten.square", "Mul"),
        ("aten.select.int", "Gather"),
    ],
)
def test_explain_sees_operators_of_python(capsys, name, operators):
    assert cli.main(["explain", name]) == DONE
    line, *_ = re.findall(r"^  ONNX +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert set(operators.split(", ")) <= {each.split()[0] for each in line.split(", ")}


def test_explain_what_has_no_lowering(capsys):
    library = torch.library.Library("clitest", "DEF")
    library.define("whole(Tensor x) -> Tensor")
    library.define("composite(Tensor x) -> Tensor")
    library.impl("whole", torch.relu, "CPU")
    library.impl("composite", torch.relu, "CompositeImplicitAutograd")
    assert cli.main(["explain", "clitest.whole"]) == DONE
    assert "torch knows no smaller ops: error FX010" in capsys.readouterr().out
    assert cli.main(["explain", "clitest.composite"]) == DONE
    assert "torch takes it apart" in capsys.readouterr().out


def test_explain_suggests(capsys):
    assert cli.main(["explain", "aten.gelux"]) == USAGE
    assert "aten.gelu" in capsys.readouterr().err


def test_the_module_is_the_command_and_what_needs_no_torch_is_quick():
    program = "import sys, runpy; sys.argv = ['fxonnx', 'errors', 'FX012']\n"
    program += "try: runpy.run_module('fxonnx', run_name='__main__')\n"
    program += "except SystemExit as stop: print(stop.code, *sorted({'torch', 'onnx', 'rich'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0"


@pytest.mark.parametrize("output", ["[bold]m.onnx", "[0].onnx", "[link=y].onnx"])
def test_brackets_in_names_are_brackets(here, capsys, output):
    assert cli.main(["compile", "toymodels:case", "-o", output, "--verify"]) == DONE
    assert output in capsys.readouterr().err and (here / output).exists()


def test_a_spinner_shows_brackets_as_they_are():
    from rich.console import Console

    from fxonnx.tools.compile import step

    console = Console(force_terminal=True, width=100, record=True, markup=False)
    with step(console, "load", "models:[/x].net"):
        pass
    assert "models:[/x].net" in console.export_text()
