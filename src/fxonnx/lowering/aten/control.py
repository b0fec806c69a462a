"""Control flow over tensors: torch's higher-order ops as If, Loop and Scan; and the model's own checks.

Branches and bodies come as functions of a builder and their arguments (`Importer._region`); whatever they read is among
those. Source: torch.cond and torch's higher-order ops; ONNX operators If, Loop and Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_if, record_loop, record_scan
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, reshape

Region = Callable[..., list[Tensor]]


@lower("aten._assert_async", "aten._assert_scalar", "aten._functional_assert_async", "aten._functional_assert_scalar",
       runtime={"self"}, ignore={"assert_msg", "dep_token"})  # fmt: skip
def _assert(op: Builder, self: Any) -> Tensor:
    """Whether what the model checks holds, as a bool of rank 0: nothing stops in a graph, its caller has to look."""
    return _scalar(op, self if isinstance(self, Tensor) else op.constant(bool(self)))


@lower("higher_order.cond")
def cond(op: Builder, pred: Any, true_fn: Region, false_fn: Region, operands: Sequence[Any] = ()) -> tuple[Tensor, ...]:
    """One branch or the other, by a predicate of one element."""
    if isinstance(pred, bool):
        return tuple((true_fn if pred else false_fn)(op, *operands))
    if not isinstance(pred, Tensor):
        raise Unsupported("a comparison of sizes as the predicate; compare tensors, or decide in Python")
    condition = _scalar(op, pred)
    return record_if(op, condition, lambda inner: true_fn(inner, *operands), lambda inner: false_fn(inner, *operands))


@lower("higher_order.while_loop")
def while_loop(
    op: Builder, cond_fn: Region, body_fn: Region, carried_inputs: Sequence[Any], additional_inputs: Sequence[Any] = ()
) -> tuple[Tensor, ...]:
    """The carried values after the last iteration, which is the first whose condition does not hold."""
    if not all(isinstance(item, Tensor) for item in carried_inputs):
        raise Unsupported("a number or size carried through while_loop; carry a tensor of it")

    def body(inner: Builder, iteration: Tensor, going: Tensor, *carried: Tensor) -> Sequence[Tensor]:
        after = body_fn(inner, *carried, *additional_inputs)
        return [_condition(inner, cond_fn, after, additional_inputs), *after]

    condition = _condition(op, cond_fn, carried_inputs, additional_inputs)
    return record_loop(op, carried_inputs, body, condition=condition)


@lower("higher_order.scan")
def scan(
    op: Builder, combine_fn: Region, init: Sequence[Tensor], xs: Sequence[Tensor], additional_inputs: Sequence[Any] = ()
) -> tuple[Tensor, ...]:
    """The carried values after the last element of the first axis of `xs`, and the outputs for all of them."""
    return record_scan(op, init, xs, lambda inner, *arguments: combine_fn(inner, *arguments, *additional_inputs))


@lower("higher_order.for_loop")
def for_loop(
    op: Builder,
    body: Region,
    trips: Any,
    carried: Sequence[Tensor],
    outer: Sequence[Any] = (),
    *,
    may_be_empty: bool = False,
    condition: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The carried values after so many iterations, or as many as the condition goes on for, and what each of them
    returned beside, stacked."""

    def iteration(inner: Builder, number: Tensor, going: Tensor, *now: Tensor) -> Sequence[Tensor]:
        results = body(inner, number, *now, *outer)
        return [going, *results] if condition is None else [_scalar(inner, results[0]), *results[1:]]

    asked = None if condition is None else _scalar(op, condition)
    return record_loop(op, carried, iteration, trips=op.size(trips), condition=asked, may_be_empty=may_be_empty)


@lower("higher_order.map_impl")
def map_(op: Builder, f: Region, xs: Sequence[Tensor], pos_args: Sequence[Any] = ()) -> tuple[Tensor, ...]:
    """A function of each element of the first axis of `xs`, the results stacked."""
    return record_scan(op, [], xs, lambda inner, *elements: f(inner, *elements, *pos_args))


def _condition(op: Builder, cond_fn: Region, carried: Sequence[Tensor], additional: Sequence[Any]) -> Tensor:
    (found,) = cond_fn(op, *carried, *additional)
    return _scalar(op, found)


def _scalar(op: Builder, x: Tensor) -> Tensor:
    return reshape(op, cast(op, x, dtypes.BOOL), ())
