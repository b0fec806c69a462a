"""A graph run one way or another, and what comes out beside PyTorch's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from fxonnx.capture import Program
from fxonnx.emit.onnx import Emitted, emit
from fxonnx.errors import Error
from fxonnx.ir.graph import Graph
from fxonnx.passes.legalize import LEGALIZE
from fxonnx.runtime.configuration import Configuration
from fxonnx.runtime.others import open_session
from fxonnx.runtime.shapes import as_real
from fxonnx.target import Target
from fxonnx.verification.compare import Comparison, compare
from fxonnx.verification.eager import eager_values
from fxonnx.verification.steps import rounds_to_steps


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run the model: what it is, and how it compares with PyTorch, or how it fails."""

    what: str
    comparison: Comparison | None
    failure: Error | None = None

    @property
    def ok(self) -> bool:
        """Whether it runs, and agrees."""
        return self.comparison is not None and self.comparison.ok

    def __str__(self) -> str:
        if self.failure is not None:
            return f"✗ {self.what}: {self.failure.what}"
        wrong = [each for each in (self.comparison.outputs if self.comparison else ()) if not each.ok]
        return f"✗ {self.what}: {wrong[0]}".replace(": ✗", ":") if wrong else f"✓ {self.what}"


@dataclass(slots=True)
class Trials:
    """Runs of graphs of one program on the same inputs, and what they found, in order."""

    program: Program
    leaves: Sequence[torch.Tensor]
    target: Target
    tolerances: Mapping[str, Any]
    configuration: Configuration
    expected: list[torch.Tensor] = field(init=False)
    done: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expected = [as_real(each) for each in captured_results(self.program, self.leaves)]

    def legal(self, graph: Graph) -> Graph:
        """A graph in the words of the target."""
        *_, last = LEGALIZE.stages(graph, self.target)
        return last.graph

    def run(self, what: str, graph: Graph, **session_options: Any) -> Trial:
        """Run a graph that is legal, and compare."""
        try:
            results = self.results(emit(graph), graph, session_options)
            quantized = rounds_to_steps(self.program, graph)
            trial = Trial(what, compare(results, self.expected, quantized=quantized, **self.tolerances))
        except Error as error:
            trial = Trial(what, None, error)
        self.done.append(trial)
        return trial

    def results(self, emitted: Emitted, graph: Graph, session_options: Mapping[str, Any]) -> list[torch.Tensor]:
        """What a session gives for the inputs. Raises RuntimeFailed."""
        options = {**self.configuration.session_options, **session_options}
        session = open_session(self.target, emitted, graph, replace(self.configuration, session_options=options))
        states = [state.tensor for state in self.program.states]
        return session.run([*map(as_real, self.leaves), *states])[: len(self.expected)]


def captured_results(program: Program, leaves: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors that the captured graph computes for the caller, by PyTorch."""
    wanted = [leaf for leaf in program.results if leaf is not None]
    known: dict[Any, Any] = {each.node: leaf for each, leaf in zip(program.inputs, leaves, strict=True)}
    known |= {node: weight.tensor for node, weight in program.weights.items()}
    known |= {state.node: state.tensor for state in program.states}
    known |= {node: value for node, value in eager_values(program, leaves) if node in wanted}
    found = [known[leaf] if isinstance(leaf, fx.Node) else leaf for leaf in wanted]
    return [each if isinstance(each, torch.Tensor) else torch.tensor(each) for each in found]
