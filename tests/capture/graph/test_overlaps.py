"""Writes whose source lies in the memory that they write to."""

from __future__ import annotations

from collections.abc import Callable

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
