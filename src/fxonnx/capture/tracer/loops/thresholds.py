"""Numbers that the model's code compares with: beyond as many iterations a loop may go another way."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from torch import fx, nn

from fxonnx.capture.locate import user_line
from fxonnx.capture.syntax import tree

_ORDERED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def thresholds(nodes: Iterable[fx.Node], modules: Iterable[nn.Module]) -> set[int]:
    """The whole numbers that the functions which made these calls compare something with, or take a remainder by: as
    they are written (`t == 40`), and as attributes of modules (`t < self.warmup`)."""
    lines = (user_line(trace) for trace in {node.meta.get("stack_trace") or "" for node in nodes})
    operands = [each for place in {(line.file, line.function) for line in lines} for each in _operands(*place)]
    names = {each.attr for each in operands if isinstance(each, ast.Attribute)}
    values = [each.value for each in operands if isinstance(each, ast.Constant)]
    values += [getattr(module, name, None) for module in modules for name in names]
    return {value for value in values if type(value) is int}


def _operands(file: str, function: str) -> Iterator[Any]:
    """What a function compares, and divides by."""
    whole = tree(file) if file else None
    for each in ast.walk(whole) if whole is not None else ():
        if isinstance(each, (ast.FunctionDef, ast.Lambda)) and getattr(each, "name", "<lambda>") == function:
            yield from _of_comparisons(each)


def _of_comparisons(function: ast.AST) -> Iterator[ast.AST]:
    for each in ast.walk(function):
        if isinstance(each, ast.Compare) and isinstance(each.ops[0], _ORDERED):
            yield from (each.left, *each.comparators)
        elif isinstance(each, ast.BinOp) and isinstance(each.op, ast.Mod):
            yield each.right
