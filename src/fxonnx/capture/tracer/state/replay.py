"""Two calls of a model on one tape: whether the second does what the first did.

What forward leaves in Python (a counter, a cache, a flag) is there at the next call, and not in a file. A cache that
holds what would be computed again makes no difference; a counter does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fxonnx.capture.call.tree import Tree
from fxonnx.capture.equivalence.same_graph import same_tensor
from fxonnx.capture.graph.functional_form import is_mutable
from fxonnx.capture.tracer.record import Tape

_SMALL = 10_000  # elements; a larger constant is compared by identity alone


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the nodes of its results, the structure around them, and the nodes that write in place."""

    results: Any
    tree: Tree
    writes: list[fx.Node]

    @staticmethod
    def of(tape: Tape, flat: Any, fakes: Sequence[Any]) -> Call:
        """The model, called now."""
        before = set(tape.graph.nodes)
        results = [tape.operand(tape.read(each)) for each in flat(*fakes)]
        fresh = [node for node in tape.graph.nodes if node not in before]
        return Call(results, flat.returned.tree, [node for node in fresh if is_mutable(node.target)])

    def is_like(self, other: Call, tape: Tape) -> bool:
        """Whether both compute the same, and write the same to the same."""
        number = _Numbers(tape)
        return (
            self.tree == other.tree
            and number.of(self.results) == number.of(other.results)
            and sorted(map(number.of, self.writes)) == sorted(map(number.of, other.writes))
        )


class _Numbers:
    """A number for each node of a tape, the same one for all that compute the same."""

    def __init__(self, tape: Tape) -> None:
        self._numbers: dict[fx.Node, str] = {}
        self._constants: list[tuple[torch.Tensor, str]] = []
        known: dict[str, str] = {}
        for node in tape.graph.nodes:
            weight = tape.weights.get(node)
            if weight is not None:
                self._numbers[node] = self._constant(weight.tensor)
            elif node.op == "placeholder":
                self._numbers[node] = f"%{node.name}"
            else:
                said = f"{node.target}({self.of(node.args)}, {self.of(node.kwargs)})"
                self._numbers[node] = known.setdefault(said, f"%{len(known)}")

    def _constant(self, tensor: torch.Tensor) -> str:
        """Constants of the model's code are made anew by each call."""
        for known, number in self._constants:
            if tensor is known or (tensor.numel() < _SMALL and same_tensor(tensor, known)):
                return number
        self._constants.append((tensor, f"#{len(self._constants)}"))
        return self._constants[-1][1]

    def of(self, operand: Any) -> str:
        """An argument, with numbers in place of nodes."""
        return str(fx.map_arg(operand, lambda node: self._numbers[node]))
