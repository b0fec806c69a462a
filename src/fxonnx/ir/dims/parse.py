"""The text of a dim as a dim."""

from __future__ import annotations

import ast
from collections.abc import Callable

from fxonnx.ir.dims.expression import FUNCTIONS, Dim, Shape, floor_divide, modulo, symbol


def parse_dim(text: str) -> Dim:
    """The dim that `str` printed. Raises ValueError where the text is no dim."""
    (dim,) = parse_shape(text)
    return dim


def parse_shape(text: str) -> Shape:
    """The dims that `text` names, apart by commas: `n,max(m,8),4`. Raises ValueError where one is no dim."""
    try:
        tree = ast.parse(f"[{text}]", mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"no dims: {text!r}") from error
    match tree:
        case ast.List(elts=elements):
            return tuple(map(_from_ast, elements))
    raise ValueError(f"no dims: {text!r}")


def _from_ast(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -1 * _from_ast(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            divisor = _from_ast(right)
            if divisor == 0 and isinstance(operator, (ast.FloorDiv, ast.Mod)):
                raise ValueError(f"a division by 0: {ast.unparse(node)!r}")
            return _OPERATORS[type(operator)](_from_ast(left), divisor)
        case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in FUNCTIONS:
            return FUNCTIONS[name](_from_ast(left), _from_ast(right))
    raise ValueError(f"not a dim: {ast.unparse(node)!r}")


_OPERATORS: dict[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floor_divide,
    ast.Mod: modulo,
}
