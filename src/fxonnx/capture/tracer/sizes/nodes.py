"""Sizes that know their expression: the nodes behind the `torch.SymInt`s of a trace.

torch lets any object with SymNode's methods stand behind a SymInt, in Python and in C++. Its own one builds sympy
expressions and asks a solver, which is what makes symbolic capture slow; these hold one of our dims, and the size the
dim has in this run. Arithmetic computes both, a comparison answers by the run and logs what it assumed, and whatever
makes a plain number of a dim (`int(n)`, `range(n)`, an op without a symbolic form) is told of.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from fxonnx.capture.tracer.sizes.bool_node import BoolNode
from fxonnx.capture.tracer.sizes.float_node import FloatNode
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.int_node import IntNode
from fxonnx.capture.tracer.sizes.layout import LAYOUTS
from fxonnx.capture.tracer.sizes.node import CONSTANT, PLAIN, Kinds, Node
from fxonnx.ir.dims import Dim

# What torch asks of a size or of a float made of one that no dim says: a plain number of plain numbers.
_UNSUPPORTED: dict[str, Callable[..., Any]] = {
    "abs": abs, "pos": operator.pos, "mod": operator.mod, "lshift": operator.lshift, "rshift": operator.rshift,
    **dict.fromkeys(("floordiv", "float_floordiv", "int_floordiv"), operator.floordiv),
    **dict.fromkeys(("float_pow", "pow_by_natural"), operator.pow), "int_truediv": operator.truediv,
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor, "sym_not": operator.not_,
    "is_integer": float.is_integer, "sym_max": max, "sym_min": min,
    "sym_ite": lambda truth, yes, no: yes if truth else no,
    **{f"sym_{name}": getattr(math, name) for name in ("acos", "asin", "atan", "cos", "cosh", "log2", "sin", "sinh",
                                                       "sqrt", "tan", "tanh")},
}  # fmt: skip
# What a comparison answers as the number that it is.
_AS_NUMBER = (
    "abs", "add", "bitwise_xor", "float_pow", "float_truediv", "ge", "gt", "int_floordiv", "int_truediv", "le",
    "lshift", "lt", "mod", "mul", "ne", "neg", "pos", "pow_by_natural", "rshift", "sub", "sym_float", "sym_max",
    "sym_min",
)  # fmt: skip


def _install() -> None:
    """Methods that differ only in their name, and each class's knowledge of the others."""
    Node.kinds = Kinds(IntNode, FloatNode, BoolNode)
    for name, relation in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
        for kind in (IntNode, FloatNode):
            setattr(kind, name, _comparison(kind, relation))
    for kind in (IntNode, FloatNode):
        for name, function in _UNSUPPORTED.items():
            if not hasattr(kind, name):
                setattr(kind, name, _specializes(function))
    for name in _AS_NUMBER:
        setattr(BoolNode, name, _as_number(name))
    for layout in LAYOUTS:
        setattr(IntNode, layout.__name__, _layout(layout))
    IntNode.is_non_overlapping_and_dense_indicator = _indicator  # type: ignore[attr-defined]


def _comparison(kind: Any, relation: str) -> Callable[[Any, Any], BoolNode]:
    return lambda self, other: kind._compare(self, relation, other)


def _specializes(function: Callable[..., Any]) -> Callable[..., Any]:
    def answer(self: Any, *others: Any) -> Any:
        origin = next((each for each in (self, *others) if not each.is_constant()), self).any_dim()
        value = self.guard_log.as_plain(origin, function(self.hint, *(each.hint for each in others)))
        if isinstance(value, float):
            return FloatNode((PLAIN, IntNode(origin, 0, self.guard_log)), value, self.guard_log)
        return self.wrap_bool(value) if isinstance(value, bool) else self.wrap_int(value)

    return answer


def _as_number(name: str) -> Callable[..., Any]:
    def answer(self: BoolNode, *others: Any) -> Any:
        numbers = [
            self.wrap_int(int(each.guard_bool())) if isinstance(each, BoolNode) else each for each in (self, *others)
        ]
        return getattr(numbers[0], name)(*numbers[1:])

    return answer


def _layout(ask: Callable[[list[int], list[int]], bool]) -> Callable[..., BoolNode]:
    def answer(self: IntNode, sizes: list[IntNode], strides: list[IntNode]) -> BoolNode:
        value = ask([size.hint for size in sizes], [stride.hint for stride in strides])
        return BoolNode((CONSTANT, value), value, self.guard_log)

    return answer


def _indicator(self: IntNode, sizes: list[IntNode], strides: list[IntNode]) -> IntNode:
    dense = self.is_non_overlapping_and_dense(sizes, strides)  # type: ignore[attr-defined]
    return self.wrap_int(int(dense.hint))


_install()


def sym_int(dim: Dim, hint: int, guard_log: GuardLog) -> int | torch.SymInt:
    """A size for a tensor's shape: a plain int for a constant."""
    return dim if isinstance(dim, int) else torch.SymInt(IntNode(dim, hint, guard_log))


def sym_size(dim: Dim, guard_log: GuardLog) -> int | torch.SymInt:
    """A size, with what it is in the run."""
    return dim if isinstance(dim, int) else sym_int(dim, guard_log.value(dim), guard_log)


def dim_of(number: int | torch.SymInt) -> Dim:
    """The dim of a size."""
    return number if isinstance(number, int) else number.node.dim


__all__ = ["BoolNode", "FloatNode", "IntNode", "dim_of", "sym_int", "sym_size"]
