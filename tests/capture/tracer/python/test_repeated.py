"""Lists repeated as often as a size says: right at every size, whatever the model does with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fxonnx

FIRST = ["at primes"]


def in_place(x: Tensor) -> Tensor:
    rows = [x[0]]
    rows *= x.shape[0]
    rows.append(x[0] * 3)
    rows += [x[0] * 4]
    return torch.stack(rows)


def written(x: Tensor) -> Tensor:
    """The list is made for as many rows as there are, and each row put in its place."""
    rows = [torch.zeros(4)] * x.shape[0]
    for at in range(x.shape[0]):
        rows[at] = x[at] * 2
    return torch.stack(rows)


WITHOUT_ASKING = {
    "numbers": lambda x: torch.tensor([0] * x.shape[0]),
    "from the left": lambda x: torch.tensor(x.shape[0] * [0.5, True]),
    "truths": lambda x: torch.tensor([True] * x.shape[0]),
    "numbers after numbers": lambda x: torch.tensor([1] * x.shape[0] + [0.5]),
    "numbers before them": lambda x: torch.tensor([[3, 4]] * 2 + [[1, 2]] * x.shape[0]),
    "sizes": lambda x: torch.arange(4) < torch.tensor([x.shape[1] - 2] * x.shape[0])[:, None],
    "in each other": lambda x: torch.tensor([[1.0] * x.shape[1]] * x.shape[0]),
    "twice": lambda x: torch.tensor(2 * ([1.0, 2.0] * x.shape[0])),
    "fewer than none": lambda x: torch.tensor([1.0] * (x.shape[0] - 3)).sum(),
    "a dtype": lambda x: torch.as_tensor([3] * x.shape[0], dtype=torch.float64),
    "by type": lambda x: torch.LongTensor([3] * x.shape[0]),
    "like another": lambda x: x.new_tensor([3] * x.shape[0]),
    "for numpy": lambda x: torch.from_numpy(np.array([[1.0, 2.0]] * x.shape[0])),
    "for numpy, whole": lambda x: torch.from_numpy(np.asarray([3] * x.shape[0])),
    "stacked": lambda x: torch.stack([x.sum(0), x[0]] * x.shape[0], dim=-1),
    "joined": lambda x: torch.cat([x[:1]] * x.shape[0] + [x], 0),
    "joined by name": lambda x: torch.cat(tensors=[x[:1]] * x.shape[0], axis=1),
    "length": lambda x: x * len([0, 1] * x.shape[0]),
    "whether there are any": lambda x: x if [0] * x.shape[0] else -x,
    "changed": in_place,
    "returned": lambda x: ([x.shape[0]] * 3, x + 1),
}
ASKING = {
    "written": written,
    "zipped": lambda x: torch.stack([row * factor for row, factor in zip(x, [2.0] * x.shape[0], strict=True)]),
    "parts": lambda x: torch.cat([row * 2 for row in x.split([1] * x.shape[0])]),
    "summed": lambda x: x * sum([2] * x.shape[0]),
    "sizes": lambda x: x.reshape(*[1] * x.dim(), -1),
}


class Model(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor):
        return self.function(x)


def compare(function, dims, sizes):
    model = Model(function)
    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes={"x": dims})
    for size in sizes:
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), model(x))
    return list(compiled.program.attempts)


@pytest.mark.parametrize("name", WITHOUT_ASKING)
def test_not_asked_how_many(name):
    assert compare(WITHOUT_ASKING[name], {0: "n"}, [(3, 4), (1, 4), (7, 4), (2, 4)]) == FIRST


def test_two_sizes():
    assert compare(WITHOUT_ASKING["in each other"], {0: "n", 1: "m"}, [(3, 4), (1, 1), (2, 9)]) == FIRST


@pytest.mark.parametrize("name", ASKING)
def test_asked_for_elements(name):
    compare(ASKING[name], {0: "n"}, [(3, 4), (1, 4), (7, 4)])


def test_as_many_as_data_says():
    compare(lambda x: torch.tensor([2.0] * int((x > 0).sum())).sum() + x, {0: "n"}, [(3, 4), (1, 4), (7, 4)])
