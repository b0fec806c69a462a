"""Numbers from data that Python goes on with: each that they may be is a way of its own."""

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.errors import CheckFailed, DataDependentControlFlow


class Heads(nn.Module):
    """The head of a task, by its number."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(count))

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        return self.heads[task.item()](x)


class Shallow(Heads):
    """As many layers as are asked for, of those that there are."""

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        for at in range(min(int(task), len(self.heads))):
            x = x + self.heads[at](x).sum(1, keepdim=True)
        return x


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_layer_of_a_list_is_taken_by_its_number(count):
    model = Heads(count).eval()
    compiled = fxonnx.compile(model, (torch.randn(3, 4), torch.tensor(0)), dynamic_shapes=[{0: "b"}, None])
    for number in (*range(count), 0):
        call = torch.randn(number + 1, 4), torch.tensor(number)
        torch.testing.assert_close(compiled(*call), model(*call))
    with pytest.raises(CheckFailed, match="out of range"):
        compiled(torch.randn(3, 4), torch.tensor(count))
    with pytest.raises(CheckFailed, match="negative"):
        compiled(torch.randn(3, 4), torch.tensor(-1))


def test_as_many_layers_as_are_asked_for():
    model = Shallow(4).eval()
    compiled = fxonnx.compile(model, (torch.randn(3, 4), torch.tensor(2)), dynamic_shapes=[{0: "b"}, None])
    for number in (0, 1, 4, 7):
        call = torch.randn(number + 1, 4), torch.tensor(number)
        torch.testing.assert_close(compiled(*call), model(*call))


def test_a_number_that_may_be_any_is_refused():
    class Text(nn.Module):
        def forward(self, x: Tensor, number: Tensor) -> Tensor:
            return x * {1: 2.0}.get(int(number), 3.0)

    with pytest.raises(DataDependentControlFlow):
        fxonnx.compile(Text(), (torch.randn(3), torch.tensor(1)))
