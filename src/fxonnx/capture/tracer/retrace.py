"""One op's decomposition, recorded on the fake tensors of a trace: what make_fx is to a graph of torch.export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fxonnx.capture.assumption import OPPOSITE, Assumption, Guard
from fxonnx.capture.constraints import classify, pinned_error, special_error
from fxonnx.capture.program import Retraced
from fxonnx.capture.tracer.functions import Refusals
from fxonnx.capture.tracer.record import Recorder, Tape
from fxonnx.capture.tracer.results.cache import FakeCache
from fxonnx.capture.tracer.sizes.fx_nodes import SizeNodes
from fxonnx.capture.tracer.sizes.guards import GuardLog, Specialized
from fxonnx.capture.tracer.sizes.nodes import FloatNode, IntNode
from fxonnx.capture.tracer.torch_private import FakeTensorMode, enable_python_dispatcher
from fxonnx.errors import CaptureRefused, raise_all
from fxonnx.location import Location


@dataclass(frozen=True, slots=True, eq=False)
class Retrace:
    """Records functions of the fake values in a Program's `meta["val"]`.

    `hints` are the sizes that the run had, `example` those of the example.
    """

    mode: FakeTensorMode
    guard_log: GuardLog
    hints: Mapping[str, int]
    example: Mapping[str, int]

    def __call__(self, body: Callable[..., Any], values: Sequence[Any], whole: bool, location: Location) -> Retraced:
        """The graph of `body(*values)`, with a placeholder for each value, and what it assumes about sizes; composite
        calls are kept `whole` or not.

        Raises FrozenDimension where it holds for one size only, or for others than the example's.
        """
        self.guard_log.locate = lambda: location  # the model's own lines are behind us
        tape = Tape(FakeCache(self.mode, self.guard_log), _no_weights, {}, dict, Refusals(self.guard_log.locate))
        tape.sizes = _Readable(tape.graph, self.guard_log)
        for index, value in enumerate(values):
            tape.input(f"value_{index}", value)
        with self.guard_log.nested() as guards:
            try:
                with torch.no_grad(), enable_python_dispatcher(), self.mode, Recorder(tape, whole=whole):
                    result = body(*values)
            except Specialized as error:
                raise error.specialization.error({}) from error
        try:
            tape.graph.output(tape.operand(tape.read(result)))
        except CaptureRefused as error:
            raise NotImplementedError("a decomposition whose result no call returned") from error
        return tape.graph, self._assumptions(guards.values())

    def _assumptions(self, guards: Iterable[Guard]) -> Sequence[Assumption]:
        constraints = classify(guards, self.hints)
        raise_all([pinned_error(each, {}) for each in constraints.equalities])
        odd = [
            each
            for each in constraints.assumptions
            if each.symbols <= self.example.keys() and not each.holds(self.example, undefined=True)
        ]
        raise_all([special_error(replace(each, relation=OPPOSITE[each.relation]), {}) for each in odd])
        return constraints.assumptions


class _Readable(SizeNodes):
    """Sizes as nodes where the arguments' shapes tell them; as they are where not (half of n says nothing of n)."""

    def __call__(self, size: torch.SymInt) -> Any:
        """The node of a size, a constant, or the size itself."""
        try:
            return super().__call__(size)
        except CaptureRefused:
            return size

    def real(self, number: FloatNode | IntNode) -> Any:
        """The node of a float; of the sizes in it, those that no shape tells are as they are."""
        return self(torch.SymInt(number)) if isinstance(number, IntNode) else super().real(number)


def _no_weights(tensor: torch.Tensor) -> Any:
    raise NotImplementedError("a decomposition that makes a constant tensor")
