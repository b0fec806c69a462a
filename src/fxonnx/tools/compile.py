"""`fxonnx compile | export`: load a model, compile it, check it, write it, saying where it is."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from fxonnx.compiled import Compiled
from fxonnx.compiler import compile
from fxonnx.emit.files import checked_path
from fxonnx.progress import Listener
from fxonnx.tools.checks import compile_options, example_of
from fxonnx.tools.outcome import Result, Usage
from fxonnx.tools.stages import spinning, stage_rows, stage_table

if TYPE_CHECKING:
    from rich.console import Console


def run(options: argparse.Namespace) -> Result:
    """The command. Progress goes to stderr, `--show` to stdout; the file appears last, when all else went well."""
    from rich.console import Console

    # markup is off: names may have brackets in them
    console = Console(stderr=True, highlight=False, markup=False, quiet=options.quiet)
    checked_path(options.output)  # before a long compile
    with step(console, "load", options.model):
        model, arguments, keywords = example_of(options)
    with step(console, "compile", "capture, lower, optimize, legalize") as progress:
        compiled = compile(model, arguments, keywords, **compile_options(options), progress=progress)
    console.print(stage_table(compiled))
    shown = "" if options.show is None else show(compiled, options.show)
    if options.verify:
        with step(console, "verify", "against the model, on fresh inputs"):
            report = compiled.verify().check()
        console.print(str(report), soft_wrap=True)
    files = write(console, compiled, options)
    stages = [{"name": name, "nodes": nodes, "seconds": seconds} for name, nodes, seconds in stage_rows(compiled)]
    data = {"ok": True, "files": list(map(str, files)), "target": str(compiled.target), "stages": stages}
    return Result(shown, data | {"holds_for": str(compiled.limits)}, always=shown)


@contextmanager
def step(console: Console, name: str, what: str) -> Iterator[Listener]:
    """A spinner while it runs, a line with its seconds when it is done; no line when it fails."""
    start = perf_counter()
    with spinning(console, f"{name}  {what}") as progress:
        yield progress
    console.print(f"✓ {name:8} {what}  {perf_counter() - start:.2f} s", soft_wrap=True)


def show(compiled: Compiled, stage: str) -> str:
    """The print-out of a stage given by name or index. Raises Usage."""
    count = len(compiled.stages)
    if stage.lstrip("-").isdecimal() and -count <= int(stage) < count:
        return compiled.show(int(stage))
    names = dict.fromkeys(name for each in compiled.stages for name in (each.phase, each.name))
    if stage in names:
        return compiled.show(stage)
    raise Usage(f"--show: no stage {stage!r}; there are {', '.join(names)}, or 0 to {count - 1}")


def write(console: Console, compiled: Compiled, options: argparse.Namespace) -> tuple[Path, ...]:
    """Write the print-outs and the model: its files. Raises CannotWrite, TooLarge, and then neither is there."""
    with removed_on_failure(options.dump), step(console, "save", str(options.output)):
        if options.dump is not None:
            compiled.dump(options.dump)
        files = compiled.save(options.output, weights="external" if options.external else "auto")
    for file in files:
        console.print(f"  {file}  {file.stat().st_size / 1e6:,.1f} MB", soft_wrap=True)
    return files


@contextmanager
def removed_on_failure(directory: Path | None) -> Iterator[None]:
    """Remove the directory if what is inside the `with` made it and then failed."""
    fresh = directory is not None and not directory.exists()
    done = False
    try:
        yield
        done = True
    finally:
        if fresh and not done and directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
