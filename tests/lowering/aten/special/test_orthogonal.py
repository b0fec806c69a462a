"""Orthogonal polynomials of degrees that are numbers, tensors, negative, fractional and large."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.lowering.support import check

NAMES = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
)  # fmt: skip
FAMILIES: dict[str, Any] = {name: getattr(torch.special, name) for name in NAMES}
X = torch.tensor([-2.0, -1.0, -0.6, -0.0, 0.0, 0.3, 1.0, 1.7], dtype=torch.float64)


@pytest.mark.parametrize("name", FAMILIES)
def test_degrees_that_are_known(name: str) -> None:
    for degree in (-1, 0, 1, 2, 5, 9, 40):
        check(lambda x, n=degree: FAMILIES[name](x, n), X, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_degrees_that_are_not(name: str) -> None:
    degrees = torch.tensor([-1.0, 0.0, 1.0, 2.7, 6.0, 12.0], dtype=torch.float64)[:, None]
    check(FAMILIES[name], X, degrees, rtol=1e-9, atol=1e-9)
    check(lambda n: FAMILIES[name](0.4, n), degrees.float(), rtol=1e-4, atol=1e-4)


def test_hermite_polynomials_beyond_the_limit() -> None:
    check(torch.special.hermite_polynomial_he, torch.tensor([0.5]), torch.tensor([129.0]))
