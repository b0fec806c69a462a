"""Dropout and random slopes: shapes, dtypes and statistics of 4,000 draws, as in `test_random`; nothing in eval."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check_draws, compiled_for_draws

import fxonnx

LIKE = torch.linspace(0.1, 0.9, 4000).reshape(40, 100)

DRAWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "dropout": lambda x: F.dropout(x, 0.3, training=True),
    "dropout-all": lambda x: F.dropout(x, 1.0, training=True),
    "dropout2d": lambda x: F.dropout2d(x.reshape(100, 40, 1, 1), 0.3, training=True),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "feature_alpha_dropout": lambda x: F.feature_alpha_dropout(x.reshape(100, 40, 1), 0.3, training=True),
    "rrelu": lambda x: F.rrelu(-x, training=True),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_torch_s_distribution(name: str) -> None:
    check_draws(DRAWS[name], LIKE)


def test_every_run_draws_anew() -> None:
    run = compiled_for_draws(DRAWS["dropout"], LIKE)
    assert not torch.equal(run(LIKE), run(LIKE))


def test_dropout_is_nothing_outside_training() -> None:
    run = fxonnx.compile(
        torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.AlphaDropout(0.5), torch.nn.Dropout1d(0.5)), (LIKE,)
    )
    assert torch.equal(run(LIKE), LIKE)


@pytest.mark.parametrize("opset", [13, 21, None])
def test_dropout_between_operators_stays(opset: int | None) -> None:
    x = torch.ones(40, 100)
    found = fxonnx.compile(lambda x: F.dropout(x.exp(), 0.5, training=True) @ x.T, (x,), opset=opset)(x)
    assert found.std() > 10 and abs(found.mean() - 100 * torch.e) < 50


def test_slopes_of_gradients() -> None:
    def slopes(x: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda x: F.rrelu(x, training=True).sum())(x)

    found = compiled_for_draws(slopes, -LIKE)(-LIKE)
    assert 1 / 8 <= found.min() < 0.15 and 0.3 < found.max() <= 1 / 3
    positive = fxonnx.compile(lambda x: torch.func.grad(lambda x: F.rrelu(x).sum())(x), (LIKE - 0.5,))(LIKE - 0.5)
    torch.testing.assert_close(positive, torch.where(LIKE > 0.5, 1.0, (1 / 8 + 1 / 3) / 2))
