"""Parts of what a loop has made, of which Python says where they begin and end: half of it, as many pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fxonnx

PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "half": lambda y: y[: y.shape[0] // 2],
    "the rest": lambda y: y[len(y) // 2 :],
    "in the middle": lambda y: y[y.shape[0] // 2],
    "from a quarter to three": lambda y: y[y.shape[0] // 4 : 3 * y.shape[0] // 4],
    "a float's": lambda y: y[: int(y.shape[0] * 0.5)],
    "in pairs": lambda y: y[: len(y) // 2 * 2].view(-1, 2, 3).sum(1),
    "the last piece": lambda y: y.split(2)[-1],
    "two pieces": lambda y: y.tensor_split(2)[0],
    "of three pieces": lambda y: y.tensor_split(3)[1],
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_what_a_loop_makes(name: str) -> None:
    def model(x: Tensor) -> Tensor:
        h, made = torch.zeros(3), []
        for t in range(x.shape[0]):
            h = torch.tanh(h * 0.5 + x[t])
            made.append(h)
        return PARTS[name](torch.stack(made))

    compiled = fxonnx.compile(model, torch.randn(4, 3), dynamic_shapes={"x": {0: "n"}})
    for size in (4, 2, 3, 5, 6, 7, 9, 12, 1):
        x = torch.randn(size, 3)
        torch.testing.assert_close(compiled(x), model(x))
