"""`fxonnx view | diff`: a model's stages as a page, and what changed between them."""

from __future__ import annotations

import argparse
from pathlib import Path

from fxonnx.inspection.file import file_page
from fxonnx.ir.changes import diff as changes
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import ParseError, parse_graph
from fxonnx.tools.checks import compiled_of
from fxonnx.tools.outcome import Result, Usage

PRINTED = ".ir"
"""How the names of print-outs end."""


def view(options: argparse.Namespace) -> Result:
    """Write the page of a model or a saved file, or open it, and say its path. Raises Usage, CannotWrite, and what
    compiling does."""
    saved = options.model.endswith(".onnx")
    page = file_page(Path(options.model)) if saved else compiled_of(options).page
    path = str(page.open() if options.output is None else page.write(options.output))
    return Result(path, {"page": path})


def diff(options: argparse.Namespace) -> Result:
    """What changed between two stages of a model, or two print-outs. Raises Usage, and what compiling does."""
    if options.model.endswith(PRINTED):
        found = changes([("", _read(path)) for path in (options.model, options.before)])
    else:
        found = compiled_of(options).diff(*map(_stage, (options.before, options.after)))
    rows = [
        {"before": [node.op for node in each.before], "after": [node.op for node in each.after], "by": list(each.by),
         "module": each.location.module, "source": each.location.source}
        for each in found.changes
    ]  # fmt: skip
    return Result(str(found), {"summary": found.summary, "changes": rows})


def _stage(text: str) -> str | int:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _read(path: str) -> Graph:
    """The graph in a print-out. Raises Usage."""
    try:
        return parse_graph(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ParseError) as error:
        raise Usage(f"{path} is no print-out of a stage: {error}") from None
