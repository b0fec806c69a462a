"""Calls beyond what the loops of a program are rolled up for."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors


def slowed_down(x: Tensor) -> Tensor:
    h, t = x.new_zeros(x.shape[0]), 0
    while t < x.shape[1]:
        h = h + x[:, t]
        if t // 700 > 0:
            h = h / 2
        t += 1
    return h


def test_calls_of_many_more_steps_are_refused_at_once():
    compiled = fxonnx.compile(slowed_down, (torch.rand(2, 20),), dynamic_shapes={"x": {1: "t"}})
    x = torch.rand(2, 700)
    torch.testing.assert_close(compiled(x), slowed_down(x))
    start = time.perf_counter()
    with pytest.raises(errors.CallMismatch) as raised:
        compiled(torch.rand(2, 701))
    assert time.perf_counter() - start < 1
    assert "captured for t <= 700" in str(raised.value)
    assert "compile it for these" in raised.value.cure


def test_the_cure_for_calls_of_many_more_steps_works():
    x = torch.rand(2, 701)
    torch.testing.assert_close(fxonnx.compile(slowed_down, (x,))(x), slowed_down(x))


ENTRIES = {2: 0.5, 3: 0.7, 5: 0.2, 12: 0.1}


def rows(x: Tensor) -> list[Tensor]:
    return [x[at] + 1 for at in range(x.shape[0])]


def counted(x: Tensor) -> Tensor:
    found = []
    for at in range(x.shape[0]):
        found.append(x.shape[0] - 1 - at)  # noqa: PERF401
    return x[found] * (2 if len(found) == 4 else 1)


BY_WHAT_A_LOOP_LEFT = {
    "as many rows": lambda x: torch.stack(rows(x)) * (2 if torch.stack(rows(x)).shape[0] == 4 else 1),
    "as many columns": lambda x: (y := torch.stack(rows(x), 1)) * (2 if y.shape[-1] < 6 else 1),
    "as many of one row": lambda x: (y := torch.cat([each[None] for each in rows(x)])) * (2 if y.shape[0] == 3 else 1),
    "the greater one": lambda x: (y := torch.stack(rows(x))) * max(y.shape[0], 6),
    "numbers of iterations": counted,
    "numbers in a range": lambda x: x[(found := list(range(x.shape[0])))] * (2 if len(found) == 4 else 1),
    "an entry": lambda x: torch.stack(rows(x)) * ENTRIES.get(x.shape[0], 1.0),
    "an entry by the size of what is left": lambda x: (y := torch.stack(rows(x))) * ENTRIES.get(y.shape[0], 1.0),
}


@pytest.mark.parametrize("model", BY_WHAT_A_LOOP_LEFT.values(), ids=BY_WHAT_A_LOOP_LEFT)
def test_what_is_decided_by_the_size_of_what_a_loop_left(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(9, 3),), dynamic_shapes=({0: "n"},))
    for length in (9, 4, 3, 2, 1, 5, 12, 20):
        x = torch.randn(length, 3)
        torch.testing.assert_close(compiled(x), model(x))


def test_rows_beside_a_tensor_of_nothing() -> None:
    def model(x: Tensor) -> Tensor:
        total = x[0] * 0
        for at in range(x.shape[0]):
            total = 0.5 * total + torch.cat([torch.tensor([]), x[at, None, :, None]], -2)[0, :, 0]
        return total

    compiled = fxonnx.compile(model, (torch.randn(9, 3),), dynamic_shapes=({0: "n"},))
    for length in (9, 1, 4, 12):
        x = torch.randn(length, 3)
        torch.testing.assert_close(compiled(x), model(x))


def test_an_example_that_decides_otherwise_is_refused() -> None:
    with pytest.raises(errors.FrozenDimension, match="n - 4 != 0"):
        fxonnx.compile(BY_WHAT_A_LOOP_LEFT["as many rows"], (torch.randn(4, 3),), dynamic_shapes=({0: "n"},))


class Kept(torch.nn.Module):
    """Positions by the number of rows, kept from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] not in self.positions:
            self.positions[x.shape[0]] = torch.arange(x.shape[0]).float()[:, None]
        x, h = x + self.positions[x.shape[0]], x[0] * 0
        for at in range(x.shape[0]):
            h = torch.tanh(x[at] + 0.5 * h)
        return h


@pytest.mark.parametrize("earlier", [None, 4, 5, 9])
def test_what_an_earlier_call_has_kept_by_a_size(earlier: int | None) -> None:
    model = Kept()
    if earlier:
        model(torch.randn(earlier, 3))
    compiled = fxonnx.compile(model, (torch.randn(5, 3),), dynamic_shapes=({0: "n"},))
    for length in (5, 9, 4, 1, 12):
        x = torch.randn(length, 3)
        torch.testing.assert_close(compiled(x), Kept()(x))


def test_what_torch_counts_is_no_key() -> None:
    """Its fake tensors know how many nested tensors there have been in the process."""
    for _ in range(3):
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    model = Kept()
    model(torch.randn(5, 3))
    fxonnx.compile(model, (torch.randn(5, 3),), dynamic_shapes=({0: "n"},))
