"""Writes whose source lies in the memory that they write to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.capture import capture
from fxonnx.errors import CaptureRefused


def test_masked_scatter_of_itself_is_refused() -> None:
    """It reads what it has written, in the order of a loop."""

    def model(x: Tensor) -> Tensor:
        y = x * 1
        return y.masked_scatter_(y > 0, y.flip(0)[:] if x.dim() > 2 else y)

    with pytest.raises(CaptureRefused, match="masked_scatter_") as refused:
        fxonnx.compile(model, (torch.randn(5),))
    assert refused.value.locations[0].file == __file__


READ_LATE: dict[str, Callable[[Tensor], object]] = {
    "the row before": lambda y: y[1:].copy_(y[:-1]),
    "its transpose": lambda y: y.add_(y.t()),
    "the row that crosses a column": lambda y: y[:, 1].mul_(y[0]),
    "a row beside the diagonal": lambda y: y.diagonal(1).copy_(y[0, :-1]),
    "a result": lambda y: torch.mul(y[:, :1], 2, out=y),
}
READ_IN_TIME: dict[str, Callable[[Tensor], object]] = {
    "itself": lambda y: y.add_(y),
    "other rows": lambda y: y[::2].copy_(y[1::2]),
    "a column that it crosses in its place": lambda y: y[:, 0].mul_(y[0]),
    "a clone": lambda y: y[1:].copy_(y[:-1].clone()),
}


@pytest.mark.parametrize("dims", [None, {"x": {0: "n", 1: "n"}}], ids=str)
@pytest.mark.parametrize("write", READ_LATE.values(), ids=READ_LATE)
def test_what_is_read_after_it_is_written_is_refused(write: Callable[[Tensor], object], dims: Any) -> None:
    def model(x: Tensor) -> Tensor:
        y = x.clone()
        write(y)
        return y

    with pytest.raises(CaptureRefused, match=r"it has written(?s:.)*clone\(\)"):
        fxonnx.compile(model, (torch.randn(6, 6),), dynamic_shapes=dims)


@pytest.mark.parametrize("write", READ_IN_TIME.values(), ids=READ_IN_TIME)
def test_what_is_read_before_it_is_written_is_not(write: Callable[[Tensor], object]) -> None:
    def model(x: Tensor) -> Tensor:
        y = x.clone()
        write(y)
        return y

    compiled = fxonnx.compile(model, (torch.randn(6, 6),), dynamic_shapes={"x": {0: "2*n", 1: "2*n"}})
    for size in (6, 4, 10):
        x = torch.randn(size, size)
        torch.testing.assert_close(compiled(x), model(x))


def test_of_a_clone_it_is_not() -> None:
    def model(x: Tensor) -> Tensor:
        y = x * 1
        return y.masked_scatter_(y > 0, y.clone())

    x = torch.randn(5, 3)
    torch.testing.assert_close(fxonnx.compile(model, (x,))(x), model(x))


@pytest.mark.parametrize("looked_at", [lambda x: x.expand(2, 3), lambda x: x[0]])
def test_out_that_is_resized_under_a_view_is_refused(looked_at: Callable[[Tensor], Tensor]) -> None:
    """What torch leaves there hangs on the order in which its kernel reads and writes."""

    def model(x: Tensor) -> Tensor:
        place = x + 0
        view = looked_at(place)
        return torch.add(torch.ones(2, 3), view, out=place) + view

    with pytest.raises(CaptureRefused, match="another size"):
        capture(model, torch.ones(1, 3))
