"""One self-contained page of graphs as text: searched, folded by module, the user's line on hover.

The lines are in the page as JSON, once, and only those in sight are drawn: so it opens and answers as quickly with
thousands of nodes in dozens of stages.
"""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp

from fxonnx import markup
from fxonnx.emit.files import saying_what
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import graph_lines
from fxonnx.ir.text.html import TOKENS, hover
from fxonnx.location import Location
from fxonnx.passes.pipeline import Stage


@dataclass(frozen=True, slots=True)
class Row:
    """A line of text, the module that it is folded into, and what is told where the mouse is over it."""

    text: str
    module: str = ""
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a title: a stage of a model, a file."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Page:
    """Sections under a title, with a few lines that say what it is of."""

    title: str
    facts: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page, which needs nothing else. Takes time linear in the rows."""
        words = dict[str, int]()  # modules and places, which many rows share

        def word(text: str) -> int:
            return words.setdefault(text, len(words))

        sections = [
            {"title": each.title, "rows": [(row.text, word(row.module), word(row.hover)) for row in each.rows]}
            for each in self.sections
        ]
        tokens = TOKENS.replace("(?P<", "(?<")  # as JavaScript writes it
        said = {"title": self.title, "facts": self.facts, "tokens": tokens, "sections": sections, "words": list(words)}
        data = json.dumps(said, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")  # no tag ends it
        template = (files("fxonnx.inspection") / "page.html").read_text(encoding="utf-8")
        head, _, rest = template.partition("/* style */")
        body, _, end = rest.partition("/* data */")
        return "".join((head, markup.STYLE, body, data, end))

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file. Raises CannotWrite."""
        file = Path(path)
        with saying_what(file):
            file.write_text(self.html(), encoding="utf-8")
        return file

    def open(self) -> Path:
        """Open it in the browser, from a temporary file, whose path is returned."""
        file = self.write(Path(mkdtemp(prefix="fxonnx-")) / "page.html")
        webbrowser.open(file.as_uri())
        return file


def stage_sections(stages: Iterable[Stage]) -> list[Section]:
    """The stages that changed something, with their nodes and times."""
    found: list[Section] = []
    before: Graph | None = None
    for stage in stages:
        if stage.graph is not before:
            title = f"{stage.name}  {stage.nodes} nodes  {stage.seconds * 1000:.1f} ms"
            found.append(Section(title, graph_rows(stage.graph, stage.name)))
        before = stage.graph
    return found


def graph_rows(graph: Graph, name: str) -> list[Row]:
    """The rows of a graph's text."""
    lines = graph_lines(graph, stage=name)
    places = [line.node.location if line.node is not None else Location() for line in lines]
    return [Row(str(line), place.module, hover(place)) for line, place in zip(lines, places, strict=True)]
