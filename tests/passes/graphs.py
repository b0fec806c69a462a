"""Graphs for the tests of passes: recorded by a function of `op`, in the fewest words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fxonnx.ir.build import Builder
from fxonnx.ir.graph import Graph
from fxonnx.ir.types import parse_type
from fxonnx.ir.verify import verify
from fxonnx.passes.rewriting.rewrite import Rule, rewrite, rule
from fxonnx.target import Target

TARGET = Target.onnx()


def graph_of(body: Callable[..., Any], **inputs: str) -> Graph:
    """The graph that `body(op, *inputs)` records; inputs are given by their types, x="f32[n,4]"."""
    op = Builder()
    result = body(op, *(op.input(parse_type(type), name) for name, type in inputs.items()))
    return op.finish(result if isinstance(result, tuple) else (result,))


def ops(graph: Graph) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op for node in graph.nodes]


def branching(body: Callable[..., Any], *, type: str = "f32[4]") -> Graph:
    """A graph of one input and an If, whose branches both are what `body(op, x)` records."""
    op = Builder()
    x = op.input(parse_type(type), "x")
    flag = op.input(parse_type("b8[]"), "flag")
    branches = []
    for name in ("then_branch", "else_branch"):
        inner = op.nested()
        branches.append((name, inner.finish([body(inner, inner.use(x.value))], name=name)))
    result_type = branches[0][1].outputs[0].type
    return op.finish(op.call("If", [flag], dict(branches), 1, [result_type]))


def applied(graph: Graph, *rules: Rule) -> list[str]:
    """The operators after one walk with `rules`, in a graph that verifies."""
    result = rewrite(*rules)(graph, TARGET)
    verify(result)
    return ops(result)


# ── a few rules ──────────────────────────────────────────────────────────────────────────────────────────────────────


@rule
class silu_twice:
    """x · sigmoid(x) becomes swish(x)."""

    def before(op, x):
        return x * op.Sigmoid(x)

    def after(op, x):
        return op.Swish(x)


@rule
class double_neg:
    """−(−x) becomes x."""

    def before(op, x):
        return op.Neg(op.Neg(x))

    def after(op, x):
        return x


@rule
class half:
    """x · 0.5 becomes x / 2."""

    def before(op, x):
        return x * 0.5

    def after(op, x):
        return x / 2.0


@rule
class double_transpose:
    """x ── Transpose ── Transpose ─▶"""

    def before(op, x, *, first, second):
        return op.Transpose(op.Transpose(x, perm=first), perm=second)

    def after(op, x, *, first, second):
        return op.Transpose(x, perm=[first[axis] for axis in second])
