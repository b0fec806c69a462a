"""Loops that ask in each iteration for elements that are known: the same ones, or such as hang on the iteration."""

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.errors import FrozenDimension


class Loop(nn.Module):
    """A recurrence over axis 1, in which a rule says when to start anew."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(3, 3)
        self.limit = nn.Buffer(torch.tensor(40))
        self.flag = nn.Buffer(torch.tensor([1.0, 0.0, 1.0]))
        self.table = nn.Buffer(torch.ones(1000).index_fill(0, torch.tensor([33]), 0.0))
        self.late = nn.Buffer(torch.tensor([31, 37]))

    def forward(self, x: Tensor) -> Tensor:
        h, count = x[:, 0], torch.zeros(())
        for t in range(x.shape[1]):
            h = torch.tanh(self.cell(h)) + x[:, t]
            count = count + 1
            if self.begins_anew(t, count):
                h = h * 0.5
        return h

    def begins_anew(self, t: int, count: Tensor) -> bool:
        raise NotImplementedError


class ByALimit(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return bool(t == self.limit)


class ByATable(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return self.table[t].item() == 0


class ByPlaces(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return bool((self.late == t).any())


class ByACounter(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return bool(count >= 20 * 2)


class ByACounterInPlace(Loop):
    def forward(self, x: Tensor) -> Tensor:
        h, count = x[:, 0], torch.zeros(2)
        for t in range(x.shape[1]):
            h = torch.tanh(self.cell(h)) + x[:, t]
            count[1] += 1
            if count[1] > self.limit:
                h = h * 0.5
        return h


class ByAFlag(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return bool(self.flag[0] == 1)


class ByAllFlags(Loop):
    def begins_anew(self, t: int, count: Tensor) -> bool:
        return any(float(self.flag[at] * 2) == 1 for at in range(3))


@pytest.mark.parametrize("kind", [ByALimit, ByATable, ByPlaces, ByACounter, ByACounterInPlace])
def test_what_hangs_on_the_iteration_may_be_another_later(kind: type[Loop]) -> None:
    with pytest.raises(FrozenDimension, match="asks for other elements"):
        fxonnx.compile(kind().eval(), (torch.randn(2, 9, 3),), dynamic_shapes={"x": {1: "t"}})


@pytest.mark.parametrize("kind", [ByAFlag, ByAllFlags])
def test_what_does_not_is_the_same_in_all(kind: type[Loop]) -> None:
    model = kind().eval()
    compiled = fxonnx.compile(model, (torch.randn(2, 9, 3),), dynamic_shapes={"x": {1: "t"}})
    for length in (1, 2, 9, 50):
        x = torch.randn(2, length, 3)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
