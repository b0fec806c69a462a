"""What is asked of tensors that count along their axes is answered for every size; of others it is a decision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fxonnx

SIZES = ((2, 9), (3, 5), (1, 1), (4, 1), (1, 6), (7, 23), (2, 3))


def packed(positions: Tensor) -> bool:
    """Whether sequences are packed into rows: whether a position does not follow the one before it."""
    steps = torch.diff(positions, prepend=positions[:, :1] - 1, dim=-1)
    return not bool(((steps != 1).cumsum(-1)[:, -1] == 0).all())


def count(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1])


def rows(x: Tensor) -> Tensor:
    return torch.arange(x.shape[0])[:, None] * 4


SETTLED: dict[str, Callable[[Tensor], bool]] = {
    "positions": lambda x: packed(torch.arange(x.shape[1])[None].expand(x.shape[0], -1)),
    "positions from elsewhere": lambda x: packed(torch.arange(x.shape[0], x.shape[0] + x.shape[1]).unsqueeze(0)),
    "a step": lambda x: bool((torch.diff(torch.arange(1, 3 * x.shape[1] + 1, 3)) == 3).all()),
    "neighbours": lambda x: bool((count(x)[1:] - count(x)[:-1] != 1).any()),
    "a grid": lambda x: bool((rows(x) + torch.arange(4) != torch.arange(4) + rows(x).clone()).any()),
    "transposed": lambda x: bool((count(x)[None].t()[:, 0] == count(x)).all()),
    "joined": lambda x: bool((torch.cat([count(x), count(x) + x.shape[1]]) != torch.arange(2 * x.shape[1])).any()),
    "full": lambda x: bool((torch.ones(x.shape[1], dtype=torch.long).cumsum(0) == count(x) + 1).all()),
    "truths": lambda x: bool(torch.full((x.shape[1],), True).logical_not().any()),
}
"""What holds for every size"""

OPEN: dict[str, Callable[[Tensor], bool]] = {
    "up to a number": lambda x: bool((count(x) < 8).all()),
    "any of what may be none": lambda x: bool((count(x)[5:] == count(x)[5:]).any()),
    "all of what may be none": lambda x: bool((count(x)[5:] != count(x)[5:]).all()),
    "another step": lambda x: bool((count(x) == torch.arange(0, 2 * x.shape[1], 2)).all()),
    "joined out of turn": lambda x: packed(torch.cat([count(x), torch.arange(x.shape[0])])[None]),
    "written": lambda x: packed(count(x).index_fill_(0, torch.tensor(0), x.shape[1])[None]),
    "written in place": lambda x: bool((count(x).mul_(x[0, 0].long()) == count(x)).all()),
    "a small type": lambda x: bool((count(x) * 2 == torch.arange(x.shape[1], dtype=torch.uint8) * 2).all()),
}
"""What does not, or is not seen to"""


def compiled(truth: Callable[[Tensor], bool]) -> tuple[Callable[[Tensor], Tensor], fxonnx.Compiled]:
    def forward(x: Tensor) -> Tensor:
        return x * 2 if truth(x) else x + 1

    return forward, fxonnx.compile(forward, (torch.rand(2, 9),), dynamic_shapes={"x": {0: "b", 1: "n"}})


@pytest.mark.parametrize("name", SETTLED)
def test_what_holds_for_every_size_is_known(name: str) -> None:
    forward, model = compiled(SETTLED[name])
    assert [node.op_type for node in model.model_proto().graph.node] in (["Mul"], ["Add"])
    for size in SIZES:
        x = torch.rand(size)
        torch.testing.assert_close(model(x), forward(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", OPEN)
def test_what_does_not_is_asked_at_each_call(name: str) -> None:
    forward, model = compiled(OPEN[name])
    for size in SIZES:
        for x in (torch.rand(size), torch.ones(size)):
            torch.testing.assert_close(model(x), forward(x), rtol=0, atol=0)


class Positions(nn.Module):
    """Positions that are a buffer, or what it is given."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        return x - 1 if packed(self.table[:, : x.shape[1]]) else x * 3


@pytest.mark.parametrize("table", [torch.arange(32)[None], torch.arange(32)[None] // 2], ids=["ramp", "steps"])
def test_a_table_of_positions(table: Tensor) -> None:
    forward = Positions(table)
    model = fxonnx.compile(forward, (torch.rand(2, 9),), dynamic_shapes={"x": {0: "b", 1: "n"}})
    for size in SIZES:
        x = torch.rand(size)
        torch.testing.assert_close(model(x), forward(x), rtol=0, atol=0)
