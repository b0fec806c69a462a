"""HTML of what notebooks and pages show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
.fxonnx { font: 12px/1.5 ui-monospace, Menlo, Consolas, monospace; text-align: left; }
.fxonnx table { border-collapse: collapse; font: inherit; }
.fxonnx th, .fxonnx td { padding: 0 1em 0 0; text-align: left; white-space: pre; }
.fxonnx th.number, .fxonnx td.number { text-align: right; }
.fxonnx pre, .fxonnx .line { margin: 0; white-space: pre; font: inherit; }
.fxonnx details { padding-left: 1em; }
.fxonnx summary { margin-left: -1em; cursor: pointer; font-weight: bold; }
.fxonnx .place, .fxonnx .origin { color: #888; }
.fxonnx .type { color: #2a8f8f; }
.fxonnx .operator { color: #3b78d8; font-weight: bold; }
.fxonnx .value { color: #9a6fd0; }
.fxonnx .string, .fxonnx .number { color: #b06a1f; }
.fxonnx .keyword { color: #c0405a; }
"""
"""The style of all of it, in colours that can be read on white and on black."""


def bundle(text: str, html: str) -> dict[str, str]:
    """What `_repr_mimebundle_` returns: the text for terminals, the HTML for notebooks."""
    return {"text/plain": text, "text/html": f'<style>{STYLE}</style><div class="fxonnx">{html}</div>'}


def pre(text: str, kind: str = "") -> str:
    """A text as it is, of a kind that the style knows."""
    return f'<pre class="{kind}">{escape(text)}</pre>' if kind else f"<pre>{escape(text)}</pre>"


def fold(title: str, html: str, *, is_open: bool = True) -> str:
    """What can be folded away under a title, given as HTML."""
    return f"<details{' open' if is_open else ''}><summary>{title}</summary>{html}</details>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand to the right, under their titles."""
    listed = [*map(tuple, rows)]
    columns = zip(*listed, strict=True) if listed else ((),) * len(header)
    head = "".join(f"<th{_kind(*column)}>{escape(each)}</th>" for each, column in zip(header, columns, strict=True))
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in listed)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(content: object) -> str:
    said = f"{content:.4g}" if isinstance(content, float) else str(content)
    return f"<td{_kind(content)}>{escape(said)}</td>"


def _kind(*contents: object) -> str:
    return ' class="number"' if any(isinstance(each, int | float) for each in contents) else ""
