"""The search: from the whole model to one rule, one op, one kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fxonnx.capture import Program
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.surroundings import training_mode
from fxonnx.compiled import Compiled
from fxonnx.compiler import compile
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.emit.weights import inline_model
from fxonnx.errors import Error, RuntimeFailed
from fxonnx.ir.evaluate import CannotEvaluate, evaluate_node
from fxonnx.ir.graph import Graph
from fxonnx.location import Location
from fxonnx.passes.optimize import CLEAN, optimizer
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.shapes import as_real
from fxonnx.target import Target
from fxonnx.tools.bisect.case import Case, cases
from fxonnx.tools.bisect.trials import Trial, Trials
from fxonnx.tools.bisect.verdict import (
    AGREE,
    CAPTURE,
    KERNEL,
    LEGALIZE,
    LOWERING,
    OPTIMIZERS,
    PASS,
    RULE,
    UNKNOWN,
    Verdict,
)
from fxonnx.verification import Found, locate
from fxonnx.verification.check import callable_model
from fxonnx.verification.compare import compare
from fxonnx.verification.steps import rounds_to_steps

RUNTIME_LEVELS = {"off": 0, "basic": 1, "extended": 2}
"""How far ONNX Runtime rewrites a graph, by the words of its documentation; it goes further by default."""


def bisect(
    model: Any,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    **options: Any,
) -> Verdict:
    """Compile with these options of `compile`, run on the example, and say whose doing it is where results differ from
    PyTorch's, or the runtime fails.

    One thing after the other is left out: the runtime's optimizers, all rules, each rule that had a hand in the file;
    then the first node that differs is compiled alone, and computed by ONNX's reference. Raises what `compile` raises.
    """
    compiled = compile(model, args, kwargs, **options)
    return _Search(compiled, options, {"rtol": rtol, "atol": atol}).run()


@dataclass(frozen=True, slots=True)
class _Unoptimized:
    """A graph with what `locate` asks of a compiled model."""

    program: Program
    graph: Graph
    emitted: Emitted
    configuration: Configuration
    target: Target


class _Search:
    """One search in one compiled model."""

    def __init__(
        self, compiled: Compiled, options: Mapping[str, Any], tolerances: Mapping[str, Any]
    ) -> None:
        self.leaves = list(compiled.examples)
        self.compiled = compiled.for_sizes(self.leaves)
        self.options, self.tolerances = dict(options), tolerances
        self.trials = Trials(
            self.compiled.program, self.leaves, self.compiled.target, tolerances, self.compiled.configuration
        )

    def run(self) -> Verdict:
        """The verdict."""
        if not self.is_captured_well():
            return self.verdict(CAPTURE)
        trials, compiled = self.trials, self.compiled
        whole = trials.run("as compiled", compiled.graph)
        if whole.ok:
            return self.verdict(AGREE, found=self.found(compiled))
        for level, number in RUNTIME_LEVELS.items():
            rewritten = trials.run(f"the runtime's optimizers: {level}", compiled.graph, **runtime_level(number))
            if level == "off" and not rewritten.ok:
                break
            if not rewritten.ok:
                return self.verdict(OPTIMIZERS, f"({level})", found=self.found(compiled))
        else:
            return self.verdict(OPTIMIZERS, "(all)", found=self.found(compiled))
        lowered = compiled.stages[0].graph
        clean = trials.legal(CLEAN(lowered, compiled.target))
        if trials.run("optimize=False", clean).ok:
            return self.by_rules(lowered, whole)
        return self.by_node(clean, trials.done[-1])

    def is_captured_well(self) -> bool:
        """Whether the captured graph computes what the model does, both by PyTorch. Of a model that writes somewhere
        only verify knows."""
        if self.compiled.program.writes:
            return True
        args, kwargs = self.compiled.program.signature.arguments_for([each.clone() for each in self.leaves])
        compiled = self.compiled
        gradients = torch.set_grad_enabled(compiled.program.with_gradients)
        with gradients, training_mode(compiled.model, compiled.mode), compiled.weights_in_model():
            results, _, _ = flatten(callable_model(compiled.model)(*args, **kwargs))
        tensors = [torch.as_tensor(each) for each in results]
        real = [*map(as_real, tensors)]
        comparison = compare(self.trials.expected[: len(real)], real, **self.tolerances)
        self.trials.done.append(Trial("the captured graph, by PyTorch", comparison))
        return comparison.ok

    def by_rules(self, lowered: Graph, whole: Trial) -> Verdict:
        """The rule without which all is well, else the pass after which it is not."""
        compiled, trials = self.compiled, self.trials
        found, error = self.found(compiled), whole.failure
        place = _place(found, error)
        users = tuple(self.options.get("rules", ()))
        suspects = dict.fromkeys(place.rules if place else ())
        suspects |= dict.fromkeys(rule for node in compiled.optimized.all_nodes() for rule in node.location.rules)
        for rule in suspects:
            without = optimizer(users, frozenset({rule}))(lowered, compiled.target)
            if trials.run(f"without {rule}", trials.legal(without)).ok:
                return self.verdict(RULE, rule, place, found, self.case(place))
        for stage in compiled.stages[1:]:
            if stage.phase == "optimized" and not trials.run(f"after {stage.name}", trials.legal(stage.graph)).ok:
                return self.verdict(PASS, stage.name, place, found, self.case(place))
        return self.verdict(PASS, "optimize", place, found)

    def by_node(self, clean: Graph, whole: Trial) -> Verdict:
        """The op that differs, or at which the runtime stops; whether its lowering is wrong, or what became of it."""
        compiled = self.compiled
        subject = _Unoptimized(compiled.program, clean, emit(clean), compiled.configuration, compiled.target)
        found = self.found(subject)
        place = _place(found, whole.failure)
        if place is None:
            return self.verdict(UNKNOWN, "the model", found=found)
        case = self.case(place, optimize=False)
        culprit = UNKNOWN if case is None else self.who(case)
        return self.verdict(culprit, place.op, place, found, case)

    def who(self, case: Case) -> str:
        """Which part of the way of a small model is wrong, as ONNX's reference computes what each has made of it."""
        compiled = compile(case.module, case.inputs, **{**self.options, "optimize": False, **_FIXED})
        expected = [torch.as_tensor(each) for each in flatten(case.module(*case.inputs))[0]]
        try:
            lowered = evaluated(compiled.stages[0].graph, case.inputs)
        except CannotEvaluate:
            return UNKNOWN
        except (IndexError, ValueError) as error:  # what numpy raises for values that no operator takes
            self.trials.done.append(Trial(_LOWERED, None, RuntimeFailed(f"{type(error).__name__}: {error}")))
            return LOWERING
        if not self.agree(_LOWERED, lowered, expected):
            return LOWERING
        try:
            written = referenced(compiled, case.inputs)
        except (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, AttributeError):
            return UNKNOWN  # what the reference raises for operators that it lacks
        return KERNEL if self.agree("the file, by ONNX's reference", written, expected) else LEGALIZE

    def agree(self, what: str, arrays: list[np.ndarray], expected: list[torch.Tensor]) -> bool:
        """Whether arrays are what PyTorch computes; kept as a trial."""
        actual = [torch.from_numpy(np.array(each)) for each in arrays]
        quantized = rounds_to_steps(self.compiled.program, self.compiled.graph)
        self.trials.done.append(Trial(what, compare(actual, expected, quantized=quantized, **self.tolerances)))
        return self.trials.done[-1].ok

    def case(self, place: Location | None, **options: Any) -> Case | None:
        """The smallest part of the model around a place that is wrong by itself."""
        names = place.node.split("+") if place else []
        for case in cases(self.compiled.program, self.leaves, names):
            try:
                compiled = compile(case.module, case.inputs, **{**self.options, **_FIXED, **options})
                is_well = compiled.verify(*case.inputs, **self.tolerances).ok
            except Error:
                is_well = False
            if not is_well:
                return case
        return None

    def found(self, subject: Any) -> Found | None:
        """All values beside each other; None where the runtime does not come that far."""
        try:
            return locate(subject, self.leaves, self.tolerances)
        except Error:
            return None

    def verdict(
        self, culprit: str, name: str = "", place: Location | None = None,
        found: Found | None = None, case: Case | None = None,
    ) -> Verdict:  # fmt: skip
        """The verdict, with all that was tried."""
        place = place or (found.first.location if found and found.first else None)
        return Verdict(culprit, name, place, tuple(self.trials.done), found, case)


_LOWERED = "the lowering, by ONNX's reference"

# a part of the model is compiled at the sizes of the run, under names of its own
_FIXED = {"dynamic_shapes": None, "input_names": None, "output_names": None, "dump": None, "verify": False}


def runtime_level(number: int) -> dict[str, Any]:
    """The option of a session for how far the runtime rewrites the graph."""
    import onnxruntime

    level = onnxruntime.GraphOptimizationLevel
    names = (level.ORT_DISABLE_ALL, level.ORT_ENABLE_BASIC, level.ORT_ENABLE_EXTENDED)
    return {"graph_optimization_level": names[number]}


def _place(found: Found | None, error: Error | None) -> Location | None:
    """Where values begin to differ, or where the runtime stops."""
    if found is not None and found.first is not None:
        first = found.first
        return replace(first.location, node=first.made_for)
    return next(iter(error.locations), None) if error is not None else None


def evaluated(graph: Graph, inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    """What a graph of ours gives, node by node, by numpy and ONNX's reference. Raises CannotEvaluate."""
    values: dict[Any, np.ndarray] = dict(zip(graph.inputs, (each.numpy() for each in inputs), strict=True))
    values |= {each: np.asarray(each.data.array()) for each in graph.constants() if each.data is not None}
    for node in graph.nodes:
        if node.subgraphs:
            raise CannotEvaluate(f"{node.op} has graphs of its own")
        given = [None if value is None else values[value] for value in node.inputs]
        values |= dict(zip(node.outputs, evaluate_node(node, given), strict=False))
    return [values[each] for each in graph.outputs]


def referenced(compiled: Compiled, inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    """What the file gives by ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    model = inline_model(compiled.emitted)
    feeds = {value.name: each.numpy() for value, each in zip(model.graph.input, inputs, strict=True)}
    return [np.asarray(each) for each in ReferenceEvaluator(model).run(None, feeds)]
