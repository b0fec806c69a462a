"""The calls of a run once more, with expressions for numbers that it had made plain: no Python of the model's runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import fx

from fxonnx.capture.graph.checks import ASSERTION
from fxonnx.capture.locate import Locator
from fxonnx.capture.tracer.plain.solve import solve
from fxonnx.capture.tracer.plain.unknowns import Call, Known, Result, Table, Unknown, Unlike
from fxonnx.capture.tracer.record import Recorder
from fxonnx.capture.tracer.run import Run
from fxonnx.capture.tracer.size_functions import stacked
from fxonnx.capture.tracer.sizes.nodes import FloatNode, sym_int
from fxonnx.capture.tracer.sizes.twins import taking_sizes
from fxonnx.capture.tracer.torch_private import enable_python_dispatcher
from fxonnx.ir.dims import evaluate, symbol

_WAYS: tuple[tuple[Callable[[float], float], Callable[[Any], Any]], ...] = (
    (lambda value: value, torch.sym_float),
    (lambda value: 1 / value, lambda size: 1 / size),
    (lambda value: value**2, lambda size: torch.sym_float(size) ** 0.5),
    (lambda value: value**-2, lambda size: torch.sym_float(size) ** -0.5),
    (lambda value: value**-2, lambda size: 1 / torch.sym_float(size) ** 0.5),
)
"""from a float to the whole number that it may be computed of, and back"""


class Rerun:
    """Runs the calls of the first of several runs again; `runs` have left the same ones."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, first = runs, runs[0]
        self._sizes = [run.symbols.hints for run in runs]
        self._likely = [each.dim for each in first.guard_log.plain]
        self.run = Run.prepare(first.example, first.symbols)
        self._log = self.run.guard_log
        self._log.takes_plain = False
        self._results: list[Any] = []
        self._solved: dict[Unknown, Any] = {}
        self._take_rounded()

    def _take_rounded(self) -> None:
        """What the first run knows of floats that it rounded."""
        known = self._runs[0].guard_log
        for name, rounded in known.rounded.items():
            self._log.know_rounded(name, rounded, known.origins[symbol(name)])

    def __call__(self, calls: Sequence[Call], outputs: Sequence[Any]) -> Run:
        """The run that this leaves. Raises Unlike where a number is no expression, and what ops raise."""
        run, first = self.run, self._runs[0]
        autocast, locator = dict(first.tape.autocast), Locator()
        with torch.no_grad(), enable_python_dispatcher(), run.tape.cache.mode, Recorder(run.tape):
            for call in calls:
                run.tape.place = partial(_place_of, call.node)
                run.guard_log.locate = partial(locator, call.node)
                with _autocast(autocast.get(call.node)):
                    self._results.append(self._call(call))
        results = list(map(self._value, outputs))
        run.returned, run.changes = first.returned, first.changes
        count = len(results) - len(first.states)
        states = zip(first.states, results[count:], strict=True)
        run.states = [(key, before, after) for (key, before, _), after in states]
        run.tape.output(results)
        self._keep_known(run, first)
        self._keep_guards()
        return run

    def _call(self, call: Call) -> Any:
        args = [self._value(each) for each in call.args]
        if call.node.target is ASSERTION:
            return self.run.tape.check(*args)
        return taking_sizes(call.node.target)(*args, **{name: self._value(each) for name, each in call.kwargs.items()})

    def _value(self, argument: Any) -> Any:
        """What an argument is in this run."""
        match argument:
            case Result(call, place):
                return self._results[call] if place is None else self._results[call][place]
            case Known(int() as number):
                return self.run.fakes[number]
            case Known(value):
                return self._moved(value)
            case Unknown():
                return self._number(argument)
            case Table(rows, dtype):
                return stacked(self._value(rows), {"dtype": dtype})
            case list():
                return [self._value(each) for each in argument]
        return argument

    def _moved(self, value: Any) -> Any:
        """A size or a float of the first run's as one of this run's."""
        if isinstance(value, torch.SymInt):
            return sym_int(value.node.dim, value.node.hint, self._log)
        if isinstance(value, torch.SymFloat):
            node = value.node
            return torch.SymFloat(FloatNode(node.tree, node.hint, self._log, node.quotient, node.roundings))
        return value

    def _number(self, unknown: Unknown) -> Any:
        if unknown not in self._solved:
            whole = isinstance(unknown.values[0], int)
            self._solved[unknown] = self._whole(unknown.values) if whole else self._real(unknown.values)
        return self._solved[unknown]

    def _whole(self, values: Sequence[int]) -> Any:
        dim = solve(values, self._sizes, self._likely)
        if dim is None:
            raise Unlike(f"{values} are no expression of the sizes")
        return sym_int(dim, evaluate(dim, self._log.hints), self._log)

    def _real(self, values: Sequence[float]) -> Any:
        for whole, back in _WAYS:
            if any(value == 0 or not math.isfinite(value) for value in values):
                break
            found = [round(whole(value)) for value in values]
            if all(size > 0 and float(back(size)) == value for size, value in zip(found, values, strict=True)):
                return back(self._whole(found))
        raise Unlike(f"{values} are no expression of the sizes")

    def _keep_known(self, run: Run, first: Run) -> None:
        """What values the first run has read of weights."""
        nodes = {id(weight.tensor): node for node, weight in run.tape.weights.items()}
        for node, read in first.tape.values.reads.items():
            run.tape.values.reads[nodes.get(id(read.weight.tensor), node)] = read

    def _keep_guards(self) -> None:
        """What the model's Python has asked of sizes, in all runs alike."""
        first, *others = (run.guard_log for run in self._runs)
        self._log.plain = first.plain
        for key, guard in first.entries.items():
            if not guard.inside and all(key in each.entries for each in others):
                self._log.entries[key] = guard
        self._log.zero_one |= {
            key: guard for key, guard in first.zero_one.items() if all(key in each.zero_one for each in others)
        }


def _place_of(node: fx.Node) -> dict[str, Any]:
    return {name: node.meta[name] for name in ("nn_module_stack", "stack_trace") if name in node.meta}


@contextmanager
def _autocast(dtype: torch.dtype | None) -> Iterator[None]:
    if dtype is None:
        yield
        return
    with torch.autocast("cpu", dtype):
        yield
