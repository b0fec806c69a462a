"""Text made of a size or a tensor: free where it is said to somebody, a specialization where the model goes on with it.

logger.info(f"{x.shape}")                    free
raise ValueError(f"at most 8, not {n}")      free, as is the message of an assert, or of check(condition, message)
self.blocks[f"{n}"]                          a plain number, in letters
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import FrameType
from typing import Any

from fxonnx.capture.locate import _LIBRARIES, is_users
from fxonnx.capture.syntax import around

_SAYERS = frozenset({
    "print", "pprint", "warn", "warn_once", "debug", "info", "warning", "warning_once", "error", "exception",
    "critical", "log", "fatal", "deprecate", "_assert", "_check", "_check_index", "_check_type", "_check_value",
})  # fmt: skip
# in the name, in any case, of what takes a condition and a message
_CHECKERS = ("check", "assert", "ensure", "require", "validate")
# a model's question comes through these
_DOORS = ("sizes/node.py", "python/iterations.py", "torch/__init__.py", "_tensor.py", "overrides.py")
_SAYING = ("logging", "warnings", "traceback", "pdb", "bdb")  # modules whose text goes to somebody


_LARGEST = 4096


def numbers_around(frame: FrameType | None) -> set[int]:
    """The whole numbers that a size, or the text of one, may be looked up among or compared with by the code that runs
    in a frame of the model's, or below it: those in the code, and in what its variables hold."""
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return set()
    found: list[Any] = list(frame.f_code.co_consts)
    for value in list(frame.f_locals.values()):
        found += [value, *getattr(value, "__dict__", {}).values()]
    flat = [each for value in found if isinstance(value, (Mapping, set, frozenset, tuple)) for each in value]
    numbers = (int(each) if isinstance(each, str) and each.isdecimal() else each for each in (*found, *flat))
    return {each for each in numbers if type(each) is int and 1 < each <= _LARGEST}


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
        is_door = file.endswith(_DOORS) or frame.f_code.co_name == "__torch_function__"
        if file.startswith(_LIBRARIES) and not is_door:
            return True
        frame = frame.f_back
    return True


def _says(frame: FrameType) -> bool:
    """Whether what a frame is at now is part of a message."""
    return _is_message(around(frame))


def _is_message(path: Sequence[ast.AST], *, by_name: bool = True) -> bool:
    """Whether the innermost of these nodes, each of which is in the one before, is part of a message: itself, or
    `by_name` wherever its function reads the name that it is given."""
    for depth, (outer, inner) in enumerate(pairwise(path), start=2):
        if by_name and isinstance(outer, ast.Assign) and inner is outer.value:
            return _is_only_said(outer.targets, path[:depth])
        if isinstance(outer, ast.Raise) or (isinstance(outer, ast.Assert) and inner is outer.msg):
            return True
        if isinstance(outer, ast.Expr) and isinstance(inner, ast.Call):  # a statement: nothing is made of its value
            name = inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
            is_condition = inner.args[:1] == list(path[depth : depth + 1])
            return name in _SAYERS or (not is_condition and any(word in name.lower() for word in _CHECKERS))
    return False


def _is_only_said(targets: list[ast.expr], path: Sequence[ast.AST]) -> bool:
    """Whether a name that is assigned in the innermost function of a path is read in messages only."""
    functions = [each for each in path if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
    match targets:
        case [ast.Name(id=name)] if functions:
            return all(_is_message(found, by_name=False) for found in _reads(name, functions[-1], ()))
    return False


def _reads(name: str, node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[tuple[ast.AST, ...]]:
    """Where a name is read: the nodes around it, from the outermost, and it."""
    path = (*above, node)
    if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
        yield path
    for each in ast.iter_child_nodes(node):
        yield from _reads(name, each, path)
