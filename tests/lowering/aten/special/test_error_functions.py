"""Error functions and quantiles to the last digits of double, in the tails too."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from tests.lowering.values import special

FUNCTIONS = {
    "erfc": torch.erfc,
    "erfcx": torch.special.erfcx,
    "erfinv": torch.erfinv,
    "ndtri": torch.special.ndtri,
    "log_ndtr": torch.special.log_ndtr,
}
TAILS = torch.tensor([1e-300, 1e-30, 1e-5, 0.02425, 0.25, 1 - 2**-53, 1 - 1e-9, -0.99999, 20.0, 26.0]).double()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    x = torch.cat([torch.linspace(-6, 6, 121, dtype=torch.float64), torch.linspace(-1, 1, 41).double(), TAILS])
    check(FUNCTIONS[name], torch.cat([x, special().double()]), rtol=1e-12, atol=0)
    check(FUNCTIONS[name], torch.cat([x.float(), special()]), rtol=4e-6, atol=1e-7)
