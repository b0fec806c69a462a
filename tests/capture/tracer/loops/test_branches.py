"""Branches that the iterations of a loop call."""

from __future__ import annotations

import torch
from torch import Tensor

import fxonnx


def test_branches_in_a_loop_are_given_sizes() -> None:
    """A size is an operand of theirs."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        h = x[0]
        for t in range(x.shape[0]):
            h = torch.cond(h.sum() > 0, lambda h, y: h * 0.5 + len(y), lambda h, y: h - y.sum() * len(y), (h + x[t], y))
        return h

    compiled = fxonnx.compile(model, (torch.randn(4, 3), torch.randn(5)), dynamic_shapes={"x": {0: "t"}, "y": {0: "n"}})
    for length, size in [(4, 5), (7, 3), (2, 2), (1, 4), (9, 1)]:
        inputs = torch.randn(length, 3), torch.randn(size)
        torch.testing.assert_close(compiled(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)
