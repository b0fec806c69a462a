"""Capture by torch.export, in which the dims that were asked for are free; tried again where the example itself was in
the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch.export import ExportedProgram
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from fxonnx.capture.assumption import Assumption, Guard
from fxonnx.capture.call.dynamic import Axis
from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Signature
from fxonnx.capture.constraints import Constraints, classify, frozen_at, small_error, tied
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.same_graph import Difference
from fxonnx.capture.equivalence.zero_one import Kinds, Recording, ZeroOneCheck
from fxonnx.capture.export.annotate_frames import annotate_frames
from fxonnx.capture.export.assemble import assemble, read_ports, user_outputs
from fxonnx.capture.export.borrowed import check_borrowed
from fxonnx.capture.export.exported import Copied, copied
from fxonnx.capture.export.freeze import Freeze, Naming, asked_bounds, example_sizes, name_symbols, upper_bounds
from fxonnx.capture.export.guards import guards, inexact, place_of_freeze, shape_env, user_lines
from fxonnx.capture.export.next_call import check_next_call
from fxonnx.capture.export.torch_export import export
from fxonnx.capture.failures import Translating
from fxonnx.capture.graph.aliasing import Layouts
from fxonnx.capture.graph.clean import clean
from fxonnx.capture.locate import Locator
from fxonnx.capture.program import Program
from fxonnx.capture.retry import Remedy, RetryPlan
from fxonnx.capture.state.python_state import StateChanges
from fxonnx.errors import CaptureRefused, Error, FrozenDimension, raise_all
from fxonnx.ir.dims import Bounds, Dim, Expr, certain, substitute, symbol, symbols_of
from fxonnx.location import Location


def capture(example: Example, signature: Callable[[], Signature], mode: str) -> Program:
    """The Program of an example's model, which is in the training `mode` now.

    `signature` is asked for after the model has run. Raises FrozenDimension for each required dim that is not free, or
    what capturing raises.
    """
    annotate_frames(example.flat.model)
    attempt, done, tried = PLAN.carry_out(_Attempt(example.resized(), example), _run)
    if isinstance(done, Error):
        raise attempt.failure or done
    _require_free(done)
    check_borrowed(done.exported, done.changes.arrays)
    check_next_call(example, done.changes)
    frozen = [f"{example.label(axis)}: {reason}" for axis, reason in attempt.frozen.items()]
    frozen += [f"{example.label(each.axis)}: always {each.fixed}" for each in done.naming.frozen]
    lows, highs = asked_bounds(done.naming, done.example.requests)
    check = _zero_one_check(done, mode, signature)
    small = _small(done, example)
    failure = _small_failure(small, check, done, example) if small else None
    if failure is not None:
        return _without_small_ones(small, failure, done, example, signature, mode)
    program = replace(
        assemble(done.exported, signature(), done.naming, environment=shape_env(done.exported.graph.nodes)),
        symbols=done.constraints.infos(symbols_of(done.naming.dims.values()), lows, {**done.highs, **highs}),
        assumptions=tuple(done.constraints.assumptions),
        frozen=tuple(frozen),
        attempts=tried,
    )
    _refuse_made_of_others(program)
    return replace(program, zero_one=check) if done.sizes else program


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """What torch.export is asked for; the optional dims that are known to be `frozen`, and why; the first `failure`,
    and a success to go back to."""

    example: Example
    original: Example
    is_distinct: bool = False
    frozen: dict[Axis, str] = field(default_factory=dict)
    given_up: int = 0  # kinds of small dims
    failure: Error | None = None
    fallback: _Exported | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Exported:
    """One success of torch.export: the program, its dims by name, their sizes in the example, and what was assumed."""

    exported: ExportedProgram
    example: Example
    naming: Naming
    sizes: dict[str, int]
    constraints: Constraints
    inexact: list[Assumption]
    highs: dict[str, int]  # the greatest sizes that torch found
    changes: StateChanges


def _run(attempt: _Attempt) -> _Exported | Error:
    try:
        return _export(attempt.example)
    except Error as error:
        return attempt.fallback or error


def _export(example: Example) -> _Exported:
    with Translating(), user_lines():
        exported, changes = export(example)
    inputs = read_ports(exported, wrapped=True).inputs
    naming = name_symbols(exported.range_constraints, inputs, example.requests)
    sizes = example_sizes(naming, inputs, example.leaves)
    environment = shape_env(inputs) if naming.dims else None
    highs = upper_bounds(naming, exported.range_constraints)
    _, asked = asked_bounds(naming, example.requests)
    narrower = {name: high for name, high in highs.items() if high < asked.get(name, high + 1)}
    found = [
        *guards(environment, naming.sizes()),
        *(Guard(symbol(name), "<=", high, Location()) for name, high in narrower.items()),
    ]
    found = _with_layouts(found, [*_layouts(naming, sizes).guards(exported.graph)])
    pins = [*inexact(environment, naming.sizes(), sizes)]
    return _Exported(exported, example, naming, sizes, classify(found, sizes), pins, highs, changes)


def _with_layouts(found: Sequence[Guard], layouts: Sequence[Guard]) -> list[Guard]:
    """Guards, with those of how memory lies; what torch compared of the same dims inside of ops, m >= 5 for x[:, :5],
    is what the sizes in the graph come of."""
    names = frozenset[str]().union(*(each.symbols for each in layouts))
    return [*(replace(each, inside=each.inside and not each.symbols & names) for each in found), *layouts]


def _layouts(naming: Naming, sizes: Mapping[str, int]) -> Layouts:
    bounds = Bounds({}, {}, least=2)

    def known(relation: str, left: Dim, right: Dim) -> bool | None:
        return certain(relation, *bounds.interval(left - right))

    return Layouts(naming.sizes().dim, sizes, known)


# ── remedies ────────────────────────────────────────


def _without_small(attempt: _Attempt, done: _Exported | Error) -> _Attempt | None:
    """Static small dims, where it failed with them."""
    if not isinstance(done, Error) or attempt.is_distinct:
        return None
    original = attempt.original
    for small in original.small_optional()[attempt.given_up :]:
        fewer = replace(attempt, example=original.without(small).resized(), given_up=attempt.given_up + 1)
        said = {axis: f"size {original.size(axis)} cannot vary" for axis in small}
        return replace(fewer, frozen=said, failure=attempt.failure or done)
    return None


def _distinct(attempt: _Attempt, done: _Exported | Error) -> _Attempt | None:
    """Other sizes, where dims of different names came out equal that have equal sizes in the example: a comparison may
    have been true for that reason only."""
    if isinstance(done, Error) or attempt.is_distinct or not any(each.tied for each in done.naming.frozen):
        return None
    example = attempt.original.without(attempt.frozen).resized(distinct=True)
    return replace(attempt, example=example, is_distinct=True, fallback=done)


def _without_frozen(attempt: _Attempt, done: _Exported | Error) -> _Attempt | None:
    """Without the optional dims that an equality pins although torch still takes them for free."""
    if isinstance(done, Error):
        return None
    pins = {name: f"pinned by {each}" for each in _pins(done) for name in each.symbols}
    found = {
        axis: next(pins[name] for name in symbols_of([dim]) if name in pins)
        for axis, dim in done.naming.axes.items()
        if symbols_of([dim]) & pins.keys() and not done.example.requests[axis].required
    }
    original = attempt.original
    found |= {
        each.axis: f"always {original.size(each.axis)}"
        for each in done.naming.frozen
        if not each.request.required and isinstance(each.fixed, int) and each.fixed != original.size(each.axis)
    }
    if not found:
        return None
    fewer = done.example.without(found).with_sizes_of(original, found)
    return replace(attempt, example=fewer, is_distinct=True, frozen={**attempt.frozen, **found}, fallback=None)


PLAN: RetryPlan[_Attempt, _Exported | Error] = RetryPlan(
    "at the example's sizes",
    (
        Remedy("without optional dims of size 0 or 1", _without_small),
        Remedy("at distinct sizes, where dims are equal", _distinct),
        Remedy("without optional dims that are pinned", _without_frozen),
    ),
)


# ── what may not freeze ────────────────────────────────────────


def _pins(done: _Exported) -> list[Assumption]:
    return [*done.constraints.equalities, *done.inexact]


def _require_free(done: _Exported) -> None:
    """Raise FrozenDimension for every required dim that is not free, with the line that fixed it; all of them at
    once."""
    requests = done.example.requests
    failures: list[Error] = [_frozen(each, done) for each in done.naming.frozen if each.request.required]
    if any(request.required for request in requests.values()):
        failures += map(_pinned, _pins(done))
    raise_all(failures + done.constraints.narrowed(*asked_bounds(done.naming, requests)))


def _frozen(each: Freeze, done: _Exported) -> Error:
    label, name = done.example.label(each.axis), each.request.dim
    environment = shape_env(done.exported.graph.find_nodes(op="placeholder"))
    what = f"dim {label}" if name is None else f"dim {str(name)!r} ({label})"
    location = place_of_freeze(environment, *each.axis)
    if isinstance(each.fixed, int):
        return frozen_at(what, each.fixed, location)
    return tied(what, each.fixed, location)


def _pinned(each: Assumption) -> FrozenDimension:
    names = ", ".join(sorted(each.symbols))
    return FrozenDimension(
        f"dim {names!r} freezes: the model was captured for {each} only",
        cause="a number computed from the size became a constant",
        cure="compute with // and %, not with int(), round() or math on floats, or leave the dim static",
        location=each.location,
    )


def _refuse_made_of_others(program: Program) -> None:
    """Raise CaptureRefused for weights that are no arrays of numbers; torch.export keeps them as they are."""
    raise_all(
        [
            CaptureRefused(
                f"the weight {weight.key} is a {type(weight.tensor).__name__}",
                cause="it is made of other tensors, and what calls on it do is written in Python",
                cure="give the model plain tensors for weights: dequantized, or packed with calls that unpack them",
            )
            for weight in program.weights.values()
            if is_traceable_wrapper_subclass(weight.tensor)
        ]
    )


# ── sizes of 0 and 1 ────────────────────────────────────────


def _small(done: _Exported, original: Example) -> dict[str, int]:
    """The sizes of 0 and 1 that the example has in dims that are free."""
    named = {dim.name: original.size(axis) for axis, dim in done.naming.axes.items() if isinstance(dim, Expr)}
    return {name: size for name, size in named.items() if name is not None and size < 2}


def _small_failure(
    small: Mapping[str, int], check: ZeroOneCheck, done: _Exported, original: Example
) -> FrozenDimension | None:
    """What is wrong with the graph at these sizes."""
    check.general = _captured_graph(copied(done.exported), done.example, done.sizes)
    labels = {str(dim): original.label(axis) for axis, dim in reversed(done.naming.axes.items())}
    try:
        check.note(small, check.assumptions(small))
    except Difference as difference:
        return small_error(small, str(difference), difference.location, labels)
    return None


def _without_small_ones(
    small: Mapping[str, int], failure: Error, done: _Exported, original: Example, signature: Callable[[], Signature],
    mode: str,
) -> Program:  # fmt: skip
    """Captured without the dims of these sizes, where they are optional. Raises the failure where they are not."""
    gone = [axis for axis, dim in done.naming.axes.items() if symbols_of([dim]) & small.keys()]
    if any(original.requests[axis].required for axis in gone):
        raise failure
    program = capture(original.without(gone), signature, mode)
    reasons = (f"{original.label(axis)}: always {original.size(axis)}" for axis in gone)
    return replace(program, frozen=(*reasons, *program.frozen))


def _captured_graph(exported: Copied, example: Example, sizes: Mapping[str, int]) -> CapturedGraph:
    """A graph of torch.export, to be compared with others over the dims of these sizes; it is cleaned."""
    clean(exported.graph)
    ports, outputs = read_ports(exported, wrapped=True), user_outputs(exported, wrapped=True)
    dim = name_symbols(exported.range_constraints, ports.inputs, example.requests).sizes().dim
    inputs, returned, symbols = tuple(ports.inputs), example.flat.returned, frozenset(sizes)
    return CapturedGraph(
        exported.graph, inputs, ports.weights, outputs, returned.tree, returned.effects, Locator(), dim, symbols
    )


def _zero_one_check(done: _Exported, mode: str, signature: Callable[[], Signature]) -> ZeroOneCheck:
    """The judge of sizes that torch.export left out; it does not keep the graph, nor the example's tensors."""
    flat, names, requests = done.example.flat, done.example.names, done.example.requests
    sizes, axes = done.sizes, dict[Axis, Dim](done.naming.axes)

    def record(leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Recording:
        example = Example(flat, names, leaves, {} if fixed else requests)
        graph = _captured_graph(copied(export(example)[0]), example, sizes)
        return Recording(graph, {**sizes, **fixed} if fixed else {})

    def variant(leaves: Sequence[torch.Tensor], fixed: Mapping[str, int]) -> Program:
        dims = {axis: substitute(dim, fixed) for axis, dim in axes.items()}
        asked = {axis: replace(requests[axis], dim=dim) for axis, dim in dims.items() if not isinstance(dim, int)}
        return capture(Example(flat, names, leaves, asked), signature, mode)

    return ZeroOneCheck(record, variant, flat.model, mode, axes, sizes, Kinds.of(done.example.leaves))
