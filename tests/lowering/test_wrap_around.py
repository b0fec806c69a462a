"""Integers wrap around as torch's do, in every dtype, whatever dtype a kernel of the runtime computes in."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from torch import Tensor

DTYPES = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]

FUNCTIONS = {
    "sum": lambda x: (x.sum(), x.view(2, 6).sum(1), x.view(2, 6).sum(0, dtype=x.dtype)),
    "prod": lambda x: (x[3:].prod(), x.view(3, 4).prod(1), x[3:].prod(dtype=x.dtype)),
    "cumulative": lambda x: (x.cumsum(0), x.cumsum(0, dtype=x.dtype)),
    "powers": lambda x: (3 ** x.clamp(0, 100), (-3) ** x.clamp(0, 100), 2 ** x.clamp(0, 100)),
    "powers of each other": lambda x: x ** x.flip(0).abs().clamp(0, 90),
    "matrices": lambda x: (x.view(3, 4) @ x.view(4, 3), x.view(3, 4) @ x[:4], torch.dot(x, x)),
    "linear": lambda x: torch.nn.functional.linear(x.view(3, 4), x.view(3, 4)),
    "squares": lambda x: (x[:, None] - x[None]).pow(2).sum(-1),
    "divisors": lambda x: torch.gcd(x, x.flip(0)),
    "multiples": lambda x: torch.lcm(x.clamp(1, 20), x.flip(0).clamp(1, 20)),
    "shifts": lambda x: (x << 3, x << x.flip(0), x >> x.flip(0), x >> 70),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_extremes(function, dtype):
    check(function, extremes(dtype))


def extremes(dtype: torch.dtype) -> Tensor:
    """The least and the greatest numbers, and small ones."""
    least, greatest = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    return torch.tensor(
        [least, greatest, 0, 1, 2, 7, greatest // 2 + 1, greatest // 3, greatest - 1, least + 1, 40, 100], dtype=dtype
    )
