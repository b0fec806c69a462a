"""What is another on other ways, and shows in no variable: elements that are known, memory that tensors share, modes of
torch. Behind a decision Python goes by that of the way that was taken."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

import fxonnx


def counted(x: Tensor) -> Tensor:
    """A counter that is compared when it has gone up often enough."""
    count, y = torch.zeros(()), x.sum(1)
    for row in x:
        if row.sum() > 0:
            count = count + 1
        if count == 3:
            y = y * 3
        y = y + 1
    return y + count


def counted_in_place(x: Tensor) -> Tensor:
    count, y = torch.zeros(2, dtype=torch.long), x.sum(1)
    for row in x:
        if row.sum() > 0:
            count[1] += 1
        if count[1] == 3:
            y = y * 3
        y = y + 1
    return y


def asked_on_one_way(x: Tensor) -> Tensor:
    """Where both runs that come to one state go on, nothing is asked."""
    factor, y = torch.tensor([1.0, 2.0]), x.sum(1)
    if x[0].sum() > 0:
        factor = factor.flip(0)
    y = y + 1 if x[1].sum() > 0 else y * float(factor[0])
    if x[2].sum() > 0:
        y = y - 5
    return y


def of_sizes(x: Tensor) -> Tensor:
    rest, y = torch.tensor(x.shape[1]), x.sum(1)
    if x[0].sum() > 0:
        rest = rest - 1
    y = y + 1 if x[1].sum() > 0 else y * int(rest)
    if x[2].sum() > 0:
        y = y - 5
    return y


def a_flag(x: Tensor) -> Tensor:
    flag, y = torch.tensor(False), x.sum(1)
    if x[0].sum() > 0:
        flag = ~flag
    if x[1].sum() > 0:
        y = y + 1
    elif x[2].sum() > 0:
        y = y * 2 if flag else y * 4
    if x[3].sum() > 0:
        y = y - 5
    return y


def shared_memory(x: Tensor) -> tuple[Tensor, ...]:
    kept, y = x * 1, x.sum(1)
    flat = kept.view(-1) if x[0].sum() > 0 else kept.clone().view(-1)
    if x[1].sum() > 0:
        y = y + 1
    else:
        flat.add_(1)
    if x[2].sum() > 0:
        y = y - 5
    return y, kept


def default_dtype(x: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64 if x[0].sum() > 0 else torch.float32)
    y = x.sum(1)
    y = y + 1 if x[1].sum() > 0 else y + torch.zeros(1).dtype.itemsize
    if x[2].sum() > 0:
        y = y - 5
    torch.set_default_dtype(torch.float32)
    return y


MODELS = [counted, counted_in_place, asked_on_one_way, of_sizes, a_flag, shared_memory, default_dtype]


@pytest.mark.parametrize("model", MODELS)
def test_each_way_asks_for_its_own(model: Callable[[Tensor], object]) -> None:
    compiled = fxonnx.compile(model, (torch.ones(4, 3),), dynamic_shapes={"x": {1: "n"}})
    for signs in product([1.0, -1.0], repeat=4):
        x = torch.tensor(signs)[:, None] * torch.ones(4, 5)
        torch.testing.assert_close(compiled(x), model(x))
