"""Text made of a size or a tensor: free where it is said to somebody, a specialization where the model goes on with it.

logger.info(f"{x.shape}")                    free
raise ValueError(f"at most 8, not {n}")      free, as is the message of an assert, or of check(condition, message)
self.blocks[f"{n}"]                          a plain number, in letters
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import FrameType, ModuleType
from typing import Any, TypeAlias

import torch

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


Key: TypeAlias = tuple[int, ...]
"""the numbers in what a size is looked up among: 14, (14, 16), "14x16" """
_LARGEST, _LONGEST = 4096, 32  # number, and text in which it stands
_OF_MODULES = frozenset(vars(torch.nn.Module()))  # names of modules and weights


def keys_around(frame: FrameType | None) -> set[Key]:
    """What a size, or the text of one, may be looked up among or compared with by the code that runs in a frame of the
    model's, or below it: whole numbers in the code, in what its variables hold, and the globals that it names."""
    while frame is not None and not (is_users(frame.f_code.co_filename) or _is_without_file(frame)):
        frame = frame.f_back
    if frame is None:
        return set()
    named = [frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals]
    found = *frame.f_locals.values(), *named
    owners = [each for each in found if not isinstance(each, (ModuleType, torch.Tensor))]  # torch's are a tensor's own
    return _keys_among([*frame.f_code.co_consts, *owners]).union(*map(keys_held, owners))


def keys_held(owner: Any) -> set[Key]:
    """The same among what an object holds, a model or a table of its own, and plain objects in it."""
    values = [value for name, value in getattr(owner, "__dict__", {}).items() if name not in _OF_MODULES]
    plain = [each for each in values if not callable(each) and not isinstance(each, (ModuleType, torch.Tensor))]
    return _keys_among([*values, *(part for each in plain for part in getattr(each, "__dict__", {}).values())])


def _keys_among(values: Sequence[Any]) -> set[Key]:
    flat = [each for value in values if isinstance(value, (Mapping, set, frozenset, tuple)) for each in value]
    keys = (tuple(_numbers(each)) for each in (*values, *flat))
    return {key for key in keys if len(key) > 1 or (key and key[0] > 1)}


def _numbers(value: Any) -> Iterator[int]:
    """The whole numbers in a key, in order."""
    match value:
        case bool():
            return
        case int() if 0 < value <= _LARGEST:
            yield int(value)
        case str() if len(value) <= _LONGEST:
            yield from (number for found in re.findall(r"\d+", value) if 0 < (number := int(found)) <= _LARGEST)
        case tuple():
            for each in value:
                yield from _numbers(each)


def is_said() -> bool:
    """Whether the text that is being made ends in a message, as far as the line that makes it tells; or is no matter
    of the model's, because torch makes it for itself, or we do. Code without a file, of exec() or stdin, tells nothing.
    """
    frame: FrameType | None = sys._getframe(1)
    is_without_file = False
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_globals.get("__name__", "").partition(".")[0] in _SAYING or _says(frame):
            return True
        if is_users(file):
            return False
        is_without_file |= _is_without_file(frame)
        is_door = file.endswith(_DOORS) or frame.f_code.co_name == "__torch_function__"
        if file.startswith(_LIBRARIES) and not is_door:
            break
        frame = frame.f_back
    return not is_without_file


def _is_without_file(frame: FrameType) -> bool:
    """Whether a frame runs code of exec(), or of stdin."""
    file = frame.f_code.co_filename
    return file.startswith("<") and not file.startswith("<frozen")


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
