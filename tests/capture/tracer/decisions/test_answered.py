"""Questions about sizes from data that answers before have settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.capture.tracer.paths import walk


def kept_for_later(x: Tensor) -> Tensor:
    chosen = x > 0
    kept: Any = []
    if len(x[chosen]) > 0:
        kept = x[chosen]
    if len(x[chosen]) > 0:  # a list has no max
        return x - kept.max()
    return x - 1


def two_selections(x: Tensor) -> Tensor:
    """Pairs of a batch, as losses on pairs mine them."""
    near, far = torch.where(x.abs() < 1)[0], torch.where(x.abs() > 1)[0]
    if all(len(each) <= 1 for each in (near, far)):
        return x.sum() * 0
    one: Any = []
    other: Any = []
    if len(near) > 0:
        one = x[near]
    if len(far) > 0:
        other = x[far]
    if len(near) > 0 and len(far) > 0:
        return one.sum() * 2 + other.sum()
    return x.sum()


def otherwise_said(x: Tensor) -> Tensor:
    """Each later question is another one, which the first has answered."""
    count, best = len(x[x > 0]), None
    if count > 2:
        best = x[x > 0].max()
    if count >= 3:
        x = x - best
    if not count < 3:
        x = x * best
    if count == 0 and best is not None:
        x = x.nothing()
    return x


def nothing_left(x: Tensor) -> Tensor:
    count, best = x[x > 0].shape[0], None
    if count != 0:
        best = x[x > 0].max()
    if count > 0:
        x = x - best
    if count < 1:
        x = x + 1
    return x


def against_a_size(x: Tensor) -> Tensor:
    count, rest = len(x[x > 0]), None
    if count < x.shape[0]:
        rest = x[x <= 0].sum()
    if x.shape[0] - count > 0:
        x = x - rest
    return x


def in_a_loop(x: Tensor) -> Tensor:
    """Every second turn asks what the first has: what is known is another thing in each way to one state."""
    count, more = len(x[x > 1]), len(x[x > 0])
    y = x
    for number in (count, more, count):
        y = y * 2 if number > 2 else y * 3
        if y.sum() > 0:
            return y
    return y


def known_in_one_way(x: Tensor) -> Tensor:
    """Two ways to one state, of which one has asked."""
    count = len(x[x > 0])
    if x.sum() > 1:
        x = x * 2 if count > 2 else x * 3
    if x.mean() > 0.5:
        return x
    return x + 1 if count > 2 else x - 1


CALLS = [torch.randn(rows, generator=torch.Generator().manual_seed(rows)) + shift
         for rows in (4, 1, 2, 7) for shift in (-3, -1, -0.3, 0, 0.3, 1, 3)]  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [kept_for_later, two_selections, otherwise_said, nothing_left, against_a_size, in_a_loop, known_in_one_way],
    ids=lambda model: model.__name__,
)
@pytest.mark.parametrize("dynamic", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
def test_what_was_answered_holds(model: Callable[[Tensor], Tensor], dynamic: Any) -> None:
    compiled = fxonnx.compile(model, (torch.randn(4),), dynamic_shapes=dynamic)
    for x in CALLS:
        if dynamic is not None or len(x) == 4:
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_ways_that_no_call_takes_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    recorded = walk.record

    def record(run: Any) -> Any:
        made.append(run)
        return recorded(run)

    monkeypatch.setattr(walk, "record", record)
    fxonnx.compile(otherwise_said, (torch.randn(4),))
    assert len(made) <= 3


def test_questions_of_a_long_loop_need_no_end() -> None:
    def model(x: Tensor) -> Tensor:
        count = len(x[x > 0])
        for _ in range(30):
            x = torch.tanh(x) if count > 1 else x * 0.9
        return x

    compiled = fxonnx.compile(model, (torch.randn(4),))
    for x in CALLS[:7]:
        torch.testing.assert_close(compiled(x), model(x))
