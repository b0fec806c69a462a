"""One op's decomposition, recorded on the fake tensors of a trace: what make_fx is to a graph of torch.export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from fxonnx.capture.tracer.answers import Answers
from fxonnx.capture.tracer.decisions import Decisions, Frozen
from fxonnx.capture.tracer.memory import Refusals
from fxonnx.capture.tracer.record import Recorder, Tape
from fxonnx.capture.tracer.size_nodes import SizeNodes
from fxonnx.capture.tracer.torch_private import FakeTensorMode, enable_python_dispatcher
from fxonnx.capture.tracer.verdict import judge, lost, pinned
from fxonnx.errors import CaptureRefused, raise_all
from fxonnx.location import Location


class Retrace:
    """Records functions of the fake values in a Program's `meta["val"]`."""

    def __init__(self, mode: FakeTensorMode, decisions: Decisions, hints: dict[str, int]) -> None:
        self._mode, self._decisions, self._hints = mode, decisions, hints
        decisions.locate = Location  # the model's own lines are behind us

    def __call__(self, body: Callable[..., Any], values: Sequence[Any], whole: bool) -> fx.Graph:
        """The graph of `body(*values)`, with a placeholder for each value; composite calls are kept `whole` or not.

        Raises FrozenDimension where it holds for one size only.
        """
        before = set(self._decisions.taken)
        tape = Tape(Answers(self._mode, self._decisions), _no_weights, {}, dict, Refusals(Location))
        tape.sizes = _Readable(tape.sizes)
        for index, value in enumerate(values):
            tape.input(f"value_{index}", value)
        try:
            with torch.no_grad(), enable_python_dispatcher(), self._mode, Recorder(tape, whole=whole):
                result = body(*values)
        except Frozen as error:
            raise lost(error.loss, {}) from error
        self._refuse_pins(before)
        tape.graph.output(tape.operand(result))
        return tape.graph

    def _refuse_pins(self, before: set[Any]) -> None:
        taken = {key: decision for key, decision in self._decisions.taken.items() if key not in before}
        raise_all([pinned(each, {}) for each in judge(taken.values(), self._hints).pins])


class _Readable:
    """Sizes as nodes where the arguments' shapes tell them; as they are where not (half of n says nothing of n)."""

    def __init__(self, nodes: SizeNodes) -> None:
        self._nodes, self.after = nodes, nodes.after

    def __call__(self, size: torch.SymInt) -> Any:
        """The node of a size, a constant, or the size itself."""
        try:
            return self._nodes(size)
        except CaptureRefused:
            return size


def _no_weights(tensor: torch.Tensor) -> Any:
    raise NotImplementedError("a decomposition that makes a constant tensor")
