"""Values on which pointwise functions are compared."""

from __future__ import annotations

import torch

NAN, INFINITY = float("nan"), float("inf")

# Signs of zeros, infinities, NaN, halves, and numbers whose sums with 1 lose them.
SPECIAL = (
    NAN,
    INFINITY,
    -INFINITY,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    -2.5,
    3.0,
    7.0,
    -7.0,
    1e-10,
    -1e-10,
    20.0,
    -20.0,
)

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int8, torch.uint8)


def special(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """SPECIAL as a vector."""
    return torch.tensor(SPECIAL, dtype=dtype)


def special_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Every number of SPECIAL beside every other."""
    first, second = torch.meshgrid(special(), special(), indexing="ij")
    return first.reshape(-1), second.reshape(-1)


def integer_pairs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers of either sign, and divisors that are not 0."""
    first, second = torch.meshgrid(torch.arange(-7, 8, 2), torch.tensor([-3, -1, 1, 2, 5]), indexing="ij")
    return first.reshape(-1).to(dtype), second.reshape(-1).to(dtype)


def normal(dtype: torch.dtype, *size: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers of deviation 3; for integers rounded, for bool their signs."""
    drawn = torch.randn(size or (3, 4), generator=torch.Generator().manual_seed(seed)) * 3
    return drawn > 0 if dtype is torch.bool else drawn.to(dtype)
