"""Masks as long as the longest of some lengths, beside tensors of that length: that both agree is checked at each
call, and known from there on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors


def mask(lengths: Tensor) -> Tensor:
    """Where padding is: [n] -> [n, longest]."""
    longest = int(lengths.max())
    return torch.arange(longest).expand(lengths.shape[0], longest) >= lengths[:, None]


def checked(x: Tensor, lengths: Tensor) -> Tensor:
    padding = mask(lengths)
    if padding.shape[1] != x.shape[1]:
        raise ValueError("lengths")
    return x * padding[:, :, None]


USES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "viewed": lambda x, n: mask(n).view(x.shape[0], 1, 1, x.shape[1]) | (x[:, None, :, :1] > 0),
    "filled": lambda x, n: x.masked_fill(mask(n)[:, :, None], 0),
    "chosen": lambda x, n: torch.where(mask(n)[:, :, None], x, 0.0),
    "expanded": lambda x, n: mask(n)[:, :, None].expand(x.shape) * x,
    "cut": lambda x, n: x[:, : int(n.max())] * mask(n)[:, :, None],
    "checked": checked,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_lengths_of_masks_agree(use: Callable[[Tensor, Tensor], Tensor]) -> None:
    def example(batch: int, steps: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch, steps, 6), torch.tensor([steps, *[max(steps - 2, 1)] * (batch - 1)])

    dims = ({0: "batch", 1: "steps"}, {0: "batch"})
    compiled = fxonnx.compile(use, example(2, 8), dynamic_shapes=dims)
    for sizes in ((2, 8), (3, 5), (1, 4), (1, 1)):
        given = example(*sizes)
        torch.testing.assert_close(compiled(*given), use(*given))


def test_lengths_that_do_not_agree_are_refused() -> None:
    dims = ({0: "batch", 1: "steps"}, {0: "batch"})
    compiled = fxonnx.compile(USES["filled"], (torch.randn(2, 8, 6), torch.tensor([8, 3])), dynamic_shapes=dims)
    with pytest.raises(errors.Error):
        compiled(torch.randn(2, 8, 6), torch.tensor([5, 3]))
