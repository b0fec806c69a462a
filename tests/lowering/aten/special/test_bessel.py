"""Bessel and Airy functions beside torch's, over their whole range."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.lowering.support import check
from tests.lowering.values import special

import fxonnx

NAMES = (
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "spherical_bessel_j0", "i0", "i0e", "i1", "i1e",
    "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "airy_ai",
)  # fmt: skip
FUNCTIONS: dict[str, Any] = {name: getattr(torch.special, name) for name in NAMES}
EDGES = torch.tensor([0.0, 1e-12, 1e-300, 2.0, 2.09, -2.09, 5.0, 8.0, -8.0, 50.0, 103.0, 105.0, 500.0, -1e-6])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    x = torch.cat([torch.linspace(-30, 30, 241, dtype=torch.float64), EDGES.double(), special().double()])
    check(FUNCTIONS[name], x, rtol=1e-11, atol=1e-13)
    found = fxonnx.compile(lambda x: FUNCTIONS[name](x), (x.float(),))(x.float())
    torch.testing.assert_close(found, FUNCTIONS[name](x.float().double()).float(), rtol=2e-7, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["i0", "i1e"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool], ids=str)
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    check(FUNCTIONS[name], torch.tensor([0.0, 1.0, 3.0]).to(dtype))


def test_of_no_axes_and_no_elements() -> None:
    check(torch.special.bessel_j1, torch.tensor(0.7))
    check(torch.special.airy_ai, torch.ones(0, 2))
