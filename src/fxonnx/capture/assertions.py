"""Python's own checks of data, as the line's syntax tells them from decisions.

assert (x >= 0).all(), "negative"            a check: the other way raises
if not torch._is_all_true(valid): raise …    a check as well
if x.sum() > 0: x = x * 2                    a decision, which one graph cannot hold

What is asked for its truth by a check is taken to be what goes on, and recorded as a condition that a call must meet.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import FrameType
from typing import Any

import torch

from fxonnx.capture.locate import _OURS, is_layers, is_users
from fxonnx.capture.syntax import around, around_instruction

Record = Callable[[torch.Tensor, str], None]
"""(condition, what is said where it is false)"""

_NO_ANSWER = NotImplemented
_READS = {torch.Tensor.item: "item", torch.is_nonzero: "is_nonzero", torch.Tensor.is_nonzero: "is_nonzero"}
_COMPARES = "COMPARE_OP"  # which asks for the truth of what two lists hold
_ORDERED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_BETWEEN = (_OURS, *(str(module.__file__) for module in (torch, torch._ops, torch._library.utils)))
"""where a SymBool is asked for its truth"""
_CHECK_ALL: Any = torch._check_tensor_all_with


def answer(func: Any, args: Any, record: Record) -> Any:
    """What a function that reads data gives in a check, which is recorded; NotImplemented for any other.

    Whoever asks this stands in for the function: the check is where that is called, by others that stand in or not.
    """
    if func is torch._assert:
        return _asserted(args[0], str(args[1]), record)
    if (func is not torch.Tensor.__bool__ and func not in _READS) or args[0].numel() != 1:
        return _NO_ANSWER
    frame = sys._getframe(2)
    while frame.f_code.co_name == "__torch_function__" and frame.f_back is not None:
        frame = frame.f_back
    return _read(func, args[0], frame, record)


def _asserted(condition: Any, message: str, record: Record) -> Any:
    """`torch._assert(condition, message)`"""
    if not isinstance(condition, torch.Tensor):
        return _NO_ANSWER
    record(condition, message)
    return None


def _read(func: Any, tensor: torch.Tensor, frame: FrameType, record: Record) -> Any:
    if frame.f_code is _CHECK_ALL.__code__:
        record(tensor, said_by(frame.f_back))
        return True
    at, instruction = _asked(frame)
    statement, path = _statement(around_instruction(frame.f_code, at))
    check = _check_of(statement, path)
    if check is None or not _asks(func, path[-1], instruction):
        return _NO_ANSWER
    truth, said, path = check
    if func is torch.Tensor.item and tensor.dtype is not torch.bool:
        is_asked = isinstance(statement, (ast.Assert, ast.If)) and isinstance(path[-2], ast.Compare)
        is_checked = is_asked and _wanted(path[:-1], truth) is not None
        return _exactly(tensor) if is_checked else _NO_ANSWER
    wanted = _wanted(path, truth)
    wanted = _of_elements(path[-1], wanted) if instruction == _COMPARES else wanted
    if wanted is None:
        return _NO_ANSWER
    record(tensor if wanted else tensor.logical_not(), _template(said, {**frame.f_globals, **frame.f_locals}))
    return wanted


def asked_to_check() -> tuple[bool, str] | None:
    """The truth of a comparison of sizes with which the line of the model's that asks for it goes on, and what it says
    else; None for a decision."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame = frame.f_back
    if frame is None or not (is_users(frame.f_code.co_filename) or is_layers(frame.f_code.co_filename)):
        return None
    at, instruction = _asked(frame)
    statement, path = _statement(around_instruction(frame.f_code, at))
    check = _check_of(statement, path)
    if check is None or not _asks(None, path[-1], instruction):
        return None
    truth, said, path = check
    wanted = _wanted(path, truth)
    wanted = _of_elements(path[-1], wanted) if instruction == _COMPARES else wanted
    return None if wanted is None else (wanted, _template(said, {**frame.f_globals, **frame.f_locals}))


def _exactly(tensor: torch.Tensor) -> torch.Tensor:
    """A number that is compared, as a tensor in the precision of Python's."""
    return tensor.double() if tensor.is_floating_point() else tensor


# ── what the line asks ────────────────────────────────────────


def _asked(frame: FrameType) -> tuple[int, str]:
    """The instruction whose result a frame asks for its truth, by its offset; and the one that asks.

    A jump stands for the whole statement, so that what it asks is what the instruction before it made.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    asking = dis.opname[code[at]]
    if "JUMP" in asking or asking in ("TO_BOOL", "UNARY_NOT"):
        at -= 2
        while dis.opname[code[at]] == "CACHE":
            at -= 2
    return at, asking


def _statement(path: list[ast.AST]) -> tuple[ast.AST | None, list[ast.AST]]:
    """The innermost statement of a path that nothing around it catches errors of, and the path from there on."""
    at = max((index for index, each in enumerate(path) if isinstance(each, ast.stmt)), default=None)
    if at is None or any(isinstance(each, _SCOPES) for each in path[at:]):
        return None, path
    caught = (isinstance(a, ast.Try) and a.handlers and b in a.body for a, b in pairwise(path[: at + 1]))
    return (None if any(caught) else path[at]), path[at:]


_SCOPES = (ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)


def _check_of(
    statement: ast.AST | None, path: list[ast.AST]
) -> tuple[bool, ast.expr, list[ast.AST]] | None:
    """The truth with which a statement goes on, what it says else, and the path from its test on; None for a
    decision."""
    match statement, path[1:]:
        case ast.Assert(test=test, msg=message), [part, *_] if part is test:
            return True, message or test, path[1:]
        case ast.If(test=test, body=body, orelse=other), [part, *_] if part is test:
            raised, other_raised = _raised(body), _raised(other)
            if raised is not None and other_raised is None:
                return False, raised, path[1:]
            return None if other_raised is None or raised is not None else (True, other_raised, path[1:])
        case ast.Expr(), [ast.Call(args=[test, *message]) as call, part, *_] if part is test and _name(call) in _CHECKS:
            return True, _message([*message, *(each.value for each in call.keywords)], test), path[2:]
    return None


_CHECKS = frozenset({"_assert", "_check", "_check_index", "_check_not_implemented", "_check_type", "_check_value"})
"""Functions of torch's that raise where their first argument is false, with the message that is their second."""


def _message(given: list[ast.expr], test: ast.expr) -> ast.expr:
    """What is said by a function of torch's that checks: a text, or what a function makes."""
    said = given[-1] if given else test
    return said.body if isinstance(said, ast.Lambda) else said


def _raised(body: list[ast.stmt]) -> ast.expr | None:
    """What statements say that end in an exception, whatever happens in them; None for others."""
    if not body or not isinstance(body[-1], ast.Raise) or body[-1].exc is None or any(map(_leaves, body)):
        return None
    error = body[-1].exc
    return error.args[0] if isinstance(error, ast.Call) and error.args else error


def _leaves(statement: ast.stmt) -> bool:
    """Whether a statement may go elsewhere before the exception."""
    ways_out = (ast.Return, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Try)
    return any(isinstance(each, ways_out) for each in ast.walk(statement))


def _wanted(path: list[ast.AST], truth: bool) -> bool | None:
    """The truth of the last of these nodes, each of which is in the one before, where the first has this one; None
    where it may be either."""
    for node, part in pairwise(path):
        match node:
            case ast.UnaryOp(op=ast.Not()):
                truth = not truth
            case ast.BoolOp(op=operator, values=values) if part is values[-1] or isinstance(operator, ast.And) is truth:
                pass
            case ast.Call(func=ast.Name(id="bool")) | ast.NamedExpr():
                pass
            case _:
                return None
    match path[-1]:
        case ast.UnaryOp(op=ast.Not()):
            return not truth
        case ast.Compare(ops=operators) if not all(isinstance(each, _ORDERED) for each in operators):
            return None
        case ast.Compare(ops=[_, _, *_]) | ast.BoolOp(op=ast.And()) | ast.Call(func=ast.Name(id="all")):
            return truth or None
        case ast.BoolOp(op=ast.Or()) | ast.Call(func=ast.Name(id="any")):
            return None if truth else truth
    return truth


def _of_elements(comparison: ast.AST, wanted: bool | None) -> bool | None:
    """The truth of `a == b` for each pair in two lists whose comparison has to come out as wanted; None where it may be
    either."""
    match comparison:
        case ast.Compare(ops=[ast.Eq()]) if wanted is True:
            return True
        case ast.Compare(ops=[ast.NotEq()]) if wanted is False:
            return True
    return None


def _asks(func: Any, node: ast.AST, instruction: str) -> bool:
    """Whether it is the line that asks, and not a call in it for its own purposes."""
    if func in _READS:
        return _name(node) == _READS[func]
    if "CALL" in instruction:
        return _name(node) in ("bool", "all", "any")
    return "JUMP" in instruction or instruction in ("TO_BOOL", "UNARY_NOT", _COMPARES)


def _name(node: ast.AST) -> str:
    """What a call calls."""
    called = node.func if isinstance(node, ast.Call) else None
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


# ── what it says ────────────────────────────────────────


def said_by(frame: FrameType | None) -> str:
    """What the call that a frame is at says where it raises: the message given to a check, or its condition; else the
    call itself. What a function only hands on is in the call of that function."""
    call = next((each for each in reversed(around(frame)) if isinstance(each, ast.Call)), None) if frame else None
    if frame is None or call is None:
        return ""
    given = [*call.args, *(each.value for each in call.keywords)]
    if not given or "check" not in _name(call):
        return ast.unparse(call)
    said = _message(given, call)
    if isinstance(said, ast.Name) and said.id in frame.f_code.co_varnames[: frame.f_code.co_argcount]:
        return said_by(frame.f_back)
    return _template(said, frame.f_locals)


def _template(said: ast.AST, names: Mapping[str, Any]) -> str:
    """A message as text: what is computed when it is said stands in braces, unless it is known by name."""
    match said:
        case ast.Constant(value=value):
            return str(value)
        case ast.JoinedStr(values=parts):
            return "".join(_template(each, names) for each in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _template(left, names) + _template(right, names)
        case ast.FormattedValue(value=ast.Name(id=name)) | ast.Name(id=name) if type(names.get(name)) in _PLAIN:
            return str(names[name])
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
    return ast.unparse(said)


_PLAIN = (bool, int, float, str)
