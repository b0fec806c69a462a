"""Incomplete gamma functions on both sides of x = a + 1, and at the edges."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check

A = torch.tensor([1e-3, 0.5, 1.0, 3.0, 20.0, 300.0], dtype=torch.float64)
EDGES = torch.tensor([0.0, 2.0, torch.inf, -1.0, torch.nan], dtype=torch.float64)
FUNCTIONS = [torch.special.gammainc, torch.special.gammaincc]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function(function) -> None:
    x = A[:, None] * torch.tensor([0.1, 0.8, 1.0, 1.2, 4.0], dtype=torch.float64)
    check(function, A[:, None], x, rtol=1e-9, atol=1e-12)
    check(function, A[:, None].float(), x.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_edges(function) -> None:
    check(function, EDGES[:, None], EDGES)
    check(function, torch.tensor(2.0), torch.ones(0))
