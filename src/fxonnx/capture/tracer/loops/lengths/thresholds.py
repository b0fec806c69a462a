"""Numbers that the model's code compares with: beyond as many iterations a loop may go another way."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

from torch import fx, nn

from fxonnx.capture.locate import user_line
from fxonnx.capture.syntax import tree

_ORDERED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def functions_around(nodes: Iterable[fx.Node]) -> set[ast.AST]:
    """The functions of the model's code that made these calls."""
    lines = [user_line(trace) for trace in {node.meta.get("stack_trace") or "" for node in nodes}]
    found = (_function(*place) for place in {(line.file, line.line) for line in lines})
    return {each for each in found if each is not None}


def thresholds(functions: Iterable[ast.AST], modules: Iterable[nn.Module]) -> set[int]:
    """The whole numbers that functions compare something with, or take a remainder by, or have entries for: as they are
    written (`t == 40`, `{40: 0.5}`), and as attributes of modules (`t < self.warmup`)."""
    operands = [each for function in functions for each in _of_comparisons(function)]
    names = {each.attr for each in operands if isinstance(each, ast.Attribute)}
    values = [each.value for each in operands if isinstance(each, ast.Constant)]
    values += [getattr(module, name, None) for module in modules for name in names]
    return {value for value in values if type(value) is int}


def _function(file: str, line: int) -> ast.AST | None:
    """The outermost function around a line."""
    functions = [each for each in _functions(file) if each.lineno <= line <= (each.end_lineno or line)]
    return min(functions, key=lambda each: each.lineno, default=None)


@lru_cache(maxsize=64)
def _functions(file: str) -> tuple[ast.FunctionDef | ast.Lambda, ...]:
    whole = tree(file) if file else None
    found = ast.walk(whole) if whole is not None else ()
    return tuple(each for each in found if isinstance(each, (ast.FunctionDef, ast.Lambda)))


@lru_cache(maxsize=1024)
def _of_comparisons(function: ast.AST) -> tuple[ast.AST, ...]:
    found: list[ast.AST] = []
    for each in ast.walk(function):
        if isinstance(each, ast.Compare) and isinstance(each.ops[0], _ORDERED):
            found += (each.left, *each.comparators)
        elif isinstance(each, ast.BinOp) and isinstance(each.op, ast.Mod):
            found.append(each.right)
        elif isinstance(each, ast.Dict):
            found += filter(None, each.keys)
    return tuple(found)
