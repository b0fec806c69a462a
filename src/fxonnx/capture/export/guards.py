"""What torch assumed about sizes while it exported, as guards of ours.

Here, and only here, torch's ShapeEnv is read: `guards`, `deferred_runtime_asserts`, `replacements_slocs`,
`source_to_var` and `replace` of torch 2.13.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from traceback import FrameSummary
from types import FrameType
from typing import Any, TypeAlias

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv, SLoc, uninteresting_files

from fxonnx.capture.assertions import said_by
from fxonnx.capture.assumption import Assumption, Guard
from fxonnx.capture.export.sizes import Sizes
from fxonnx.capture.locate import is_users
from fxonnx.ir.dims import Dim, symbols_of
from fxonnx.location import Location

Comparison: TypeAlias = "tuple[str, frozenset[Dim | str]]"
_RELATIONS = {
    "Equality": "==", "Unequality": "!=", "StrictLessThan": "<", "LessThan": "<=", "StrictGreaterThan": ">",
    "GreaterThan": ">=",
}  # fmt: skip
# Comparisons of these files choose a memory layout or check what the runtime checks again.
_BOOKKEEPING = (
    "_ops.py",
    "_prims_common",
    "_refs",
    "_prims",
    "_subclasses",
    "_decomp",
    "_meta_registrations",
    "_inductor",
    "fx/experimental",
    "_higher_order_ops",
)


def guards(environment: Any, sizes: Sizes) -> Iterator[Guard]:
    """torch's guards as ours."""
    for each in getattr(environment, "guards", ()):
        expression = environment.replace(each.expr)
        relation = _RELATIONS.get(type(expression).__name__)
        if relation is not None:
            left, right = (sizes.expression(side) for side in expression.args)
            yield Guard(left, relation, right, _place(each.sloc), inside=_is_bookkeeping(each.sloc.framework_loc))


def inexact(environment: Any, sizes: Sizes, example: Mapping[str, int]) -> Iterator[Assumption]:
    """Comparisons of floats made of the inputs' sizes, which no dim says: each is a pin for us."""
    for each in getattr(environment, "guards", ()):
        expression = environment.replace(each.expr)
        relation = _RELATIONS.get(type(expression).__name__)
        dims = [sizes.expression(symbol) for symbol in expression.free_symbols]
        compared = symbols_of(sizes.expression(side) for side in expression.args)
        if relation is None or not dims or not symbols_of(dims) <= example.keys():
            continue
        if not compared <= example.keys() and not _is_bookkeeping(each.sloc.framework_loc):
            yield Assumption(sum(dims), relation, 0, _place(each.sloc), str(expression))


def _place(line: Any) -> Location:
    found = getattr(line, "maybe_user_loc", None)
    return found if isinstance(found, Location) else Location()


def _is_bookkeeping(frame: Any) -> bool:
    file = str(getattr(frame, "filename", "")).replace("\\", "/")
    return any(f"torch/{name}" in file for name in _BOOKKEEPING)


def shape_env(nodes: Sequence[fx.Node]) -> ShapeEnv | None:
    """torch's record of symbolic sizes behind a graph's fake tensors, or None where all is static."""
    values = (node.meta.get("val") for node in nodes)
    modes = (value.fake_mode for value in values if isinstance(value, torch.Tensor) and hasattr(value, "fake_mode"))
    return next((mode.shape_env for mode in modes), None)


def place_of_freeze(environment: Any, leaf: int, axis: int) -> Location:
    """The user's line that made a constant of an input's size. Sources read `L['leaves'][0].size()[1]`."""
    if environment is None:
        return Location()
    suffix = f"[{leaf}].size()[{axis}]"
    for source, symbol in environment.source_to_var.items():
        if (source if isinstance(source, str) else source.name).endswith(suffix):
            return _place(environment.replacements_slocs.get(symbol))
    return Location()


@contextmanager
def user_lines() -> Iterator[None]:
    """Let torch's guards keep the user's line, which they have a place for that torch fills only for bytecode."""
    before, assertion = ShapeEnv._get_sloc, ShapeEnv.guard_or_defer_runtime_assert

    def with_line(self: ShapeEnv, framework_loc: Any = None) -> SLoc:
        caller = sys._getframe(1)
        return SLoc(framework_loc or _summary(_outside(caller, uninteresting_files())), _users(caller))

    def with_place(self: ShapeEnv, expression: Any, message: str, fx_node: fx.Node | None = None) -> bool:
        frame = _users_frame(sys._getframe(1))
        return assertion(self, expression, message if frame is None else _Placed.at(frame), fx_node)

    try:
        ShapeEnv._get_sloc, ShapeEnv.guard_or_defer_runtime_assert = with_line, with_place
        yield
    finally:
        ShapeEnv._get_sloc, ShapeEnv.guard_or_defer_runtime_assert = before, assertion


class _Placed(str):
    """What a check says, with its place: torch keeps a text with each."""

    location: Location

    @staticmethod
    def at(frame: FrameType) -> _Placed:
        """What the call that a frame is at says."""
        text = _Placed(said_by(frame))
        text.location = _location(frame)
        return text


def assertions(environment: Any, sizes: Sizes) -> dict[Comparison, tuple[str, Location]]:
    """What torch left to be checked of sizes that come from data, because the model or an op asks for it: what is
    said where it does not hold, and where. The ranges that torch knows by itself are not among those."""
    found: dict[Comparison, tuple[str, Location]] = {}
    for each in chain.from_iterable(getattr(environment, "deferred_runtime_asserts", {}).values()):
        found.setdefault(compared(each.expr, sizes), (str(each.msg), getattr(each.msg, "location", Location())))
    return found


def compared(expression: Any, sizes: Sizes) -> Comparison:
    """A sympy relation in normal form: what is 0, what is not, or what is 0 at most; others as they are written."""
    relation = _RELATIONS.get(type(expression).__name__)
    if relation is None:
        return "", frozenset({str(expression)})
    left, right = (sizes.expression(side) for side in expression.args)
    if relation in ("==", "!="):
        return relation, frozenset({left - right, right - left})
    greater, less = (left, right) if relation[0] == "<" else (right, left)
    return "<=", frozenset({greater - less + (0 if relation.endswith("=") else 1)})


def _outside(frame: FrameType | None, files: Container[str]) -> FrameType | None:
    while frame is not None and frame.f_code.co_filename in files:
        frame = frame.f_back
    return frame


def _summary(frame: FrameType | None) -> FrameSummary | None:
    return frame and FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _users(frame: FrameType | None) -> Location:
    """The place of the innermost frame of the user's on the stack."""
    found = _users_frame(frame)
    return Location() if found is None else _location(found)


def _users_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _location(frame: FrameType) -> Location:
    file, line = frame.f_code.co_filename, frame.f_lineno
    return Location(file=file, line=line, function=frame.f_code.co_name, code=linecache.getline(file, line).strip())
