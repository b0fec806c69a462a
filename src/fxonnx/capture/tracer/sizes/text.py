"""Text made of a size or a tensor: free where it is said to somebody, a specialization where the model goes on with it.

logger.info(f"{x.shape}")                    free
raise ValueError(f"at most 8, not {n}")      free, as is the message of an assert
self.blocks[f"{n}"]                          a plain number, in letters
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from types import FrameType
from typing import Any

from fxonnx.capture.locate import _LIBRARIES, is_users

_SAYERS = frozenset({
    "print", "pprint", "warn", "warn_once", "debug", "info", "warning", "warning_once", "error", "exception",
    "critical", "log", "fatal", "_assert", "_check", "_check_index", "_check_type", "_check_value",
})  # fmt: skip
# a model's question comes through these
_DOORS = ("sizes/node.py", "tracer/functions.py", "torch/__init__.py", "_tensor.py", "overrides.py")
_SAYING = ("logging", "warnings", "traceback", "pdb", "bdb")  # modules whose text goes to somebody


def is_said() -> bool:
    """Whether the text that is being made ends in a message, as far as the line that makes it tells; or is no matter
    of the model's, because torch makes it for itself, or we do."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_globals.get("__name__", "").partition(".")[0] in _SAYING or _says(frame):
            return True
        if is_users(file):
            return False
        if file.startswith(_LIBRARIES) and not file.endswith(_DOORS):
            return True
        frame = frame.f_back
    return True


def _says(frame: FrameType) -> bool:
    """Whether what a frame is at now is part of a message."""
    file = frame.f_code.co_filename
    positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    tree = _tree(file) if None not in positions else None
    return tree is not None and _is_message(list(_around(tree, *positions)))  # type: ignore[arg-type]


def _is_message(path: list[ast.AST]) -> bool:
    """Whether the innermost of these nodes, each of which is in the one before, is part of a message."""
    for outer, inner in pairwise(path):
        if isinstance(outer, ast.Raise) or (isinstance(outer, ast.Assert) and inner is outer.msg):
            return True
        if isinstance(outer, ast.Expr) and isinstance(inner, ast.Call):  # a statement: nothing is made of its value
            name = inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
            return name in _SAYERS
    return False


def _around(node: ast.AST, line: int, end: int, column: int, end_column: int) -> Iterator[ast.AST]:
    """The nodes that a stretch of source lies in, from the outermost."""
    start, stop = (line, column), (end, end_column)
    found: ast.AST | None = node
    while found is not None:
        yield found
        found = next((each for each in _parts(found) if _first(each) <= start and stop <= _last(each)), None)


def _parts(node: ast.AST) -> Iterator[Any]:
    """The nodes right below one that have a place in the source: `comprehension` and the like have none."""
    for each in ast.iter_child_nodes(node):
        if hasattr(each, "lineno"):
            yield each
        else:
            yield from _parts(each)


def _first(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _last(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


@lru_cache(maxsize=64)
def _tree(file: str) -> ast.Module | None:
    """A file's syntax; None where there is no source, or it is another version of Python's."""
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
