"""Ops in another form, where something is known or asked of their sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx.errors import CheckFailed


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = x[x > 0].chunk(2)
    return first * 2, second


def thirds(x: Tensor) -> Tensor:
    return torch.stack([part.sum() for part in x[x > 0].chunk(3)])


def rows(x: Tensor) -> Tensor:
    return torch.cat([part + number for number, part in enumerate(torch.chunk(x[x > 0][:, None], 4, dim=0))])


@pytest.mark.parametrize(("model", "count"), [(halves, 2), (thirds, 3), (rows, 4)])
def test_as_many_chunks_of_what_data_select_or_a_check(model: Callable[[Tensor], object], count: int) -> None:
    compiled = fxonnx.compile(model, (torch.arange(-2.0, 9.0),))
    for selected in range(12):
        x = torch.where(torch.arange(11) < selected, torch.arange(1.0, 12.0), -1.0)
        if len(x[x > 0].chunk(count)) == count:
            torch.testing.assert_close(compiled(x), model(x))
        else:
            with pytest.raises(CheckFailed, match=rf"chunk\({count}\) makes fewer parts"):
                compiled(x)


def test_chunks_of_what_cannot_be_enough_are_refused() -> None:
    def model(x: Tensor) -> Tensor:
        kept = torch.nonzero(x.sum(), as_tuple=True)[0]
        torch._check(kept.shape[0] >= 1)
        return kept.chunk(3)[0]

    with pytest.raises(fxonnx.errors.CaptureRefused, match="makes fewer parts"):
        fxonnx.compile(model, (torch.ones(3),))
