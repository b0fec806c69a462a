"""Which operators have an expansion, and which have a form that older opsets do not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fxonnx.ir.graph import Node

Body = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A way of calling an operator that exists only from opset `since` on, and the body that says the same without
    it."""

    since: int
    applies: Callable[[Node], bool]
    body: Body


class NoExpansion(Exception):
    """This call of an operator cannot be said in older ones, though others can: it stays, for `guard` to report."""


EXPANSIONS: dict[str, Body] = {}
FORMS: dict[str, list[Form]] = {}

# Expanded for float16 and bfloat16 in float32, to round once as a kernel would.
IN_OPMATH: set[str] = set()

# ONNX Runtime's kernels of narrow floats round between their steps: Attention its scores before the softmax.
ROUNDING_INSIDE = frozenset({"Attention"})


def expands(*operators: str, opmath: bool = False) -> Callable[[Body], Body]:
    """Register the expansion of operators: `body(op, *inputs, **attributes)` records the same in older ones.

    With `opmath`, floats narrower than float32 come in float32, and the results are rounded to them.
    """

    def register(body: Body) -> Body:
        EXPANSIONS.update(dict.fromkeys(operators, body))
        IN_OPMATH.update(operators if opmath else ())
        return body

    return register


def form(*operators: str, since: int, applies: Callable[[Node], bool]) -> Callable[[Body], Body]:
    """Register another form for calls of operators that need opset `since`; what it records is no such call."""

    def register(body: Body) -> Body:
        for operator in operators:
            FORMS.setdefault(operator, []).append(Form(since, applies, body))
        return body

    return register


@cache
def load() -> None:
    """Import the files that fill the tables, once."""
    expansions = import_module("fxonnx.passes.legalize.expansions")
    for module in iter_modules(expansions.__path__):
        import_module(f"{expansions.__name__}.{module.name}")
