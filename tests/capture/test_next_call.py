"""What a call of other sizes leaves in Python: the next call is another one, or it does the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture


class Keeping(nn.Module):
    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.table, self.calls = body, None, 0
        self.register_buffer("kept", torch.arange(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def keeps_the_longest(self: Any, x: Tensor) -> Tensor:
    self.calls = max(self.calls, x.shape[0])
    return x * self.calls


def counts_rows(self: Any, x: Tensor) -> Tensor:
    self.calls += x.shape[0]
    return x * self.calls


def grows_a_table(self: Any, x: Tensor) -> Tensor:
    if self.table is None or len(self.table) < x.shape[0]:
        self.table = torch.cos(torch.arange(x.shape[0]).type_as(x))
    return x + self.table[: x.shape[0], None]


def grows_a_table_from_its_end(self: Any, x: Tensor) -> Tensor:
    rows = x.shape[0]
    if self.table is None or self.table.shape[0] < rows:
        self.table = -torch.arange(rows - 1, -1, -1).type_as(x)
    return x + self.table[-rows:, None]


def grows_a_registered_table(self: Any, x: Tensor) -> Tensor:
    if len(self.kept) < x.shape[0]:
        self.register_buffer("kept", torch.arange(x.shape[0]).type_as(x), persistent=False)
    return x + self.kept[: x.shape[0], None]


def grows_a_registered_table_of_its_size(self: Any, x: Tensor) -> Tensor:
    if len(self.kept) < x.shape[0]:
        self.kept = torch.arange(x.shape[0]).type_as(x) / x.shape[0]
    return x + self.kept[: x.shape[0], None]


def keeps_what_it_was_given(self: Any, x: Tensor) -> Tensor:
    found = x + self.kept[:, None] if len(self.kept) == x.shape[0] else x
    self.kept = x[:, 0] * 2
    return found


def grows_another_table(self: Any, x: Tensor) -> Tensor:
    if self.table is None or len(self.table) < x.shape[0]:
        self.table = torch.arange(x.shape[0]).type_as(x) / x.shape[0]
    return x + self.table[: x.shape[0], None]


def remembers_a_long_one(self: Any, x: Tensor) -> Tensor:
    if x.shape[0] > 6:
        self.calls = 1
    return x * (2 if self.calls else 1)


DIMS = {"x": {0: "n"}}


REFUSED = [
    keeps_the_longest, counts_rows, grows_another_table, grows_a_registered_table_of_its_size, keeps_what_it_was_given,
]  # fmt: skip


@pytest.mark.parametrize("body", REFUSED)
def test_what_a_call_of_other_sizes_leaves_is_refused_where_it_matters(body: Any) -> None:
    model = Keeping(body)
    with pytest.raises(errors.Error):
        capture(model, (torch.rand(4, 3),), dynamic_shapes=DIMS)
    assert (model.table, model.calls) == (None, 0)


@pytest.mark.parametrize("first", [None, 2, 4, 7])
@pytest.mark.parametrize("body", [grows_a_table, grows_a_table_from_its_end, grows_a_registered_table])
def test_a_table_that_is_the_same_whoever_made_it_is_captured(body: Any, first: int | None) -> None:
    model, eager = Keeping(body), Keeping(body)
    if first:
        model(torch.rand(first, 3))
    compiled = fxonnx.compile(model, (torch.rand(4, 3),), dynamic_shapes=DIMS)
    for rows in (4, 9, 3, 1):
        x = torch.rand(rows, 3)
        torch.testing.assert_close(compiled(x), eager(x))


def test_a_way_of_larger_sizes_that_changes_the_others_is_refused_at_the_call() -> None:
    model = Keeping(remembers_a_long_one)
    compiled, x = fxonnx.compile(model, (torch.rand(4, 3),), dynamic_shapes=DIMS), torch.rand(3, 3)
    with pytest.raises(errors.CallMismatch):
        compiled(torch.rand(8, 3))
    torch.testing.assert_close(compiled(x), x)
