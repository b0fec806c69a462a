"""Inverse trigonometric and hyperbolic functions of complex tensors."""

import pytest
import torch
from tests.lowering.support import check

torch.manual_seed(0)
NAMES = ["asin", "acos", "atan", "asinh", "acosh", "atanh"]
PLACES = {
    "of usual size": torch.randn(50, dtype=torch.complex64) * 3,
    "near 0": torch.randn(20, dtype=torch.complex64) * 1e-4,
    "near 1": 1 + torch.randn(20, dtype=torch.complex64) * 1e-3,
    "large": torch.randn(20, dtype=torch.complex64) * 1e12,
    "on the axes": torch.tensor([0.5, 2.0, 0.5j, 2j, -0.5, -2.0, -3j, 0.0]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_functions(name, place):
    check(getattr(torch, name), PLACES[place], rtol=2e-6, atol=1e-7)
