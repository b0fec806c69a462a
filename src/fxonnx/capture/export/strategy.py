"""From a model and example tensors to an ExportedProgram with the dims that were asked for; tried again where the
example itself was in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.call.dynamic import Axis, Requests, resized, without
from fxonnx.capture.call.inputs import Flat
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.zero_one import Example, ZeroOneCheck, nothing
from fxonnx.capture.export.annotate_frames import annotate_frames
from fxonnx.capture.export.assemble import read_ports
from fxonnx.capture.export.freeze import Freeze, Naming, add_ranges, example_sizes, name_symbols
from fxonnx.capture.export.guards import assumptions, decides, decisions, shape_env, symbol_of
from fxonnx.capture.export.torch_export import export
from fxonnx.capture.failures import Translating
from fxonnx.errors import Error, FrozenDimension, raise_all
from fxonnx.ir.dims import symbols_of
from fxonnx.location import Location


@dataclass(frozen=True, slots=True)
class Trace:
    """One successful run of torch.export: the program, its dims by name, and what it assumed."""

    exported: ExportedProgram
    naming: Naming
    leaves: Sequence[torch.Tensor]
    table: Requests
    example: dict[str, int]
    pinning: list[Assumption]
    kept: list[Assumption]
    places: dict[str, Location]


def trace(
    flat: Flat, table: Requests, names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> tuple[Trace, tuple[str, ...]]:
    """A trace in which every required dim is free, and sentences about the optional ones that are not.

    Raises FrozenDimension, or what capturing raises.
    """
    annotate_frames(flat.model)
    done = _first(flat, attempts(table, names, leaves))
    if _tied_by_accident(done):
        done = _first(flat, iter([(table, resized(table, names, leaves, distinct=True))]), fallback=done)
    given_up = [axis for axis in table if axis not in done.table]
    said = [f"{names[leaf]}, axis {axis}: size {leaves[leaf].shape[axis]} cannot vary" for leaf, axis in given_up]
    while pinned := _optional_pins(done):
        said += [f"{names[axis[0]]}, axis {axis[1]}: {reason}" for axis, reason in pinned.items()]
        done = _run(flat, without(done.table, pinned), done.leaves)
    _require(done, names)
    said += [f"{names[each.axis[0]]}, axis {each.axis[1]}: always {each.fixed}" for each in done.naming.frozen]
    return done, tuple(said)


def zero_one_check(flat: Flat, mode: str, done: Trace) -> ZeroOneCheck:
    """The judge of sizes that torch.export left out; it does not keep the graph."""
    table = done.table

    def record(leaves: Sequence[torch.Tensor], *, dynamic: bool) -> CapturedGraph:
        exported = export(flat, leaves, table if dynamic else {})
        return CapturedGraph.of(exported, flat.returned.tree)

    return ZeroOneCheck(record, nothing, flat.model, mode, done.naming.axes, done.example, Example.of(done.leaves))


def attempts(
    table: Requests, names: Sequence[str], leaves: Sequence[torch.Tensor]
) -> Iterator[tuple[Requests, list[torch.Tensor]]]:
    """What to ask torch for, best first.

    Optional dims of size 0 or 1 may be there to be broadcast, and then cannot have another size.
    """
    yield table, resized(table, names, leaves)
    small = [axis for axis, request in table.items() if not request.required and leaves[axis[0]].shape[axis[1]] < 2]
    inner = [axis for axis in small if axis[1] != 0]
    for given_up in ([inner] if inner and len(inner) < len(small) else []) + ([small] if small else []):
        fewer = without(table, given_up)
        yield fewer, resized(fewer, names, leaves)


def _first(flat: Flat, attempts: Iterator[tuple[Requests, list[torch.Tensor]]], fallback: Trace | None = None) -> Trace:
    failure: Error | None = None
    for table, leaves in attempts:
        try:
            return _run(flat, table, leaves)
        except Error as error:
            failure = failure or error
    if fallback is not None:
        return fallback
    assert failure is not None
    raise failure


def _run(flat: Flat, table: Requests, leaves: Sequence[torch.Tensor]) -> Trace:
    with Translating(), decisions() as places:
        exported = export(flat, leaves, table)
    inputs = read_ports(exported, wrapped=True).inputs
    naming = name_symbols(exported.range_constraints, inputs, table)
    example = example_sizes(naming, inputs, leaves)
    pinning, kept = assumptions(inputs, naming.sizes(), example, places) if naming.dims else ([], [])
    add_ranges(
        naming, exported.range_constraints, table, lambda name, bound: decides(kept, {**example, name: bound - 1})
    )
    return Trace(exported, naming, leaves, table, example, pinning, kept, places)


def _tied_by_accident(done: Trace) -> bool:
    """Whether dims of different names came out equal that have equal sizes in the example: a comparison may have
    been true for that reason only."""
    return any(each.tied for each in done.naming.frozen)


def _optional_pins(done: Trace) -> dict[Axis, str]:
    """Dims that were only asked for if possible, which an assumption pins although torch still takes them for free."""
    pinned = {name: f"pinned by {each}" for each in done.pinning for name in each.symbols}
    found: dict[Axis, str] = {}
    for axis, dim in done.naming.axes.items():
        reason = next((pinned[name] for name in symbols_of([dim]) if name in pinned), None)
        if reason is not None and not done.table[axis].required:
            found[axis] = reason
    return found


# ── what may not freeze ────────────────────────────────────────


def _require(done: Trace, names: Sequence[str]) -> None:
    """Raise FrozenDimension for every required dim that is not free, with the line that fixed it; all of them at
    once."""
    frozen = [each for each in done.naming.frozen if each.request.required]
    pinned = [each for each in done.pinning if any(request.required for request in done.table.values())]
    failures: list[Error] = [_frozen(each, done, names) for each in frozen]
    failures += [_pinned(each) for each in pinned]
    failures += [
        FrozenDimension(
            f"dim {name!r} is asked for in sizes {asked}, and the model works for {works}",
            cause="the model decides by this size",
            cure="narrow the range in dynamic_shapes",
        )
        for name, asked, works in done.naming.narrowed
    ]
    raise_all(failures)


def _frozen(each: Freeze, done: Trace, names: Sequence[str]) -> FrozenDimension:
    leaf, axis = each.axis
    label = (
        f"dim {str(each.request.dim)!r} ({names[leaf]}, axis {axis})"
        if each.request.dim is not None
        else f"axis {axis} of {names[leaf]}"
    )
    environment = shape_env(done.exported.graph.find_nodes(op="placeholder"))
    symbol = symbol_of(environment, leaf, axis) if environment is not None else None
    location = done.places.get(symbol or "", Location())
    if each.tied:
        return FrozenDimension(
            f"{label} is always {each.fixed}",
            cause="the model only works where the two agree",
            cure="give both dims one name in dynamic_shapes, or make the model work for sizes that differ",
            location=location,
        )
    return FrozenDimension(
        f"{label} freezes at {each.fixed}, the size in the example",
        cause="this line, or an op it calls, makes a constant of the size",
        cure="use x.shape[…] or -1 instead of the number, or leave the dim out of dynamic_shapes",
        location=location,
    )


def _pinned(each: Assumption) -> FrozenDimension:
    names = ", ".join(sorted(each.symbols))
    return FrozenDimension(
        f"dim {names!r} freezes: the model was captured for {each} only",
        cause="a number computed from the size became a constant",
        cure="compute with // and %, not with int(), round() or math on floats, or leave the dim static",
        location=each.location,
    )
