"""What a worker does with an entry: compile it, compare it, time it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import PurePath
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from fxonnx import errors, machines
from fxonnx.capture.surroundings import training_mode
from fxonnx.compiled import Compiled
from fxonnx.compiler import Lowered, compile, lower
from fxonnx.ir.graph import Graph
from fxonnx.ir.text import print_graph
from fxonnx.saved.interface import interface_of
from fxonnx.tools.outcome import Usage
from fxonnx.tools.sweep.cache import Cache
from fxonnx.tools.sweep.entry import Entry
from fxonnx.tools.sweep.result import FAILED, REFUSED, RIGHT, WRONG, Result
from fxonnx.version import __version__

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")
_CALLS = 5  # at least, of each side


def versions() -> str:
    """Of all that a result depends on."""
    return ", ".join((f"fxonnx {__version__}", *(f"{name} {version(name)}" for name in _PACKAGES)))


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with every entry: `seconds` of timed calls, 0 for none. It is sent to workers as it is."""

    cache: Cache | None
    verify: bool
    seconds: float

    def __call__(self, entry: Entry) -> Result:
        """What came of an entry; whatever its model does is told, not raised."""
        result = Result(entry.name, entry.signature, REFUSED, versions())
        try:
            return self._compiled(entry, result)
        except (errors.Error, Usage) as error:
            return replace(result, code=getattr(error, "code", None), message=str(error).strip())
        except errors.InternalError as error:
            return replace(result, outcome=FAILED, message=str(error).strip())

    def _compiled(self, entry: Entry, result: Result) -> Result:
        model, args, kwargs = entry.call()
        start = perf_counter()
        lowered = lower(model, args, kwargs, **_all_options(entry))
        key = self._key(lowered, entry)
        if self.cache and key and (known := self.cache.find(key)):
            return replace(known, name=entry.name, asked=entry.signature)
        compiled = lowered.compiled()
        result = replace(result, outcome=RIGHT, compile_seconds=perf_counter() - start,
                         nodes=compiled.stages[-1].nodes, opset=compiled.target.opset)  # fmt: skip
        if not (self.cache and key):
            return self._judged(compiled, result)
        with self.cache.draft(key) as draft:
            compiled.save(draft.model)  # before it is timed: what a model keeps between calls goes on then
            return draft.keep(self._judged(compiled, result))

    def _judged(self, compiled: Compiled, result: Result) -> Result:
        """Compared and timed, as asked."""
        result = _compared(compiled, result) if self.verify else result
        return _timed(compiled, self.seconds, result) if self.seconds else result

    def _key(self, lowered: Lowered, entry: Entry) -> str:
        """What a cache knows the result by; "" where there is none, or an option cannot be compared by its words."""
        if self.cache is None or not _is_said(entry.options):
            return ""
        target, program = lowered.build.target, lowered.program
        facts = [
            versions(), self.verify, self.seconds, machines.processor(),
            sorted((name, repr(value)) for name, value in entry.options.items() if name not in _IN_THE_GRAPH),
            str(target), sorted(target.domains), target.machine.workloads,
            interface_of(program, program.holds({})).to_text(), [*map(str, program.known)], program.frozen,
            [*map(str, program.zero_one_assumptions)], [check.text for check in program.checks],
        ]  # fmt: skip
        return _digest(lowered.stage.graph, repr(facts))


_IN_THE_GRAPH = frozenset({"dynamic_shapes", "input_names", "output_names", "lowerings", "mode", "target"})
"""Options that show in the lowered graph, or are asked for otherwise."""


def _is_said(value: Any) -> bool:
    """Whether the words for a value tell all of it; those for rules, calibration batches and other objects do not."""
    if isinstance(value, Mapping):
        return all(_is_said(each) for name, each in value.items() if name not in _IN_THE_GRAPH)
    if isinstance(value, (list, tuple)):
        return all(map(_is_said, value))
    return value is None or isinstance(value, (str, int, float, type, PurePath))


_THE_SWEEPS = frozenset({"examples", "progress", "verify", "dump"})
"""Options that an entry's factory and the sweep's own are in the place of."""


def _all_options(entry: Entry) -> dict[str, Any]:
    """The options of `compile` for a model, those that an entry leaves out at their defaults. Raises InvalidOption."""
    parameters = inspect.signature(compile).parameters
    defaults = {name: each.default for name, each in parameters.items()
                if each.kind is each.KEYWORD_ONLY and name not in _THE_SWEEPS}  # fmt: skip
    if strange := entry.options.keys() - defaults.keys():
        raise errors.InvalidOption(
            f"entry {entry.name!r} has the options {', '.join(sorted(map(repr, strange)))}",
            cause="they are those of fxonnx.compile", cure=f"there are {', '.join(defaults)}",
        )  # fmt: skip
    return {**defaults, **entry.options}


def _digest(graph: Graph, facts: str) -> str:
    """SHA-256 of a graph, its constants' contents, and facts beside it."""
    digest = sha256(facts.encode())
    digest.update(print_graph(graph).encode())
    for value in graph.constants():
        if value.data is not None:
            digest.update(np.ascontiguousarray(value.data.array()).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _compared(compiled: Compiled, result: Result) -> Result:
    report = compiled.verify()
    outputs = [each for comparison in report.comparisons for each in comparison.outputs]
    return replace(
        result, outcome=RIGHT if report.ok else WRONG, message=None if report.ok else str(report),
        max_absolute=max((each.max_absolute for each in outputs), default=0.0),
        max_relative=max((each.max_relative for each in outputs), default=0.0),
    )  # fmt: skip


def _timed(compiled: Compiled, seconds: float, result: Result) -> Result:
    """With the medians of calls of both sides, in turns."""
    args, kwargs = compiled.program.signature.arguments_for(compiled.examples)
    model = compiled.model.module() if isinstance(compiled.model, ExportedProgram) else compiled.model
    sides = (compiled, model)
    taken: tuple[list[float], list[float]] = ([], [])
    with torch.set_grad_enabled(compiled.program.with_gradients), training_mode(model, compiled.mode):
        for side in sides:
            side(*args, **kwargs)
        while len(taken[0]) < _CALLS or sum(map(sum, taken)) < seconds:
            for side, times in zip(sides, taken, strict=True):
                start = perf_counter()
                side(*args, **kwargs)
                times.append(perf_counter() - start)
    latency, eager = (median(times) * 1e3 for times in taken)
    return replace(result, latency_ms=latency, eager_ms=eager)
