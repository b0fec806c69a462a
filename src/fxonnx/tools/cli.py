"""The command `fxonnx`. Whatever needs torch is imported by the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fxonnx.tools.outcome import Outcome, Usage
from fxonnx.version import __version__

MODEL = "package.module:factory, file.py:factory, a .pt2 or a saved .onnx; a factory returns model or (model, args)"
EXIT_CODES = "exit codes: 0 done, 1 an error in the model or around it, 2 usage, 3 a fault of fxonnx"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; argparse itself exits with 2."""
    options = parser().parse_args(arguments)
    with Outcome() as outcome:
        options.run(options)
    return outcome.code


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="fxonnx", description="Compile PyTorch models to ONNX.", epilog=EXIT_CODES)
    top.add_argument("--version", action="version", version=f"fxonnx {__version__}")
    commands = top.add_subparsers(required=True, metavar="command", dest="command")
    for name, (about, options) in COMMANDS.items():
        options(commands.add_parser(name, help=about, description=about, epilog=EXIT_CODES))
    explaining = commands.add_parser("explain", help="what fxonnx makes of an op")
    explaining.add_argument("op", help="aten.gelu, aten.max.dim, mylib.swoosh")
    explaining.set_defaults(run=run_explain)
    listing = commands.add_parser("targets", help="what can be compiled for")
    listing.set_defaults(run=run_targets)
    measuring = commands.add_parser("machine", help="measure this machine, for forms that compete")
    measuring.add_argument("--again", action="store_true", help="also where it has been measured before")
    measuring.set_defaults(run=run_machine)
    erring = commands.add_parser("errors", help="what an error means and what to do")
    erring.add_argument("code", nargs="?", help="FX012; all of them in a line each without it")
    erring.set_defaults(run=run_errors)
    return top


def _model_options(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Which model, and what is asked of compiling it."""
    add = command.add_argument
    add("model", help=MODEL)
    add("--target", help="onnx:17, onnxruntime:1.32, openvino, …, see `fxonnx targets` (the installed ONNX Runtime)")
    add("--opset", type=int, help="the ONNX operator set to write (the target's best)")
    add("--dynamic", type=dynamic_dims, metavar="x:0=batch,x:1=time", help='sizes that may change, or "auto"')
    add("--no-optimize", action="store_true", help="without rewriting for speed")
    command.set_defaults(run=run)


def _compile_options(command: argparse.ArgumentParser) -> None:
    _model_options(command, run_compile)
    add = command.add_argument
    add("-o", "--output", type=Path, required=True, help="the file to write: model.onnx")
    add("--verify", action="store_true", help="compare with the model on fresh inputs; differences are an error")
    add("--external", action="store_true", help="put the weights into a file beside the model")
    add("--show", metavar="STAGE", help="print a stage, by name or number (lower, 0, -1)")
    add("--dump", type=Path, metavar="DIR", help="write the print-out of every stage into a directory")
    add("-q", "--quiet", action="store_true", help="print nothing but errors, and what --show asks for")


def _check_options(command: argparse.ArgumentParser) -> None:
    _model_options(command, run_check)
    add = command.add_argument
    add("--shape", type=input_shape, action="append", metavar="x=1x3x224x224", help="the size of an input of a file")
    add("--json", action="store_true", help="print JSON")
    add("-q", "--quiet", action="store_true", help="print nothing but errors; the exit code tells")
    _tolerances(command)


def _bisect_options(command: argparse.ArgumentParser) -> None:
    _model_options(command, run_bisect)
    _tolerances(command)
    script = "the script that shows it without your model"
    command.add_argument("--script", type=Path, default=Path("difference.py"), help=script)


def _tune_options(command: argparse.ArgumentParser) -> None:
    _check_options(command)
    add = command.add_argument
    add("--seconds", type=float, default=60.0, help="how long to try (60)")
    add("-o", "--output", type=Path, metavar="FILE", help="write the model in the forms that are fastest here")


def _view_options(command: argparse.ArgumentParser) -> None:
    _model_options(command, run_view)
    command.add_argument("-o", "--output", type=Path, metavar="PAGE", help="write the page here, and open no browser")


def _diff_options(command: argparse.ArgumentParser) -> None:
    _model_options(command, run_diff)
    command.add_argument("before", nargs="?", default="lowered", help="a stage; after a print-out, another one")
    command.add_argument("after", nargs="?", default="legalized", help="a later stage")


def _tolerances(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rtol", type=float, help="what of |expected| a result may differ by (its dtype's)")
    command.add_argument("--atol", type=float, help="what a result may differ by")


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`x=1x3x224x224` as ("x", (1, 3, 224, 224))."""
    found = re.fullmatch(r"([^=]+)=(\d+(?:x\d+)*)?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not like x=1x3x224x224")
    name, sizes = found.groups()
    return name, tuple(map(int, sizes.split("x"))) if sizes else ()


def dynamic_dims(text: str) -> Any:
    """`x:0=batch,x:1=time` as {"x": {0: "batch", 1: "time"}}; "auto" stays."""
    if text == "auto":
        return text
    dims: dict[str, dict[int, str]] = {}
    for item in text.split(","):
        found = re.fullmatch(r"\s*([^:=\s]+):(-?\d+)=(\w+)\s*", item)
        if found is None:
            raise argparse.ArgumentTypeError(f"{item!r} is not like x:0=batch")
        name, axis, dim = found.groups()
        dims.setdefault(name, {})[int(axis)] = dim
    return dims


def run_compile(options: argparse.Namespace) -> None:
    """Compile a model to a file."""
    from fxonnx.tools.compile import run

    run(options)


def run_check(options: argparse.Namespace) -> None:
    """Verify, run, time or describe a model."""
    from fxonnx.tools.checks import run

    options.shape = dict(options.shape or ())
    run(options)


def run_targets(options: argparse.Namespace) -> None:
    """Print the targets, a line each."""
    from fxonnx import kernels
    from fxonnx.target import NEWEST_OPSET, OLDEST_OPSET

    print(f"onnx:{OLDEST_OPSET} … onnx:{NEWEST_OPSET}  standard operators, for any runtime")
    for runtime, provider, what in RUNTIMES:
        suffix = f":{provider}" if provider in ("cuda", "directml") else ""
        known = [f"{runtime}:{major}.{minor}{suffix}" for major, minor in kernels.releases(runtime, provider)]
        print(f"{' … '.join(dict.fromkeys((known[0], known[-1])))}  {what}")
    print("reference  ONNX's reference evaluator")


def run_machine(options: argparse.Namespace) -> None:
    """Measure this machine, or say when that was done."""
    from rich.progress import Progress

    from fxonnx.runtime.measure import machine

    with Progress(transient=True) as progress:
        task = progress.add_task("forms of operators", total=None)
        note = partial(progress.update, task)
        profile = machine(again=options.again, progress=lambda done, all: note(completed=done, total=all))
    print(f"{profile.processor} ({profile.family}), {profile.runtime}, measured on {profile.measured}")


def run_bisect(options: argparse.Namespace) -> None:
    """Say whose doing a difference is, and write a script that shows it."""
    from fxonnx.tools.bisect.command import run

    run(options)


def run_view(options: argparse.Namespace) -> None:
    """Open a model or a file in the browser."""
    from fxonnx.tools.view import view

    view(options)


def run_diff(options: argparse.Namespace) -> None:
    """Say what changed between stages, or between their print-outs."""
    from fxonnx.tools.view import diff

    diff(options)


def run_explain(options: argparse.Namespace) -> None:
    """Print all that is known of an op."""
    from fxonnx.tools.explain import explain

    print(explain(options.op))


def run_errors(options: argparse.Namespace) -> None:
    """Print the page of an error, or one line for each."""
    from fxonnx.tools.pages import error_index, error_page

    if options.code is None:
        print(error_index())
        return
    page = error_page(options.code)
    if page is None:
        raise Usage(f"there is no error {options.code}; `fxonnx errors` lists them")
    print(page)


RUNTIMES = (
    ("onnxruntime", "cpu", "ONNX Runtime on the CPU, and its own operators"),
    ("onnxruntime", "cuda", "ONNX Runtime on CUDA, on the CPU what that has no kernel for"),
    ("openvino", "cpu", "OpenVINO on the CPU"),
    ("tensorrt", "gpu", "TensorRT"),
)

COMMANDS: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "compile": ("compile a model to a file", _compile_options),
    "verify": ("compare what is compiled with the model, on fresh inputs", _check_options),
    "bisect": ("say whose doing a difference or a failure is", _bisect_options),
    "run": ("run a model or a file once, and say what comes out", _check_options),
    "bench": ("measure how long a call of a model or a file takes", _check_options),
    "tune": ("try out how a model is fastest on this machine", _tune_options),
    "inspect": ("say what a model or a file takes, returns and holds for", _check_options),
    "view": ("open a page of a model's stages, or of a file, in the browser", _view_options),
    "diff": ("say which rule turned which nodes into which", _diff_options),
}
"""The commands on a model."""
