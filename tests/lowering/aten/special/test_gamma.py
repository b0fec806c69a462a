"""Hurwitz's zeta function and the polygamma functions, against torch."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from tests.lowering.values import special

POINTS = torch.cat([special(), torch.linspace(-11.9, 30.05, 101), torch.tensor([100.0, 1000.0])])
INSIDE = POINTS[(POINTS > 0) | (POINTS.floor() != POINTS)]  # at the poles of trigamma torch rounds its way to a number


@pytest.mark.parametrize("order", range(6))
def test_polygamma(order: int) -> None:
    rtol = 1e-4 if order == 1 else 4e-6  # torch's own trigamma is computed in single precision
    check(lambda x: torch.polygamma(order, x), INSIDE if order == 1 else POINTS, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("order", range(1, 4))
def test_polygamma_of_infinities(order: int) -> None:
    check(lambda x: torch.polygamma(order, x), torch.tensor([float("inf"), -float("inf"), float("nan")]))


def test_zeta() -> None:
    powers = torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.5, 20.0, float("nan"), float("inf")])
    check(torch.special.zeta, powers[:, None], POINTS, rtol=4e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64], ids=str)
def test_other_dtypes(dtype: torch.dtype) -> None:
    x = torch.arange(1, 12).to(dtype)
    check(lambda x: [torch.polygamma(2, x), torch.special.zeta(x + 1, x)], x)


def test_other_sizes() -> None:
    sizes = {"x": {0: "n"}, "y": {0: "m"}}
    again = torch.tensor([[4.0]]), torch.tensor([0.5, 1.5])
    first = torch.tensor([[2.0], [3.0]]), torch.tensor([1.0, 2.0, 30.0])
    check(lambda x, y: torch.special.zeta(x, y), *first, dynamic=sizes, again=again)
