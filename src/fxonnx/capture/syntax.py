"""The syntax that a frame is at: the nodes of its source around the instruction that it executes."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any


def around(frame: FrameType) -> list[ast.AST]:
    """The nodes around what a frame does now, from the outermost; none where there is no source."""
    return around_instruction(frame.f_code, frame.f_lasti)


def around_instruction(code: CodeType, offset: int) -> list[ast.AST]:
    """The nodes around an instruction, by its offset in the code."""
    positions = list(code.co_positions())[offset // 2]
    whole = tree(code.co_filename) if None not in positions else None
    return [] if whole is None else list(_around(whole, *positions))  # type: ignore[arg-type]


def _around(node: ast.AST, line: int, end: int, column: int, end_column: int) -> Iterator[ast.AST]:
    """The nodes that a stretch of source lies in, from the outermost."""
    start, stop = (line, column), (end, end_column)
    found: ast.AST | None = node
    while found is not None:
        yield found
        found = next((each for each in _parts(found) if start_of(each) <= start and stop <= end_of(each)), None)


def _parts(node: ast.AST) -> Iterator[Any]:
    """The nodes right below one that have a place in the source: `comprehension` and the like have none."""
    for each in ast.iter_child_nodes(node):
        if hasattr(each, "lineno"):
            yield each
        else:
            yield from _parts(each)


def start_of(node: Any) -> tuple[int, int]:
    """The line and the column at which a node begins."""
    return node.lineno, node.col_offset


def end_of(node: Any) -> tuple[int, int]:
    """The line and the column behind a node."""
    return node.end_lineno, node.end_col_offset


@lru_cache(maxsize=64)
def tree(file: str) -> ast.Module | None:
    """A file's syntax; None where there is no source, or it is another version of Python's."""
    lines = linecache.getlines(file)
    try:
        return ast.parse("".join(lines)) if lines else None
    except SyntaxError:
        return None
