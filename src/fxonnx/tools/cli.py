"""The command `fxonnx`. Whatever needs torch is imported by the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fxonnx.tools.outcome import Outcome, Usage

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
    commands = top.add_subparsers(required=True, metavar="command")
    _compile_options(commands.add_parser("compile", help="compile a model to a file", epilog=EXIT_CODES))
    _bisect_options(commands.add_parser("bisect", help="whose doing a difference or a failure is", epilog=EXIT_CODES))
    explaining = commands.add_parser("explain", help="what fxonnx makes of an op")
    explaining.add_argument("op", help="aten.gelu, aten.max.dim, mylib.swoosh")
    explaining.set_defaults(run=run_explain)
    erring = commands.add_parser("errors", help="what an error means and what to do")
    erring.add_argument("code", nargs="?", help="FX012; all of them in a line each without it")
    erring.set_defaults(run=run_errors)
    return top


def _compile_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("model", help="package.module:factory, which returns model, (model, args) or (model, args, kwargs)")
    add("-o", "--output", type=Path, required=True, help="the file to write: model.onnx")
    add("--opset", type=int, help="the ONNX operator set to write (the installed ONNX Runtime's best)")
    add("--dynamic", type=dynamic_dims, metavar="x:0=batch,x:1=time", help='sizes that may change, or "auto"')
    add("--verify", action="store_true", help="compare with the model on fresh inputs; differences are an error")
    add("--external", action="store_true", help="put the weights into a file beside the model")
    add("--show", metavar="STAGE", help="print a stage, by name or number (lower, 0, -1)")
    add("--dump", type=Path, metavar="DIR", help="write the print-out of every stage into a directory")
    command.set_defaults(run=run_compile)


def _bisect_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("model", help="package.module:factory, which returns model, (model, args) or (model, args, kwargs)")
    add("--opset", type=int, help="the ONNX operator set to write (the installed ONNX Runtime's best)")
    add("--dynamic", type=dynamic_dims, metavar="x:0=batch,x:1=time", help='sizes that may change, or "auto"')
    add("--rtol", type=float, help="what of |expected| a result may differ by (its dtype's)")
    add("--atol", type=float, help="what a result may differ by")
    add("--script", type=Path, default=Path("difference.py"), help="the script that shows it without your model")
    command.set_defaults(run=run_bisect)


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


def run_bisect(options: argparse.Namespace) -> None:
    """Say whose doing a difference is, and write a script that shows it."""
    from fxonnx.tools.bisect.command import run

    run(options)


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
