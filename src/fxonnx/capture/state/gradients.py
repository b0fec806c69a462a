"""What autograd leaves in `.grad` of the weights, where a model calls backward() itself.

    loss.backward()        weight.grad: None  ──▶  a tensor of the run, to which the next call would add
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(slots=True, eq=False)
class Gradients:
    """The gradients that the weights of a run had before it; and whether the model asks for any `of_weights`."""

    of_weights: bool = False
    _before: list[tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=list)

    def note(self, weight: torch.Tensor) -> None:
        """Keep what a weight has now, if autograd may change it."""
        if weight.requires_grad and weight.is_leaf:
            self._before.append((weight, weight.grad))

    def put_back(self) -> list[torch.Tensor]:
        """Give the weights what they had; what they have instead."""
        left = []
        for weight, before in self._before:
            if weight.grad is not before:
                left += [weight.grad] if weight.grad is not None else []
                weight.grad = before
        return left
