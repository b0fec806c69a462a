"""Capture by running: from an example to the Program of its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product

import torch

from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Signature, definition
from fxonnx.capture.equivalence.same_graph import is_same
from fxonnx.capture.equivalence.zero_one import Kinds, Recording, ZeroOneCheck
from fxonnx.capture.failures import Translating
from fxonnx.capture.graph.aliasing import read_by_layout
from fxonnx.capture.next_call import check_calls_of_other_sizes, with_elements
from fxonnx.capture.program import Program
from fxonnx.capture.state.python_state import next_call_differs, next_call_untold
from fxonnx.capture.tracer.attempts.attempt import Attempt
from fxonnx.capture.tracer.attempts.outcome import run
from fxonnx.capture.tracer.attempts.remedies import PLAN
from fxonnx.capture.tracer.earlier_call import after_a_call_at_other_sizes, recording_at
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.loops.rolled import RolledRun
from fxonnx.capture.tracer.plain.explain import at_sizes, explained
from fxonnx.capture.tracer.program import program_of
from fxonnx.capture.tracer.run import Run
from fxonnx.errors import CaptureRefused, Error, raise_all
from fxonnx.location import Location

_MOST_PAIRS = 64  # of ways, one after the other


def capture(
    example: Example, signature: Callable[[], Signature], mode: str, others: SymbolTable | None = None
) -> Program:
    """The Program of an example's model, which is in the training `mode` now.

    `signature` is asked for after the model has run; `others` are the dims of the program that this one is a variant
    of. Raises FrozenDimension for each required dim that is not free, and what else is wrong.
    """
    first = Attempt(example.resized(), example)
    if others is not None:
        flags = {each: getattr(others, each) for each in ("exporting", "shortcuts", "with_gradients")}
        first = replace(first, is_way=True, **flags)
    attempt, outcome, tried = PLAN.carry_out(first, run)
    done = outcome.run
    raise_all(
        list(dict.fromkeys(failure.error for failure in outcome.failures))
        or done.constraints.narrowed(done.symbols.lows, done.symbols.highs)
    )
    if done.caches():
        _check_next_call(done, attempt.example)
        _check_calls_of_other_sizes(done, attempt.original, others)
    _take_any_layout(done, attempt.example)
    example.flat.returned = done.returned
    program = replace(program_of(done, signature()), frozen=attempt.frozen, attempts=tried)
    if not done.symbols.axes:
        return program
    check = _zero_one_check(done, mode, attempt.example, signature)
    check.note(outcome.small, outcome.assumed)
    return replace(program, zero_one=check)


def _take_any_layout(done: Run, example: Example) -> None:
    """Let inputs lie in memory as they may whose layout the model's Python has asked for, where it makes no difference:
    laid out otherwise, they leave the same graph. What x.stride() says stands in the graph as a number."""
    needed = {at for at, node in enumerate(done.inputs) if node in read_by_layout(done.tape.graph)}
    asked = done.by_layout - needed
    if not asked or len(done.ways) > 1 or done.earlier is not None or done.symbols.takes_plain:
        return
    for lay_out in (_forwards, _backwards, _channels_last):
        leaves = [lay_out(leaf) if at in asked else leaf for at, leaf in enumerate(example.leaves)]
        other = done.preparation()(replace(example, leaves=leaves), done.symbols)
        try:
            with Translating():
                other()
        except Error:
            return
        if not is_same(done.captured_graph(), other.captured_graph()):
            return
    done.by_layout = needed


def _forwards(leaf: torch.Tensor) -> torch.Tensor:
    return _in_order(leaf, range(leaf.dim()))


def _backwards(leaf: torch.Tensor) -> torch.Tensor:
    return _in_order(leaf, range(leaf.dim() - 1, -1, -1))


def _channels_last(leaf: torch.Tensor) -> torch.Tensor:
    return _in_order(leaf, (0, *range(2, leaf.dim()), 1)[: leaf.dim()] if leaf.dim() > 1 else range(leaf.dim()))


def _in_order(leaf: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """A tensor like it of no values, whose axes lie in memory in an order of theirs."""
    return torch.empty_permuted(leaf.shape, list(order), dtype=leaf.dtype, device=leaf.device)


def _check_next_call(done: Run, example: Example) -> None:
    """Raise CaptureRefused where what forward leaves in Python makes its next call another one. Each way is tried after
    each, or after itself where all leave the same: what is there when the first decision is made."""
    pairs = list(product(done.ways, repeat=2) if done.leaves_by_data else zip(done.ways, done.ways, strict=True))
    if len(pairs) > _MOST_PAIRS:
        raise next_call_untold(done.caches(), len(done.ways), definition(example.flat.called))
    places = (_parting(done, example, *pair) for pair in pairs)
    place = next((place for place in places if place is not None), None)
    if place is not None:
        raise next_call_differs(done.caches(), place if place.file else definition(example.flat.called))


def _check_calls_of_other_sizes(done: Run, original: Example, others: SymbolTable | None) -> None:
    """Raise CaptureRefused where what forward leaves at other sizes makes the next call another one. The model is not
    asked where runs after such calls leave the same graph; it is where it decides by data: those runs would be many."""
    symbols = others or done.symbols
    if others is None and len(done.ways) == 1:
        after = done if done.earlier is not None else after_a_call_at_other_sizes(done, original.leaves)
        if after is not None and is_same(after.captured_graph(), done.captured_graph()):
            return
    if others is not None:  # what a variant is captured on has sizes and no elements
        original = replace(original, leaves=with_elements(original.leaves))
    states = {key for key, _, _ in done.states}
    check_calls_of_other_sizes(
        original, symbols.axes, symbols.lows, symbols.highs, done.caches(), states,
        with_gradients=symbols.with_gradients > 0,
    )  # fmt: skip


def _parting(done: Run, example: Example, before: tuple[bool, ...], after: tuple[bool, ...]) -> Location | None:
    """Where a call that goes one way through its decisions does something else if another way was gone before."""
    calls = (before, after) if before == after else (after, before, after)
    script = tuple(chain.from_iterable(calls))
    for sized, symbols in _for_two_calls(done.symbols, example):
        with Translating():
            place = Run.prepare(sized, symbols, script).parting(after_another_way=before != after)
        if place is not None:
            return place
    return None


def _for_two_calls(symbols: SymbolTable, example: Example) -> Iterator[tuple[Example, SymbolTable]]:
    """What a run of two calls is prepared for. Where the model makes plain numbers of sizes, all are plain, at two
    sizes of each dim: beside a plain number of one call, the expression of the other is another value."""
    if not symbols.takes_plain:
        yield example, replace(symbols, takes_plain=True)
        return
    for sizes in (symbols.hints, symbols.in_example(example.leaves)):
        yield at_sizes(example, symbols, sizes), symbols.fixed_at(sizes)


def _zero_one_check(done: Run, mode: str, example: Example, signature: Callable[[], Signature]) -> ZeroOneCheck:
    """The judge of sizes that the run left out; it does not keep the run, nor the example's tensors."""
    flat, names, requests, symbols = example.flat, example.names, example.requests, done.symbols
    prepare, is_after_a_call = done.preparation(), done.earlier is not None

    def record(leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Recording:
        """The graph that the model leaves for these tensors, some sizes plain."""
        sized, ours = Example(flat, names, leaves, {}), symbols.sized_as(leaves)
        if not symbols.takes_plain:
            return recording_at(fixed, sized, ours, is_after_a_call, prepare)
        if fixed:  # and all others too: plain numbers of those are no expressions
            return recording_at({**ours.hints, **fixed}, sized, ours, is_after_a_call, prepare)
        found = explained(sized.asking(requests), sized.asking(requests), symbols)
        if found is None:
            raise CaptureRefused(
                "the model leaves another graph than when it was compiled",
                cause="runs at several sizes explain its plain numbers of sizes no more",
                cure="compile it again, or for this size: leave the dim out of dynamic_shapes",
            )
        return found.recording(fixed)

    def variant(leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Program:
        asked = {axis: replace(requests[axis], dim=dim) for axis, dim in symbols.fixed_at(fixed).axes.items()}
        return capture(Example(flat, names, leaves, asked), signature, mode, symbols)

    kinds, assumed = Kinds.of(example.leaves), done.constraints.assumptions
    limits = done.limits if isinstance(done, RolledRun) else {}
    return ZeroOneCheck(record, variant, flat.model, mode, symbols.axes, symbols.hints, kinds, assumed, limits)
