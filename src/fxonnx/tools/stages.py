"""The stages of a compiled model: the one that is being made, and all of them as a table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fxonnx.compiled import Compiled
from fxonnx.progress import Listener, Step

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@contextmanager
def watched(options: argparse.Namespace, what: str) -> Iterator[Listener | None]:
    """A spinner on a terminal's stderr that says what is being done, and which step of it, where that is told to what
    this yields. Tuning has a bar of its own."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, quiet=options.quiet)
    if not console.is_terminal or options.command == "tune":
        yield None
        return
    with spinning(console, what) as progress:
        yield progress


@contextmanager
def spinning(console: Console, what: str) -> Iterator[Listener]:
    """A spinner that says what is being done, and which step of it is told to what this yields."""
    from rich.text import Text

    with console.status(Text(what)) as status:

        def progress(step: Step) -> None:
            status.update(Text(f"{what}  {step.name}"))

        yield progress


def stage_rows(compiled: Compiled) -> list[tuple[str, int, float]]:
    """(name, nodes, seconds) of every stage, the capture first, whose nodes are torch's calls."""
    calls = sum(node.op == "call_function" for node in compiled.program.graph.nodes)
    stages = [(stage.name, stage.nodes, stage.seconds) for stage in compiled.stages]
    return [("capture", calls, compiled.capture_seconds), *stages]


def stage_table(compiled: Compiled) -> Table:
    """A rich table of the stages, in milliseconds, with their sum."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = stage_rows(compiled)
    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
    table.add_column("stage", footer="all")
    table.add_column("nodes", justify="right", footer=str(rows[-1][1]))
    table.add_column("ms", justify="right", footer=_milliseconds(sum(seconds for _, _, seconds in rows)))
    for name, nodes, seconds in rows:
        table.add_row(name, str(nodes), _milliseconds(seconds))
    return table


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"
