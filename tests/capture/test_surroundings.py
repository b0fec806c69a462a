"""Losses of two dtypes have the dtype that eager gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.capture.interpret import run
from torch import Tensor

from fxonnx.capture import capture

LOSSES: dict[str, Callable[..., Tensor]] = {
    "huber": F.huber_loss,
    "huber, weighted": lambda x, y, **options: F.huber_loss(x, y, weight=x.abs(), **options),
    "huber, of a float32 weight": lambda x, y, **options: F.huber_loss(x, y, weight=x.float(), **options),
    "soft margin": lambda x, y, **options: F.soft_margin_loss(x, y.sign(), **options),
    "smooth l1": F.smooth_l1_loss,
    "squares": F.mse_loss,
    "distances": F.l1_loss,
    "divergence": lambda x, y, **options: F.kl_div(x, y.abs(), **options),
    "poisson": F.poisson_nll_loss,
    "hinge": lambda x, y, **options: F.hinge_embedding_loss(x, y.sign(), **options),
    "logits": lambda x, y, **options: F.binary_cross_entropy_with_logits(x, y.sigmoid(), **options),
    "ranking": lambda x, y, **options: F.margin_ranking_loss(x, y, y.sign(), **options),
}
HALF, SINGLE, DOUBLE, BRAIN = torch.float16, torch.float32, torch.float64, torch.bfloat16


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_two_dtypes(name: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(3, 4), torch.randn(3, 4)
    for one, other in ((HALF, SINGLE), (SINGLE, HALF), (HALF, DOUBLE), (BRAIN, HALF), (HALF, HALF)):
        given = x.to(one), y.to(other)

        def model(x: Tensor, y: Tensor) -> Any:
            return [LOSSES[name](x, y, reduction=each) for each in ("none", "mean", "sum")]

        found = run(capture(model, given), given)[0]
        for each, expected in zip(found, model(*given), strict=True):
            torch.testing.assert_close(each, expected, rtol=2e-2, atol=2e-2)
