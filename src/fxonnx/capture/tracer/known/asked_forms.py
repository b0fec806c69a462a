"""How known elements come about that Python asks for, place by place. Iterations of a loop that ask for elements of one
form ask for the same ones:

    if self.flag[0] == 1: …                                    one form
    if self.table[t] == 0: …    steps = steps + 1; if steps > self.warmup: …       one in each iteration
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from fxonnx.capture.graph.views import storage
from fxonnx.location import Location


@dataclass(slots=True, eq=False)
class AskedForms:
    """The forms that were asked for at each place of the code; `writes` tells how often a memory was written to."""

    writes: Callable[[int], int]
    places: dict[Location, set[int]] = field(default_factory=dict)
    _forms: dict[fx.Node, int] = field(default_factory=dict)

    def note(self, node: fx.Node, place: Location) -> None:
        """Python asks for the elements of a node. Linear time in what was not asked for before."""
        memories = (each.meta["val"] for each in (node, *node.all_input_nodes))
        written = tuple(self.writes(storage(each)) for each in memories if isinstance(each, torch.Tensor))
        self.places.setdefault(place, set()).add(hash((self._form(node), written)))

    def _form(self, node: fx.Node) -> int:
        pending = [node]
        while pending:
            each = pending[-1]
            missing = [part for part in each.all_input_nodes if part not in self._forms]
            pending += missing
            if not missing:
                self._forms[pending.pop()] = self._of_call(each)
        return self._forms[node]

    def _of_call(self, node: fx.Node) -> int:
        """That of one call of what has forms; a weight is like any other, and a size is its number in this run."""
        if isinstance(value := node.meta.get("val"), (torch.SymInt, torch.SymFloat)):
            return hash(value.node.hint)
        if node.op != "call_function":
            return 0
        return hash((node.target, *map(self._part, pytree.tree_leaves((node.args, node.kwargs)))))

    def _part(self, part: Any) -> Any:
        if isinstance(part, fx.Node):
            return self._forms[part]
        if isinstance(part, (torch.SymInt, torch.SymFloat)):
            return part.node.hint
        return part if getattr(part, "__hash__", None) is not None else repr(part)


def asked_differently(runs: list[AskedForms]) -> Iterator[Location]:
    """The places at which a run with more iterations asks for more forms."""
    for place in dict.fromkeys(place for each in runs for place in each.places):
        if len({len(each.places.get(place, ())) for each in runs}) > 1:
            yield place


__all__ = ["AskedForms", "asked_differently"]
