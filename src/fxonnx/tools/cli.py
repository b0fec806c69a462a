"""The command `fxonnx`. Whatever needs torch is imported by the command that needs it, so that `--help` is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from fxonnx.tools.outcome import Outcome, Result
from fxonnx.version import __version__

MODEL = "package.module:factory, file.py:factory or a .pt2; a factory returns model or (model, args)"
FILE = "package.module:factory, file.py:factory, a .pt2 or a saved .onnx; a factory returns model or (model, args)"
EXIT_CODES = "exit codes: 0 done, 1 an error in the model or around it, 2 usage, 3 a fault of fxonnx"


class Parser(argparse.ArgumentParser):
    """argparse's, which says what was likely meant: Python's own does from 3.14 on."""

    def error(self, message: str) -> NoReturn:
        """Print it and exit with 2."""
        choice = re.search(r"invalid choice: '(.*?)'", message)
        super().error(message + (_meant(choice[1], COMMANDS) if choice else ""))

    def known(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options; it exits for one that there is not."""
        options, others = self.parse_known_args(arguments)
        if others:
            flags = COMMANDS[options.command].flags
            super().error(f"unrecognized arguments: {' '.join(others)}{_meant(others[0].partition('=')[0], flags)}")
        return options


def _meant(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True, slots=True)
class Command:
    """What a command is about, the function that runs it, `module:function` in this folder, and its options."""

    about: str
    run: str
    options: tuple[Callable[[Parser], None], ...] = ()

    @property
    def flags(self) -> list[str]:
        """Its options by name."""
        parser = Parser()
        self.add_to(parser)
        return [flag for action in parser._actions for flag in action.option_strings]

    def add_to(self, parser: Parser) -> None:
        """Give a parser its options, and those of all commands."""
        for add in self.options:
            add(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, errors as well")
        parser.add_argument("-q", "--quiet", action="store_true", help="print errors alone, and what --show asks for")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; argparse itself exits with 2."""
    options = parser().known(arguments)
    with Outcome(as_json=options.json, quiet=options.quiet) as outcome:
        outcome.print(runner(COMMANDS[options.command].run)(options))
    return outcome.code


def runner(place: str) -> Callable[[argparse.Namespace], Result]:
    """The function of a command, imported now."""
    module, _, name = place.partition(":")
    function: Callable[[argparse.Namespace], Result] = getattr(import_module(f"fxonnx.tools.{module}"), name)
    return function


def parser() -> Parser:
    """The command line."""
    top = Parser(prog="fxonnx", description="Compile PyTorch models to ONNX.", epilog=EXIT_CODES)
    top.add_argument("--version", action="version", version=f"fxonnx {__version__}")
    commands = top.add_subparsers(required=True, metavar="command", dest="command")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.about, description=command.about, epilog=EXIT_CODES)
        command.add_to(one)
    return top


# ── options ──


def _model(command: Parser) -> None:
    command.add_argument("model", help=MODEL)
    _compiling(command)


def _model_or_file(command: Parser) -> None:
    command.add_argument("model", help=FILE)
    _compiling(command)


def _model_or_none(command: Parser) -> None:
    command.add_argument("model", nargs="?", help=f"{MODEL}; without one, all of torch's ops")
    _compiling(command)


def _compiling(command: Parser) -> None:
    """What is asked of compiling a model."""
    add = command.add_argument
    add("--target", help="onnx:17, onnxruntime:1.32, openvino, …, see `fxonnx targets` (the installed ONNX Runtime)")
    add("--opset", type=int, help="the ONNX operator set to write (the target's best)")
    add("--dynamic", type=dynamic_dims, metavar="x:0=batch,x:1=time", help='sizes that may change, or "auto"')
    add("--shape", type=input_shape, action="append", default=[], metavar="x=1x3x224x224",
        help="the size of an input: random numbers of that size are the example, or run a file")  # fmt: skip
    add("--input-names", type=names, metavar="x,mask", help="names of the inputs in the file")
    add("--output-names", type=names, metavar="y,score", help="names of the outputs in the file")
    add("--functions", type=names, metavar="Block", help='classes of modules that are functions of the file, or "all"')
    add("--no-optimize", action="store_true", help="without rewriting for speed")


def _writing(command: Parser) -> None:
    add = command.add_argument
    add("-o", "--output", type=Path, required=True, help="the file to write: model.onnx")
    add("--verify", action="store_true", help="compare with the model on fresh inputs; differences are an error")
    add("--external", action="store_true", help="put the weights into a file beside the model")
    add("--show", metavar="STAGE", help="print a stage, by name or number (lower, 0, -1)")
    add("--dump", type=Path, metavar="DIR", help="write the print-out of every stage into a directory")


def _saved(command: Parser) -> None:
    command.add_argument("file", nargs="?", help="a saved .onnx to compare, in the place of what is compiled now")


def _tolerances(command: Parser) -> None:
    command.add_argument("--rtol", type=float, help="what of |expected| a result may differ by (its dtype's)")
    command.add_argument("--atol", type=float, help="what a result may differ by")


def _script(command: Parser) -> None:
    script = "the script that shows it without your model"
    command.add_argument("--script", type=Path, default=Path("difference.py"), help=script)


def _tuning(command: Parser) -> None:
    command.add_argument("--seconds", type=float, default=60.0, help="how long to try (60)")
    command.add_argument("-o", "--output", type=Path, metavar="FILE",
                         help="write the model in the forms that are fastest here")  # fmt: skip


def _sweeping(command: Parser) -> None:
    add = command.add_argument
    add("entries", help='a dict or a function that returns one, module:name or file.py:name: {"small": "models:small", '
        '"small at 17": ("models:small", {"opset": 17})}')  # fmt: skip
    add("--results", type=Path, metavar="FILE", help="a line of JSON for each result; what has one is not done again")
    add("--cache", type=Path, metavar="DIR", help="compiled files, known by their content")
    add("--processes", type=int, default=1, help="how many at once (1)")
    add("--seconds", type=float, default=0.5, help="for how long calls of each are timed; 0 for not at all (0.5)")
    add("--no-verify", action="store_true", help="without comparing each with its model")


def _page(command: Parser) -> None:
    command.add_argument("-o", "--output", type=Path, metavar="PAGE", help="write the page here, and open no browser")


def _stages(command: Parser) -> None:
    command.add_argument("before", nargs="?", default="lowered", help="a stage; after a print-out, another one")
    command.add_argument("after", nargs="?", default="legalized", help="a later stage")


def _op(command: Parser) -> None:
    command.add_argument("op", help="aten.gelu, aten.max.dim, mylib.swoosh")


def _again(command: Parser) -> None:
    command.add_argument("--again", action="store_true", help="also where it has been measured before")


def _code(command: Parser) -> None:
    command.add_argument("code", nargs="?", help="FX012; all of them in a line each without it")


COMMANDS: Mapping[str, Command] = {
    "compile": Command("compile a model to a file, for the installed ONNX Runtime", "compile:run", (_model, _writing)),
    "export": Command("compile a model to a file of standard operators", "compile:run", (_model, _writing)),
    "verify": Command("compare what is compiled, or was saved, with the model", "checks:verify",
                      (_model, _saved, _tolerances)),
    "bisect": Command("say whose doing a difference or a failure is", "bisect.command:run",
                      (_model, _tolerances, _script)),
    "run": Command("run a model or a file once, and say what comes out", "checks:run_once", (_model_or_file,)),
    "bench": Command("measure how long a call of a model or a file takes", "checks:bench", (_model_or_file,)),
    "tune": Command("try forms of operators and settings of the runtime on this machine", "checks:tune",
                    (_model, _tuning)),
    "sweep": Command("compile, compare and time many models", "sweep.command:run", (_sweeping,)),
    "inspect": Command("say what a model or a file takes, returns and holds for", "checks:inspect", (_model_or_file,)),
    "view": Command("open a page of a model's stages, or of a file, in the browser", "view:view",
                    (_model_or_file, _page)),
    "diff": Command("say which rule turned which nodes into which", "view:diff", (_model, _stages)),
    "coverage": Command("say which ops of a model, or of torch, have a lowering", "coverage:run", (_model_or_none,)),
    "explain": Command("what fxonnx makes of an op", "pages:explain_op", (_op,)),
    "errors": Command("what an error means and what to do", "pages:errors", (_code,)),
    "targets": Command("what can be compiled for", "pages:targets"),
    "machine": Command("measure this machine, for forms that compete", "pages:machine", (_again,)),
}  # fmt: skip
"""The commands, each with `--json` and `--quiet`."""


# ── words of the command line ──


def names(text: str) -> list[str]:
    """`x,mask` as ["x", "mask"]."""
    return [each.strip() for each in text.split(",")]


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
