"""A model that was called before it is captured, at the example's sizes or others, and has kept what it computed then.

What such a cache holds is not read where the model computes it again at other sizes: a run after a call at other sizes
shows that graph. It is the model's where two such calls make no difference, and where what the model holds now is what
the graph computes for the example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import fx

from fxonnx.capture.call.example import Example, empty_like
from fxonnx.capture.equivalence.same_graph import is_same
from fxonnx.capture.equivalence.zero_one import Recording
from fxonnx.capture.failures import Translating
from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.capture.tracer.decisions.shortcuts import are_exported_alike
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.run import Prepare, Run
from fxonnx.capture.tracer.torch_private import FakeTensor
from fxonnx.errors import Error
from fxonnx.ir.dims import evaluate

_FACTORS = (2, 3)  # sizes that a model takes, it takes twice and three times as large


def after_a_call_at_other_sizes(done: Run, given: Sequence[torch.Tensor]) -> Run | None:
    """The run of a model that was called at other sizes before, in place of a run that may read what earlier calls have
    left; None where it makes a difference. `given` are the tensors of the example itself."""
    run = _whatever_was_before(done.example, done.symbols, done.symbols)
    return run if run is not None and _holds_what_it_computes(run, given) else None


def recording_at(
    fixed: Mapping[str, int], example: Example, symbols: SymbolTable, is_after_a_call: bool,
    prepare: Prepare = Run.prepare,
) -> Recording:
    """The model's calls with some dims at fixed sizes, in a run that is prepared so; after another call at larger ones,
    where the first run was."""
    ours = symbols.fixed_at(fixed)
    run = _whatever_was_before(example, ours, symbols) if is_after_a_call else None
    if run is None:
        run = prepare(example, ours)
        carry_out(run)
    if symbols.exporting or not run.symbols.asked:
        return run.recording(fixed)
    exported = partial(_exported, fixed, example, replace(symbols, exporting=True), is_after_a_call, prepare)
    return replace(run.recording(fixed), otherwise=exported)


def _exported(
    fixed: Mapping[str, int], example: Example, symbols: SymbolTable, is_after_a_call: bool, prepare: Prepare
) -> Recording | None:
    """The calls of the model where it is told that it is exported, if those compute the same: one token more attends
    in another form than many do, unless it is."""
    if not are_exported_alike(example):
        return None
    try:
        with Translating():
            return recording_at(fixed, example, symbols, is_after_a_call, prepare)
    except Error:
        return None


def _whatever_was_before(example: Example, symbols: SymbolTable, earlier: SymbolTable) -> Run | None:
    """A run after a call at larger sizes than those of `earlier`, if which ones makes no difference."""
    first = _after(_FACTORS[0], example, symbols, earlier)
    second = None if first is None else _after(_FACTORS[1], example, symbols, earlier)
    if first is None or second is None or not is_same(first.captured_graph(), second.captured_graph()):
        return None
    theirs = second.guard_log.entries  # a comparison with what the earlier call left is not among both
    first.guard_log.entries = {key: guard for key, guard in first.guard_log.entries.items() if key in theirs}
    return first


def _after(factor: int, example: Example, symbols: SymbolTable, earlier: SymbolTable) -> Run | None:
    """A run after a call at sizes larger by a factor; None where one of them fails, where the call leaves nothing, or
    where the run reads tensors of it."""
    sizes = {name: factor * size for name, size in earlier.hints.items()}
    if not earlier.has_room(sizes):
        return None
    shapes = [
        [evaluate(earlier.axes.get((leaf, axis), size), sizes) for axis, size in enumerate(each.shape)]
        for leaf, each in enumerate(example.leaves)
    ]
    leaves = [empty_like(leaf, shape, leaf.device) for leaf, shape in zip(example.leaves, shapes, strict=True)]
    run = Run.prepare(example, symbols)
    run.earlier = Run.prepare(Example(example.flat, example.names, leaves, {}), SymbolTable(states=symbols.states))
    try:
        with Translating():
            carry_out(run)
    except Error:
        return None
    reads = (weight.tensor for node, weight in run.tape.weights.items() if node.users)
    return None if run.guard_log.specializations or any(isinstance(each, FakeTensor) for each in reads) else run


def _holds_what_it_computes(run: Run, given: Sequence[torch.Tensor]) -> bool:
    """Whether the tensors that forward would replace are those that it computes for the example, where they have its
    sizes."""
    inputs: Mapping[fx.Node, Any] = dict(zip(run.inputs, given, strict=True))
    for _, before, after, _ in run.changes.tensors:
        value = _value(run, run.tape.operand(run.tape.read(after)), inputs)
        if value is None:
            return False
        alike = value.shape == before.shape and value.dtype is before.dtype
        if alike and not torch.allclose(value, before, equal_nan=True):
            return False
    return True


def _value(run: Run, node: fx.Node, inputs: Mapping[fx.Node, Any]) -> Any:
    """What a node computes for these inputs; None where it is drawn, or written to in place."""
    needed, waiting = set[fx.Node](), [node]
    while waiting:
        each = waiting.pop()
        if each not in needed:
            needed.add(each)
            waiting.extend(each.all_input_nodes)
    if any(_is_unsteady(each, needed) for each in run.tape.graph.nodes):
        return None
    values = {**inputs, **{each: weight.tensor for each, weight in run.tape.weights.items()}}
    with torch.no_grad(), Translating():
        for each in run.tape.graph.nodes:
            if each in needed and each.op == "call_function":
                args, kwargs = fx.map_arg((each.args, each.kwargs), values.__getitem__)
                values[each] = each.target(*args, **kwargs)
    return values[node]


def _is_unsteady(node: fx.Node, needed: set[fx.Node]) -> bool:
    """Whether a call draws one of the values, or writes to one."""
    draws = node in needed and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return draws or (is_mutable(node.target) and not needed.isdisjoint(node.all_input_nodes))
