"""What a compiled model says of itself: to people, and in its file to viewers and whoever runs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

from fxonnx.capture import Program
from fxonnx.capture.call.forgotten import Forgotten, forgotten
from fxonnx.errors import Error
from fxonnx.ir.data import byte_size
from fxonnx.ir.dims import Comparison, Expr
from fxonnx.ir.graph import Graph, Node
from fxonnx.location import METADATA_PREFIX
from fxonnx.machines.costs import Cost, with_unit
from fxonnx.passes.pipeline import Stage
from fxonnx.runtime.limits import Limits
from fxonnx.saved.interface import interface_of
from fxonnx.saved.model import INTERFACE, MUST_BE_TRUE
from fxonnx.target import Target

if TYPE_CHECKING:
    import onnx

    from fxonnx.runtime.tune import Tuning

Way: TypeAlias = "tuple[Mapping[str, int], Program]"

_SHOWN = 1e-6  # seconds saved; less is not worth a word


class Subject(Protocol):
    """A compiled model, as far as it is asked."""

    program: Program
    target: Target
    stages: tuple[Stage, ...]
    capture_seconds: float
    examples: tuple[torch.Tensor, ...]
    tuning: Tuning | None

    @property
    def graph(self) -> Graph:
        """The final graph."""

    def costs(self, graph: Graph) -> Mapping[Node, Cost]:
        """What each node of a graph costs."""

    def worth(self) -> Mapping[str, tuple[int, Cost]]:
        """How often each rule fired, and what it saved."""

    @property
    def limits(self) -> Limits:
        """The sizes that it holds for."""


def description(compiled: Subject, ways: str = "") -> str:
    """What the file takes for granted, in words: viewers show it first. Empty where all sizes are fixed. `ways` says
    for which sizes it has graphs of their own."""
    program, limits = compiled.program, compiled.limits
    said = [f"Holds for {_known(program)}."] if program.known else []
    if not limits.sources:
        return " ".join(said)
    said += [f"Made for {' and '.join(sorted(limits.sources))} of 2 or more."]
    said += [f"Holds for {limits}."] if str(limits) else []
    decided = "; ".join(map(str, program.zero_one_assumptions))
    said += [f"Captured with {decided}: with a size of 1 the model may take another way."] if decided else []
    held = program.zero_one.held if program.zero_one else []
    said += [f"Holds for {', '.join(held)} as well."] if held else []
    said += [ways] if ways else []
    return " ".join(said)


def metadata(compiled: Subject, ways: str = "", programs: Iterable[Way] = ()) -> dict[str, str]:
    """What the capture took for granted, for whoever runs the file: no runtime checks it by itself. `programs` are
    those of the other ways that are in the file."""
    program = compiled.program
    said = {"holds_for": str(compiled.limits), "captured_with": "; ".join(map(str, program.zero_one_assumptions))}
    said |= {"known": _known(program), "plain_numbers": _plain(program), "ways": ways}
    said |= {f"{MUST_BE_TRUE}{number}": check.text for number, check in enumerate(program.checks)}
    said = {METADATA_PREFIX + name: text for name, text in said.items() if text}
    return said | {INTERFACE: interface_of(program, holds(program, programs)).to_text()}


def describe(file: onnx.ModelProto, compiled: Subject) -> None:
    """Write into a file what is known by now: calls ask about sizes."""
    file.doc_string = description(compiled)
    del file.metadata_props[:]
    for key, value in metadata(compiled).items():
        file.metadata_props.add(key=key, value=value)


def holds(program: Program, ways: Iterable[Way] = ()) -> list[list[Comparison]]:
    """For which sizes a file of these programs computes what the model does: where all of one of these lists hold."""
    return program.holds({}) + [each for fixed, way in ways for each in way.holds(fixed)]


def report(compiled: Subject) -> str:
    """The compilation in a few lines: target, inputs and outputs, sizes it holds for, how it was captured, stages with
    nodes and times."""
    steps = times(compiled)
    width = max(len(name) for name, _, _ in steps)
    lines = summary(compiled)
    for name, milliseconds, nodes in steps:
        lines.append(f"  {name:{width}}  {milliseconds:7.1f} ms" + ("" if nodes is None else f"  {nodes:5} nodes"))
    return "\n".join(lines)


def summary(compiled: Subject) -> list[str]:
    """Target, inputs and outputs, sizes it holds for, how it was captured, a line each."""
    graph, program = compiled.graph, compiled.program
    values = [*graph.inputs, *graph.outputs]
    names = [*(value.name or "" for value in graph.inputs), *graph.output_names]
    weights = sum(byte_size(value.data) for value in graph.constants() if value.data is not None)
    lines = [f"{compiled.target}, {weights / 1e6:,.1f} MB of weights"]
    lines += [f"  {name}: {value.type}" for name, value in zip(names, values, strict=True)]
    lines += [f"  holds for {compiled.limits}"] if str(compiled.limits) else []
    lines += [f"  holds for {_known(program)}"] if program.known else []
    assumed = "; ".join(map(str, program.zero_one_assumptions))
    lines += [f"  captured with {assumed}: what a size of 1 changes is asked when it is met"] if assumed else []
    lines += [f"  {sentence}" for sentence in (*program.frozen, *forgotten_dims(compiled))]
    lines += [f"  plain numbers of sizes, compared at several: {_plain(program)}"] if program.plain else []
    lines += [f"  a call at the example's sizes: {Cost.sum(compiled.costs(graph).values())}"]
    lines += _rules(compiled.worth())
    lines += [f"  {compiled.tuning}"] if compiled.tuning else []
    lines += [f"  captured {'; else '.join(program.attempts)}"] if len(program.attempts) > 1 else []
    return lines


def _rules(worth: Mapping[str, tuple[int, Cost]]) -> list[str]:
    """Which rules fired how often, those first that save most by what is predicted of their nodes."""
    saved = {rule: cost.predicted or 0.0 for rule, (_, cost) in worth.items()}
    ordered = sorted(worth, key=lambda rule: (-saved[rule], -worth[rule][0]))
    said = [f"{rule} {worth[rule][0]}" + (f" (saves {with_unit(saved[rule])}s)" if saved[rule] > _SHOWN else "")
            for rule in ordered]  # fmt: skip
    return [f"  rules: {', '.join(said)}"] if said else []


def forgotten_dims(compiled: Subject) -> list[Forgotten]:
    """Static sizes that may have been meant to be dims."""
    inputs = compiled.graph.inputs[: len(compiled.program.inputs)]
    dims = {
        (leaf, axis): dim.name
        for leaf, value in enumerate(inputs)
        for axis, dim in enumerate(value.shape)
        if isinstance(dim, Expr)
    }
    return forgotten([value.name or "" for value in inputs], [each.shape for each in compiled.examples], dims)


def remind(error: Error, compiled: Subject) -> None:
    """Let the error about an input say which of its static sizes may have been meant to be a dim."""
    for each in forgotten_dims(compiled):
        error.cause += f"; {each}" if f"input {each.input} " in error.what else ""


def times(compiled: Subject) -> list[tuple[str, float, int | None]]:
    """The steps of the compiler: name, milliseconds, and how many nodes there are after it."""
    stages = [(stage.name, stage.seconds * 1000, stage.nodes) for stage in compiled.stages]
    return [("capture", compiled.capture_seconds * 1000, None), *stages]


def _known(program: Program) -> str:
    """The weights of which forward made plain numbers, with their values."""
    return "; ".join(map(str, program.known))


def _plain(program: Program) -> str:
    """The lines of the model that make plain numbers of sizes."""
    return ", ".join(place.source for place in program.plain)


def one_line(text: str, width: int = 160) -> str:
    """The text as a `repr` shows it: cut in the middle where it is longer than a line."""
    return text if len(text) <= width else f"{text[: width // 2]} … {text[-width // 2 :]}"
