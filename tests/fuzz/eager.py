"""What PyTorch leaves when it runs a program: results, arguments and the module's tensors, after each of two calls."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from tests.fuzz.program import Program, Sizes
from tests.fuzz.rounding import RUNS, Rounding, scatter
from torch import Tensor
from torch.utils import _pytree as pytree

CALLS = 2
# By name: "result 0", "x.after", "w0.after".
Leaves = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A program at some sizes; `make` makes its module, always the same."""

    program: Program
    make: Callable[[], torch.nn.Module]
    sizes: Sizes

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """New arguments, always the same."""
        return self.program.makes(self.sizes)

    @cached_property
    def left(self) -> list[Leaves]:
        """What each call leaves; nothing where PyTorch raises."""
        try:
            return self._run()
        except Exception:  # noqa: BLE001 - whatever it raises
            return []

    @cached_property
    def spread(self) -> list[Leaves]:
        """By how much each element of that scatters with rounding errors."""
        runs = [self.left]
        for seed in range(RUNS):
            with Rounding(seed):
                runs.append(self._run())
        return [{name: scatter([each[name] for each in call]) for name in call[0]} for call in zip(*runs, strict=True)]

    def _run(self) -> list[Leaves]:
        model, arguments = self.make(), self.arguments
        shapes, found = [each.shape for each in arguments], list[Leaves]()
        while len(found) < CALLS and [each.shape for each in arguments] == shapes:  # another shape is another call
            found.append(leaves(self.program, model, model(*arguments), arguments))
        return found


def leaves(program: Program, model: torch.nn.Module, result: Any, arguments: Sequence[Tensor]) -> Leaves:
    """All that a call leaves, as it is now."""
    found = {f"result {index}": leaf for index, leaf in enumerate(pytree.tree_leaves(result))}
    found |= {f"{spec.name}.after": each for spec, each in zip(program.inputs, arguments, strict=True)}
    found |= {f"{name}.after": each for name, each in model.state_dict().items()}
    return copy.deepcopy(found)
