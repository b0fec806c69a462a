"""The stages of a compiled model as a table: what each left, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fxonnx.compiled import Compiled

if TYPE_CHECKING:
    from rich.table import Table


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
