"""Numbers that come from data, between iterations and out of loops: as tensors of rank 0, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fxonnx.capture.tracer.loops.measures.measured import put
from fxonnx.capture.tracer.loops.periods import NotRolled
from fxonnx.capture.tracer.record import Tape
from fxonnx.capture.tracer.sizes.bool_node import BoolNode
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import Node
from fxonnx.capture.tracer.sizes.nodes import FloatNode, dim_of, sym_size
from fxonnx.ir.dims import Dim

aten = torch.ops.aten
_COMPARED = {
    "==": aten.eq.Scalar, "!=": aten.ne.Scalar, "<": aten.lt.Scalar, "<=": aten.le.Scalar, ">": aten.gt.Scalar,
    ">=": aten.ge.Scalar,
}  # fmt: skip
_COMPARED_TENSORS = {
    "==": aten.eq.Tensor, "!=": aten.ne.Tensor, "<": aten.lt.Tensor, "<=": aten.le.Tensor, ">": aten.gt.Tensor,
    ">=": aten.ge.Tensor,
}  # fmt: skip


def tensor_of(tape: Tape, number: int | torch.SymInt) -> Any:
    """A number, in int64."""
    return tape.call(aten.full.default, ([], number), {"dtype": torch.int64})


def _real(tape: Tape, number: Node) -> Any:
    """A float or a size, in float64, in which Python computes."""
    value = torch.SymFloat(number) if isinstance(number, FloatNode) else torch.SymInt(number)
    return tape.call(aten.full.default, ([], value), {"dtype": torch.float64})


def truth_of(tape: Tape, condition: Any) -> Any:
    """What is asked of sizes and numbers, in bool."""
    if isinstance(condition, bool):
        return tape.call(aten.full.default, ([], condition), {"dtype": torch.bool})
    match condition.tree:
        case ("and", left, right):
            return tape.call(aten.logical_and.default, (truth_of(tape, left), truth_of(tape, right)), {})
        case ("or", left, right):
            return tape.call(aten.logical_or.default, (truth_of(tape, left), truth_of(tape, right)), {})
        case ("not", BoolNode() as part):
            return tape.call(aten.logical_not.default, (truth_of(tape, part),), {})
        case (relation, Node() as left, Node() as right) if relation in _COMPARED:
            return tape.call(_COMPARED_TENSORS[relation], (_real(tape, left), _real(tape, right)), {})
        case (relation, left, right) if relation in _COMPARED:
            difference = tensor_of(tape, sym_size(left - right, tape.cache.guard_log))
            return tape.call(_COMPARED[relation], (difference, 0), {})
    return None


def truth(tape: Tape, condition: Any) -> Any:
    """What a loop asks, of a tensor of one element or of numbers, as a bool of rank 0. Raises NotRolled."""
    is_truth = isinstance(condition, (bool, torch.SymBool))
    condition = getattr(condition, "node", condition) if is_truth else condition
    found = truth_of(tape, condition) if is_truth else tape.call(aten.all.default, (condition,), {})
    if found is None:
        raise NotRolled("a loop asks in each turn what no tensor says")
    return found


def sized(dim: Dim, measures: Sequence[Any], log: GuardLog) -> Dim:
    """A dim in which these measures stand."""
    return log.data.simplified(put(dim, list(map(dim_of, measures))))


def natural(number: Any, log: GuardLog) -> Any:
    """A number that is known to be 0 or more."""
    log.learn(">=", dim_of(number), 0)
    return sym_size(log.data.simplified(dim_of(number)), log)


@dataclass(slots=True, eq=False)
class Numbers:
    """Those that are read in one body, each once."""

    tape: Tape
    _read: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # id of a tensor -> itself, and its number

    def of(self, tensor: Any, *, is_natural: bool = False) -> Any:
        """The number in a tensor, which may be known to be 0 or more."""
        if id(tensor) not in self._read:
            number = self.tape.call(aten.item.default, (tensor,), {})
            self._read[id(tensor)] = tensor, natural(number, self.tape.cache.guard_log) if is_natural else number
        return self._read[id(tensor)][1]

    def is_natural(self, tensor: Any) -> bool:
        """Whether that is known of a number that was read."""
        dim = dim_of(self.of(tensor))
        return self.tape.cache.guard_log.statically_known(">=", dim, 0) is True
