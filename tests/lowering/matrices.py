"""Matrices to test linear algebra with, and what is compared where torch leaves a choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.lowering.support import check

DTYPES = [torch.float32, torch.float64, torch.complex64]
SQUARE = [(0, 0), (1, 1), (3, 3), (6, 6), (2, 5, 5), (0, 4, 4)]
OBLONG = [*SQUARE, (6, 3), (2, 3, 6), (4, 0)]
DYNAMIC = {0: "b", 1: "n", 2: "n"}


def matrix(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random elements."""
    return torch.randn(shape, dtype=dtype)


def solvable(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Square matrices that are not close to singular ones."""
    return matrix(*shape, dtype=dtype) + 4 * torch.eye(shape[-1], dtype=dtype)


def definite(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Hermitian positive definite matrices."""
    factor = matrix(*shape, dtype=dtype)
    return factor @ factor.mH + torch.eye(shape[-1], dtype=dtype)


def agree(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    """As `check`, but for the rounding of eager's float32."""
    check(function, *args, **{"rtol": 1e-4, "atol": 1e-4} | options)
