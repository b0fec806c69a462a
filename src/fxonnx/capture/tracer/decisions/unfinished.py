"""The expressions that a frame has begun, and whose values wait on its stack: in `x + self.block(x)` that is x, while
the block runs. Their values cannot be read, but the syntax tells what they are made of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import CodeType

from fxonnx.capture.syntax import around_instruction, end_of, start_of

_GATHERING = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_OWN_FRAMES = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
_GATHER_NOTHING = frozenset({"any", "all"})
_CONSUMING = (ast.BoolOp, ast.IfExp, ast.stmt)  # which have nothing of one part left when they come to the next


def waiting_names(code: CodeType, at: int, asked: Iterable[int]) -> frozenset[str] | None:
    """The names that a code's unfinished expressions at an instruction are made of. None where that tells too little:
    there is no source, or one of the instructions that have `asked` for decisions lies in them."""
    found = _waiting(code, at)
    if found is None:
        return None
    places = [(place[0], place[2]) for instruction in asked if (place := _positions(code)[instruction // 2])[0]]
    if any(start_of(each) <= place < end_of(each) for each in found for place in places):
        return None
    return frozenset(each.id for part in found for each in ast.walk(part) if isinstance(each, ast.Name))


@lru_cache(maxsize=256)
def _positions(code: CodeType) -> list[tuple[int | None, ...]]:
    return list(code.co_positions())


@lru_cache(maxsize=1024)
def _waiting(code: CodeType, at: int) -> tuple[ast.expr, ...] | None:
    """The expressions whose values are on the stack; a comprehension for what it has gathered."""
    path = around_instruction(code, at)
    kinds = (*_GATHERING, ast.Lambda) if code.co_name in _OWN_FRAMES else (ast.stmt,)
    first = max((index for index, each in enumerate(path) if isinstance(each, kinds)), default=None)
    if first is None:
        return None
    parts: list[ast.expr] = []
    for index in range(first, len(path)):
        node = path[index]
        if isinstance(node, _GATHERING) and not _gathers_nothing(path[index - 1], node):
            parts.append(node)
        elif index + 1 < len(path):
            parts.extend(_before(node, path[index + 1]))
    return tuple(parts)


def _before(node: ast.AST, part: ast.AST) -> Iterator[ast.expr]:
    """The parts of a node that are evaluated before one of them, and kept."""
    if isinstance(node, ast.AugAssign):
        yield node.target
    if isinstance(node, (*_CONSUMING, *_GATHERING)):
        return
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.expr) and end_of(each) <= start_of(part):
            yield each


def _gathers_nothing(outer: ast.AST, node: ast.AST) -> bool:
    """Whether a generator's elements are asked for their truth one by one."""
    is_asked = isinstance(outer, ast.Call) and isinstance(outer.func, ast.Name) and outer.func.id in _GATHER_NOTHING
    return isinstance(node, ast.GeneratorExp) and is_asked
