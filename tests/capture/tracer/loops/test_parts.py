"""Parts of what a loop has made, of which Python says where they begin and end: half of it, as many pieces. And of what
data selects beside a loop, of none and of one row too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.errors import FrozenDimension

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


Part = Callable[[Tensor, Tensor], Any]


def of_groups(part: Part) -> Callable[[Tensor], Any]:
    """What is made of the rows that are kept, and of the numbers of the images that they come from."""

    def forward(x: Tensor) -> Any:
        groups = torch.cat([torch.full((x.shape[1],), at, dtype=torch.int64) for at in range(x.shape[0])])
        rows = x.flatten(0, 1)
        kept = rows > 0
        return part(rows[kept], groups[kept])

    return forward


SELECTED: dict[str, Part] = {
    "where the next is another": lambda rows, groups: groups[1:] != groups[:-1],
    "the rest": lambda rows, groups: (groups[2:], rows[:-2], rows[1:-1]),
    "the first of each": lambda rows, groups: rows[
        torch.cat((torch.ones(1, dtype=torch.bool), groups[1:] != groups[:-1]))[: groups.shape[0]]
    ],
    "differences": lambda rows, groups: (rows.diff(), groups.diff(n=2)),
}


@pytest.mark.parametrize("name", SELECTED)
def test_parts_of_what_is_selected(name: str) -> None:
    model = of_groups(SELECTED[name])
    compiled = fxonnx.compile(model, (torch.randn(2, 5),), dynamic_shapes=({0: "b", 1: "n"},))
    one, none = torch.full((4, 1), -1.0).index_fill(0, torch.tensor([1]), 1.0), torch.full((3, 5), -1.0)
    for x in (torch.randn(2, 5), torch.randn(7, 3), torch.randn(1, 4), torch.randn(40, 2), one, none):
        torch.testing.assert_close(compiled(x), model(x))


def test_what_both_ways_leave_alike_is_not_checked() -> None:
    """One row beside several: broadcast, but for the case of one. Refused while it is compiled, not at each call."""
    with pytest.raises(FrozenDimension):
        model = of_groups(lambda rows, groups: (rows - rows[-1:]) * groups)
        fxonnx.compile(model, (torch.randn(2, 5),), dynamic_shapes=({0: "b"},))


def by_lookup(x: torch.Tensor) -> torch.Tensor:
    rows = x[x[:, 0] > 0]
    for row in x:
        row.abs()
    return rows * {5: 2.0}.get(x.shape[0], 3.0)


def by_text(x: torch.Tensor) -> torch.Tensor:
    rows = x[x[:, 0] > 0]
    return rows * (2.0 if "".join("a" for _ in x) == "aaaaa" else 3.0)


@pytest.mark.parametrize("model", [by_lookup, by_text])
def test_a_size_is_still_looked_up_where_nothing_is_made_of_a_loop(model: Callable[..., torch.Tensor]) -> None:
    """Calls that are the same at all lengths tried say nothing of a length that was not."""
    with pytest.raises(FrozenDimension):
        fxonnx.compile(model, (torch.randn(7, 3),), dynamic_shapes=({0: "n"},))
