"""Functions with formulas of their own, against torch, at their poles and where plain formulas lose every digit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.lowering.eager import eager
from tests.lowering.support import check
from tests.lowering.values import normal, special, special_pairs

from fxonnx.lowering.aten.math import special as lowering

UNARY = {
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "exp2": torch.exp2,
    "log2": torch.log2,
    "log10": torch.log10,
    "entr": torch.special.entr,
    "logit": torch.logit,
    "logit-eps": lambda x: torch.logit(x, 1e-3),
    "sinc": torch.sinc,
    "lgamma": torch.lgamma,
    "digamma": torch.digamma,
}

BINARY = {
    "logaddexp": torch.logaddexp,
    "logaddexp2": torch.logaddexp2,
    "xlogy": torch.xlogy,
    "xlog1py": torch.special.xlog1py,
    "hypot": torch.hypot,
    "atan2": torch.atan2,
}

IN_DOUBLE = ["expm1", "log1p", "exp2", "log2", "log10", "entr", "logit", "sinc", "lgamma", "digamma"]


@pytest.mark.parametrize("name", UNARY)
def test_function(name: str) -> None:
    around = torch.linspace(-12, 12, 97)
    inside = torch.linspace(-1, 1, 41)
    check(
        UNARY[name],
        torch.cat([special(), around, inside, torch.tensor([1e-30, 1e30, 100.0, 0.99999, -30.5])]),
        rtol=4e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize("name", BINARY)
def test_function_of_two(name: str) -> None:
    check(BINARY[name], *special_pairs())
    check(BINARY[name], normal(torch.float32, 5, 1), normal(torch.float32, 4, seed=1))


@pytest.mark.parametrize("reduce", [torch.sum, torch.mean])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_sum_of_negative_zeros_points_forward(reduce: Callable[..., torch.Tensor], dtype: torch.dtype) -> None:
    def angles(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        along = reduce(a * b, dim=-1)
        away = torch.linalg.cross(a, b).norm(dim=-1)
        kept = reduce(a * b, dim=-1, keepdim=True).expand(-1, 2)[:, 1:].squeeze(1)
        return torch.atan2(away, along), torch.atan2(away, kept), torch.copysign(away + 1, along), torch.signbit(along)

    a = torch.stack([torch.zeros(3), -torch.zeros(3), torch.ones(3), torch.ones(3)]).to(dtype)
    check(angles, a, torch.tensor([[-1.0, -2, -3], [1, 2, 3], [-1, -1, -1], [1, 2, -1]]).to(dtype))


def test_signs_of_zeros_have_angles() -> None:
    zeros = torch.tensor([0.0, -0.0])
    y, x = (item.reshape(-1) for item in torch.meshgrid(zeros, zeros, indexing="ij"))
    compiled = check(torch.atan2, y, x)
    assert torch.equal(compiled(y, x).signbit(), torch.atan2(y, x).signbit())


@pytest.mark.parametrize("name", IN_DOUBLE)
def test_function_in_double(name: str) -> None:
    check(UNARY[name], torch.linspace(-4.3, 4.3, 50, dtype=torch.float64), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64], ids=str)
def test_functions_of_other_dtypes(dtype: torch.dtype) -> None:
    x = normal(torch.float32).abs().add(0.1).to(dtype)
    names = [
        name
        for name in UNARY
        if "logit" not in name
        and name not in ("entr", "erfinv", "ndtri")
        and not (name == "erfcx" and dtype is not torch.int64)
    ]
    names = [name for name in names if dtype is torch.int64 or name not in ("i0", "i0e", "i1", "i1e", "log_ndtr")]
    check(lambda x: [UNARY[name](x) for name in names], x)
    check(lambda x: [BINARY[name](x, x) for name in ("xlogy", "xlog1py", "atan2")], x)


def test_greatest_common_divisors() -> None:
    x, y = (
        item.reshape(-1)
        for item in torch.meshgrid(torch.arange(-12, 13, 3), torch.tensor([-4, 0, 1, 6, 270]), indexing="ij")
    )
    check(lambda x, y: [torch.gcd(x, y), torch.lcm(x, y)], x, y)
    check(lambda x, y: torch.gcd(x, y), torch.tensor([[12], [18]]), torch.tensor([4, 6, 9]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_parts_of_a_number(dtype: torch.dtype) -> None:
    near_powers = torch.tensor([1e-40, 1e-45, -1e38, 8.0, 7.9999995, 0.25, 0.24999999])
    check(torch.frexp, torch.cat([special(), near_powers]).to(dtype))


def test_bodies_run_eagerly() -> None:
    x = np.array([1e-10, -0.5, 3.0], np.float32)
    np.testing.assert_allclose(eager(lowering.log1p, x), np.log1p(x), rtol=1e-6)
    np.testing.assert_allclose(eager(lowering.expm1, x), np.expm1(x), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_next_numbers(dtype: torch.dtype) -> None:
    edges = [0.0, 1.0, -1.0, 2.0, 1e-45, 6e-8, 1e-38, 3e38, 65504.0, 0.1, -7.0, torch.inf, -torch.inf, torch.nan]
    edges += [5e-324, 2.0**-1021, 2.0**-1022, 2.0**-1020, 2.0**-900, 1.5 * 2.0**-950, torch.finfo(torch.float64).max]
    x = torch.tensor(edges).to(dtype)[:, None].expand(-1, len(edges)).contiguous()
    check(torch.nextafter, x, x.T.contiguous(), rtol=0, atol=0)


def test_parts_of_doubles() -> None:
    check(torch.frexp, torch.tensor([0.0, 1.0, -0.75, 1e308, 5e-324, torch.inf, torch.nan], dtype=torch.float64))


@pytest.mark.parametrize("eps", [0, 0.5, 0.7, 1, 2])
def test_logit_between_bounds_that_may_cross(eps):
    x = torch.cat([torch.linspace(-0.5, 1.5, 41), torch.tensor([torch.nan])])
    check(lambda x: torch.logit(x, eps=eps), x)
