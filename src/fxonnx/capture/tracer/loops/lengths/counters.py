"""What the model's code makes of numbers that it counts up itself, `t += 1`: a plain counter leaves no mark on a tape,
so that what is made of it is read off the syntax, and evaluated for many iterations."""

from __future__ import annotations

import ast
import builtins
import dis
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from inspect import unwrap
from itertools import pairwise
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, NamedTuple

from torch import nn

from fxonnx.capture.syntax import tree

ITERATIONS = 1 << 13  # for which an expression is evaluated
_FUNCTIONS = "abs", "bool", "float", "int", "max", "min", "round"
_KNOWN: dict[str, Any] = {"math": math, **{name: getattr(builtins, name) for name in _FUNCTIONS}}
_PARTS = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Constant, ast.Attribute, ast.Name,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load,
)  # fmt: skip
_DIVISIONS = ast.Div, ast.FloorDiv, ast.Mod, ast.Pow
_MANY = 64  # different steps


class Counted(NamedTuple):
    """An expression of one counter, and of numbers in the code and attributes of modules: its source, compiled; the
    counter, and the names of the attributes."""

    code: Any
    counter: str
    attributes: tuple[str, ...]


def turns(functions: Iterable[ast.AST], modules: Iterable[nn.Module]) -> set[int]:
    """After how many iterations of a loop an expression of its counters makes a step, from one iteration to the next,
    that it has not made before: `t // 7 > 3` after 29, `t % 20` after 2 and after 21."""
    expressions = [each for function in functions for each in _counted(function)]
    found: set[int] = set()
    for module in modules if expressions else ():
        for each in expressions:
            numbers = tuple((name, getattr(module, name, None)) for name in each.attributes)
            if all(isinstance(number, (int, float)) for _, number in numbers):
                found.update(_turns(each, numbers))
    return found


@lru_cache(maxsize=1024)
def _counted(function: ast.AST) -> tuple[Counted, ...]:
    """The largest expressions of one counter each."""
    counters = {name for loop in _loops(function) for each in ast.walk(loop) for name in _counts(each)}
    found: list[Counted] = []
    pending: list[ast.AST] = [function] if counters else []
    while pending:
        node = pending.pop()
        counted = _as_counted(node, counters) if isinstance(node, ast.expr) else None
        if counted is None:
            pending.extend(ast.iter_child_nodes(node))
        elif not isinstance(node, ast.Name):
            found.append(counted)
    return tuple(found)


def compares_counters(functions: Iterable[ast.AST]) -> bool:
    """Whether one of these functions makes something of several counters that their sums and products do not tell:
    `i < j`, `max(i, j)`, `(i + j) // 2`."""
    return any(map(_compares, functions))


@lru_cache(maxsize=1024)
def _compares(function: ast.AST) -> bool:
    counters = {name for loop in _loops(function) for each in ast.walk(loop) for name in _counts(each)}
    divided = (node for node in ast.walk(function) if isinstance(node, ast.BinOp) and isinstance(node.op, _DIVISIONS))
    asked = (node for node in ast.walk(function) if isinstance(node, ast.Compare) or _is_call_of_numbers(node))
    return any(len(counters & _names(node)) > 1 for node in (*divided, *asked))


def _is_call_of_numbers(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def counts_unread(functions: Iterable[Any]) -> bool:
    """Whether one of these functions, or one beside it, counts something up and has no source that can be read: it was
    typed in, or made by exec."""
    unread = [each for each in _in_python(functions) if not _is_read(each.__code__)]
    return any(map(_counts_up, {code for each in unread for code in _beside(each)}))


def _in_python(values: Iterable[Any]) -> Iterator[FunctionType]:
    """The functions among values, and not what is wrapped around them."""
    functions = (unwrap(each) for each in values if isinstance(each, FunctionType))
    return (each for each in functions if isinstance(each, FunctionType))


def _is_read(code: CodeType) -> bool:
    return tree(code.co_filename) is not None


def _beside(function: FunctionType) -> Iterator[CodeType]:
    """The code of a function, and of the functions and methods in its globals that come from where it does."""
    named = function.__globals__.values()
    found = [each for value in named for each in (vars(value).values() if isinstance(value, type) else (value,))]
    codes = (each.__code__ for each in _in_python((function, *found)))
    return (each for each in codes if each.co_filename == function.__code__.co_filename)


def _counts_up(code: CodeType) -> bool:
    """Whether there is a `t += 1` in it, or in what it defines."""
    steps = pairwise(dis.get_instructions(code))
    if any(one.argval == 1 and (add.argrepr == "+=" or add.opname == "INPLACE_ADD") for one, add in steps):
        return True
    return any(isinstance(each, CodeType) and _counts_up(each) for each in code.co_consts)


def _loops(function: ast.AST) -> list[ast.AST]:
    return [each for each in ast.walk(function) if isinstance(each, (ast.For, ast.While))]


def _counts(node: ast.AST) -> Iterator[str]:
    """What a statement counts up: t of `t += 1`."""
    match node:
        case ast.AugAssign(ast.Name(name), ast.Add(), ast.Constant(1)):
            yield name


def _as_counted(node: ast.expr, counters: set[str]) -> Counted | None:
    """An expression, where it is of one counter."""
    parts = list(ast.walk(node))
    attributes = {each.attr for each in parts if isinstance(each, ast.Attribute) and not _is_known(each)}
    names = {each.id for each in parts if isinstance(each, ast.Name)} - _KNOWN.keys() - {"self"}
    if len(names & counters) != 1 or len(names) != 1 or not all(isinstance(each, _PARTS) for each in parts):
        return None
    if any(isinstance(each, ast.Attribute) and not _is_plain(each) for each in parts):
        return None
    return Counted(compile(ast.Expression(node), "<counted>", "eval"), names.pop(), tuple(sorted(attributes)))


def _is_plain(node: ast.Attribute) -> bool:
    """Whether it is `self.steps`, or `math.sqrt`."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "math")


def _is_known(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "math"


@lru_cache(maxsize=1024)
def _turns(counted: Counted, attributes: tuple[tuple[str, Any], ...]) -> tuple[int, ...]:
    """The turns of one expression; none where there are ever new steps, which runs of any length show."""
    first: dict[str, int] = {}
    for iteration, (value, following) in enumerate(pairwise(_values(counted, dict(attributes)))):
        first.setdefault(f"{following - value:.9g}", iteration + 2)  # a float's last digits are rounding
        if len(first) >= _MANY:
            return ()
    return tuple(first.values())


def _values(counted: Counted, attributes: Mapping[str, Any]) -> Iterator[Any]:
    """Its numbers, one for each iteration, as long as it has one."""
    names = {"__builtins__": {}, **_KNOWN, "self": SimpleNamespace(**attributes)}
    for iteration in range(ITERATIONS):
        try:
            value = eval(counted.code, names, {counted.counter: iteration})
        except (ArithmeticError, TypeError, ValueError):
            return
        if not isinstance(value, (int, float)):
            return
        yield value
