"""What each higher-order op of torch's is on a tape: a call of bodies, or no more than the calls of its function.

What bodies check they return as truths, which must hold after the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxonnx.capture.tracer.higher_order.segment import Segment
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import eager, lowered_by_functorch, math_attention
from fxonnx.errors import CaptureRefused

aten, higher_order = torch.ops.aten, torch.ops.higher_order


class HigherOrder:
    """Records calls of higher-order ops on a tape. `modes` are those that stand before a model's functions."""

    def __init__(self, tape: Tape, modes: Callable[[], AbstractContextManager[Any]]) -> None:
        self._tape, self._modes = tape, modes
        self._ops: dict[str, Callable[..., Any]] = {
            "cond": self._cond, "while_loop": self._while_loop, "scan": self._scan, "map_impl": self._map,
        }  # fmt: skip

    def __call__(self, op: Any, args: Any, kwargs: Any) -> Any:
        """What a higher-order op returns; NotImplemented for any other function."""
        name = op.name() if isinstance(op, torch._ops.HigherOrderOperator) else ""
        if name not in self._ops and name not in _CALLS:
            return NotImplemented
        with self._modes():
            result = lowered_by_functorch(op, args, kwargs)
            if result is NotImplemented and name in _CALLS:
                result = _CALLS[name](*args, **kwargs)
        return self._ops[name](*args, **kwargs) if result is NotImplemented else result

    def _record(
        self, function: Callable[..., Any], likes: Sequence[Any], given: Sequence[Any] = ()
    ) -> tuple[Segment, Any]:
        """A function of arguments like these and of `given` values, and the structure of what it returns."""
        segment = Segment.begin(self._tape)
        arguments = [segment.argument(each) for each in likes]
        with self._modes():
            leaves, structure = pytree.tree_flatten(function(*arguments, *given))
            leaves = [each if each is None else _tensor(each) for each in leaves]
        segment.check()
        segment.end(leaves)
        return segment, structure

    # ── one branch or the other ──

    def _cond(self, pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
        condition = self._truth(pred)
        if isinstance(condition, bool):
            with self._modes():
                return (true_fn if condition else false_fn)(*operands)
        ways, structures = zip(*(self._record(each, (), operands) for each in (true_fn, false_fn)), strict=True)
        if structures[0] != structures[1] or not _alike(ways[0].values, ways[1].values):
            raise self._unlike("the branches of torch.cond return other tensors than each other", *ways)
        results = [
            [*way.results, *(each if own is way else True for own in ways for each in own.truths)] for way in ways
        ]
        reads = list(dict.fromkeys(each for way in ways for each in way.reads))
        bodies = [way.body(reads, each) for way, each in zip(ways, results, strict=True)]
        truths = _truths(ways)
        found = self._call(higher_order.cond, (condition, *bodies, reads), [*map(_like, ways[0].values), *truths])
        self._hold(ways, truths)
        return pytree.tree_unflatten(found[: len(ways[0].values)], structures[0])

    def _truth(self, pred: Any) -> Any:
        """The node of a predicate, or a plain truth where it is known."""
        if isinstance(pred, torch.SymBool):
            return self._tape.truth(pred.node)
        if not isinstance(pred, torch.Tensor):
            return bool(pred)
        value = self._tape.known(pred)
        if value is None:
            return self._tape.operand(self._tape.read(pred))
        with eager():
            return bool(value)

    # ── loops ──

    def _while_loop(self, cond_fn: Any, body_fn: Any, carried: Any, additional: Any = ()) -> Any:
        numbers = [not isinstance(each, torch.Tensor) for each in carried]

        def with_numbers(function: Any) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                parts = zip(arguments, numbers, strict=True)
                return function(*(each.item() if is_number else each for each, is_number in parts), *additional)

            return call

        with self._modes():
            before = [self._tape.read(_tensor(each)) for each in carried]
        condition, _ = self._record(with_numbers(cond_fn), before)
        body, structure = self._record(with_numbers(body_fn), before)
        if not _alike(before, body.values):
            raise self._unlike("an iteration of while_loop returns other tensors than it is given", body)
        if condition.checks or body.checks:
            raise self._unlike("a loop checks its data", condition, body)
        reads = list(dict.fromkeys((*condition.reads, *body.reads)))
        bodies = [each.body(reads, each.results) for each in (condition, body)]
        operands = list(map(self._tape.operand, before))
        found = self._call(higher_order.while_loop, (*bodies, operands, reads), list(map(_like, body.values)))
        with self._modes():
            found = [each.item() if is_number else each for each, is_number in zip(found, numbers, strict=True)]
        return pytree.tree_unflatten(found, structure)

    def _scan(self, combine_fn: Any, init: Any, xs: Any, additional_inputs: Any = ()) -> Any:
        init, xs = list(map(self._tape.read, init)), list(map(self._tape.read, xs))
        step, structure = self._record(combine_fn, [*init, *map(_first, xs)], additional_inputs)
        count = len(init)
        if not _alike(init, step.values[:count]):
            raise self._unlike("a step of scan returns another carry than it is given", step)
        kept = [at for at, each in enumerate(step.values) if each is not None]
        results = [*(step.results[at] for at in kept), *step.truths]
        reads = step.reads
        body = step.body(reads, results)
        ys = [_stacked(step.values[at], xs[0]) for at in kept[count:]]
        truths = [_stacked(each, xs[0]) for each in _truths([step])]
        given = list(map(self._tape.operand, init)), list(map(self._tape.operand, xs))
        fakes = [*map(_like, step.values[:count]), *ys, *truths]
        found = self._call(higher_order.scan, (body, *given, reads), fakes)
        self._hold([step], truths)
        leaves: list[Any] = [None] * len(step.values)
        for at, each in zip(kept, found, strict=False):
            leaves[at] = each
        return pytree.tree_unflatten(leaves, structure)

    def _map(self, function: Any, xs: Any, given: Any = ()) -> Any:
        xs = list(map(self._tape.read, xs))
        step, structure = self._record(function, list(map(_first, xs)), given)
        reads = step.reads
        body = step.body(reads, [*step.results, *step.truths])
        truths = [_stacked(each, xs[0]) for each in _truths([step])]
        fakes = [*(_stacked(each, xs[0]) for each in step.values), *truths]
        found = self._call(higher_order.map_impl, (body, list(map(self._tape.operand, xs)), reads), fakes)
        self._hold([step], truths)
        return pytree.tree_unflatten(found[: len(step.values)], structure)

    # ── results ──

    def _call(self, op: Any, args: Any, fakes: list[Any]) -> list[Any]:
        """A call of bodies, which returns these."""
        self._tape.add(op, args, {}, tuple(fakes))
        return fakes

    def _hold(self, segments: Iterable[Segment], truths: Sequence[Any]) -> None:
        """What bodies check must hold: these truths, or all elements of them."""
        checks = [check for segment in segments for check in segment.checks]
        for check, truth in zip(checks, truths, strict=True):
            self._tape.check(aten.all.default(truth), "".join(map(str, check.args[1:2])))

    def _unlike(self, what: str, *segments: Segment) -> CaptureRefused:
        sizes = "; ".join(", ".join(map(_kind_in_words, each.values)) for each in segments)
        return self._tape.refuse(
            what,
            cause=f"they return {sizes}",
            cure="return tensors of the same dtypes and sizes: cast or reshape them in the function",
        )


def _like(value: Any) -> Any:
    """A new fake tensor like another; nobody reads the call."""
    return aten.empty.memory_format(value.shape, dtype=value.dtype, device=value.device)


def _first(x: Any) -> Any:
    return aten.select.int(x, 0, 0)


def _stacked(value: Any, xs: Any) -> Any:
    """One like `value` for each element of the first axis of `xs`."""
    return aten.empty.memory_format([xs.shape[0], *value.shape], dtype=value.dtype, device=value.device)


def _truths(segments: Iterable[Segment]) -> list[Any]:
    """A truth for each check of these bodies."""
    return [aten.full.default((), True, dtype=torch.bool) for segment in segments for _ in segment.truths]


def _tensor(value: Any) -> Any:
    """A plain number or a size as a tensor of rank 0."""
    if isinstance(value, torch.Tensor):
        return value
    dtype = torch.bool if isinstance(value, (bool, torch.SymBool)) else None
    dtype = torch.int64 if dtype is None and isinstance(value, (int, torch.SymInt)) else dtype
    return torch.full((), value, dtype=dtype)


def _alike(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether tensors have the same dtypes and sizes."""
    return list(map(_kind, ones)) == list(map(_kind, others))


def _kind(value: Any) -> Any:
    return None if value is None else (value.dtype, tuple(map(dim_of, value.shape)))


def _kind_in_words(value: Any) -> str:
    return "None" if value is None else f"{value.dtype} of [{', '.join(str(dim_of(size)) for size in value.shape)}]"


# ── ops that are no more than what their function calls ──


def _under_autocast(
    device: str, dtype: Any, enabled: bool, cached: Any, function: Any, *args: Any, **kwargs: Any
) -> Any:
    with torch.autocast(device, dtype, enabled, cached):
        return function(*args, **kwargs)


def _with_grad(enabled: bool, function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


_CALLS: dict[str, Callable[..., Any]] = {
    "custom_function_call": lambda function, *args: function.apply(*args),
    "flex_attention": math_attention,
    "hints_wrapper": lambda function, args, kwargs, hints: function(*args, **kwargs),
    "invoke_subgraph": lambda function, identifier, *args: function(*args),
    "strict_mode": lambda function, args: function(*args),
    "tag_activation_checkpoint": lambda function, *args, **kwargs: function(*args),
    "wrap": lambda function, *args, **kwargs: function(*args, **kwargs),
    "wrap_activation_checkpoint": lambda function, *args, **kwargs: function(*args),
    "wrap_with_autocast": _under_autocast,
    "wrap_with_set_grad_enabled": _with_grad,
}
"""op -> what it computes, of the same arguments"""
