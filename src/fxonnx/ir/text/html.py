"""A graph as HTML: highlighted, folded by module, the user's line on hover."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from itertools import takewhile

from fxonnx.ir.graph import Graph
from fxonnx.ir.text.printer import Line, graph_lines
from fxonnx.location import Location

TOKENS = "|".join(
    (
        r"(?P<place>^ *@ .*)",
        r"(?P<origin> +· .*$)",
        r'(?P<string>"(?:[^"\\]|\\.)*")',
        r"(?P<type>(?<=: )[a-z]\w*\[[^\]]*\])",
        r"(?P<operator>(?:[\w.]+::)?[A-Z]\w*(?=\())",
        r"(?P<keyword>\b(?:graph|return)\b(?=[ (]))",
        r"(?P<value>%[\w?]+)",
        r"(?:[^\W\d][\w.\-/~]*)",  # names, whose digits are no numbers
        r"(?P<number>-?\d[\w.+\-]*)",
    )
)
"""What the parts of a line are, as a regular expression; JavaScript knows all that is in it."""

_TOKEN = re.compile(TOKENS)
SHOWN_LINES = 2000
"""More are not shown: a notebook keeps what it shows, and a browser grows slow."""


def highlight(line: str) -> str:
    """A line of the text as HTML, its tokens in spans of their kinds."""
    parts, end = [], 0
    for token in _TOKEN.finditer(line):
        parts += [escape(line[end : token.start()]), _span(token[0], token.lastgroup)]
        end = token.end()
    return "".join((*parts, escape(line[end:])))


def _span(text: str, kind: str | None) -> str:
    return f'<span class="{kind}">{escape(text)}</span>' if kind else escape(text)


def hover(location: Location) -> str:
    """What a line tells of its place: `encoder.py:31  return self.fc(x)`."""
    return "  ".join(filter(None, (location.source, location.code)))


def graph_html(graph: Graph, stage: str | None = None) -> str:
    """The graph's text, folded by module; cut after SHOWN_LINES."""
    lines = graph_lines(graph, stage=stage)
    cut = f'<div class="line">… and {len(lines) - SHOWN_LINES:,} more lines</div>' if len(lines) > SHOWN_LINES else ""
    return _folded(lines[:SHOWN_LINES]) + cut


def _folded(lines: Iterable[Line]) -> str:
    """Lines in folds, one in the other, as module paths go."""
    parts: list[str] = []
    inside: tuple[str, ...] = ()
    for line in lines:
        location = line.node.location if line.node is not None else Location()
        path = location.scopes
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, inside, strict=False)))
        parts += ["</details>"] * (len(inside) - common)
        parts += [f"<details open><summary>{escape(name)}</summary>" for name in path[common:]]
        inside = path
        said = f' title="{escape(hover(location))}"' if hover(location) else ""
        parts.append(f'<div class="line"{said}>{highlight(str(line))}</div>')
    return "".join((*parts, "</details>" * len(inside)))
