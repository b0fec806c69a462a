"""Pointwise mathematics, at NaN, infinities and signed zeros, and in every dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from tests.lowering.values import FLOATS, INTEGERS, integer_pairs, normal, special, special_pairs

from fxonnx.lowering.aten.math import arithmetic

UNARY = [
    "abs",
    "acos",
    "acosh",
    "angle",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "deg2rad",
    "erf",
    "exp",
    "floor",
    "frac",
    "log",
    "nan_to_num",
    "neg",
    "positive",
    "rad2deg",
    "reciprocal",
    "round",
    "rsqrt",
    "sgn",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
]

BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "true_divide",
    "floor_divide",
    "pow",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "copysign",
    "heaviside",
    "ldexp",
]

OF_INTEGERS = [
    "add",
    "sub",
    "mul",
    "div",
    "true_divide",
    "floor_divide",
    "remainder",
    "fmod",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "pow",
]

# What ONNX Runtime has no float64 kernel for.
WITHOUT_DOUBLE = ["acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "erf", "sinh", "tan"]

WITH_NUMBERS = {
    "add-alpha": lambda x: torch.add(x, x, alpha=2),
    "sub-alpha": lambda x: torch.sub(x, 2, alpha=0.5),
    "rsub": lambda x: 1 - x,
    "radd-int": lambda x: 2 + x,
    "rdiv": lambda x: 2 / x,
    "div-floor": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "div-trunc": lambda x: torch.div(x, 0.3, rounding_mode="trunc"),
    "remainder": lambda x: torch.remainder(x, -3),
    "remainder-of-number": lambda x: torch.remainder(5, x),
    "fmod": lambda x: torch.fmod(x, 1.5),
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "root": lambda x: x**0.5,
    "inverse": lambda x: x**-1,
    "inverse-square": lambda x: x**-2,
    "inverse-root": lambda x: x**-0.5,
    "to-1": lambda x: x**1,
    "to-0": lambda x: x**0,
    "power-of-2": lambda x: 2**x,
    "clamp": lambda x: torch.clamp(x, -1, 2.5),
    "clamp-crossed": lambda x: torch.clamp(x, 3, 1),
    "clamp-below": lambda x: torch.clamp(x, min=0.5),
    "clamp-above": lambda x: torch.clamp(x, max=-0.5),
    "clip": lambda x: torch.clip(x, 0, 1),
    "round-decimals": lambda x: torch.round(x, decimals=2),
    "round-tens": lambda x: torch.round(x, decimals=-1),
    "nan_to_num": lambda x: torch.nan_to_num(x, 1.0, 2.0, -3.0),
    "nan_to_num-positive": lambda x: torch.nan_to_num(x, posinf=5.0),
    "lerp-near-start": lambda x: torch.lerp(x, x.square(), 0.3),
    "lerp-near-end": lambda x: torch.lerp(x, x.square(), 0.7),
}


@pytest.mark.parametrize("name", UNARY)
def test_function_at_special_values(name: str) -> None:
    check(lambda x: getattr(torch, name)(x), special())


@pytest.mark.parametrize("name", BINARY)
def test_function_of_two_at_special_values(name: str) -> None:
    check(lambda x, y: getattr(torch, name)(x, y), *special_pairs())


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_function_with_numbers_at_special_values(name: str) -> None:
    check(WITH_NUMBERS[name], special())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_functions_in_every_float_dtype(dtype: torch.dtype) -> None:
    names = [name for name in UNARY if dtype is not torch.float64 or name not in WITHOUT_DOUBLE]
    check(lambda x: [getattr(torch, name)(x) for name in names], normal(dtype))
    check(lambda x, y: [getattr(torch, name)(x, y) for name in BINARY], normal(dtype), normal(dtype, seed=1))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_functions_of_integers(dtype: torch.dtype) -> None:
    x, y = integer_pairs(dtype)
    if dtype is torch.uint8:
        y = y.clamp(1, 5)
    check(lambda x, y: [getattr(torch, name)(x, y) for name in OF_INTEGERS], x, y)
    check(lambda x: [torch.abs(x), torch.sign(x), -x, x.ceil(), x.round(), x.trunc(), x.square(), x.sin()], x)
    check(lambda x, y: [torch.div(x, y, rounding_mode=mode) for mode in ("floor", "trunc", None)], x, y)


def test_functions_of_bools() -> None:
    x, y = normal(torch.bool), normal(torch.bool, seed=1)
    check(lambda x, y: [x + y, x * y, x / y, torch.maximum(x, y), torch.minimum(x, y), x.square(), x.sin()], x, y)


def test_dtypes_promote_as_in_torch() -> None:
    x, n = normal(torch.float32), normal(torch.int64)
    half, number = x.half(), torch.tensor(2.0)
    check(
        lambda x, n, h, s: [x + n, n + 1.5, n * s, h + s, h * 2.5, h + x, n / 2, n // 2, n**0.5, n.bool() + 1],
        x,
        n,
        half,
        number,
    )


@pytest.mark.parametrize("exponent", [3, 5, 10, 40], ids=str)
def test_powers_of_integers_wrap_around(exponent: int) -> None:
    check(lambda x: x**exponent, torch.tensor([0, 1, -1, 2, 3, -7, 12345]))


def test_integers_to_the_power_of_integers() -> None:
    bases, exponents = torch.meshgrid(
        torch.tensor([0, 1, -1, 2, -2, 3, 10]), torch.tensor([0, 1, 2, 5, 31, 62, 63, 64, 65, 100]), indexing="ij"
    )
    small = exponents.clamp(max=19)
    check(
        lambda x, y, z: [torch.pow(x, z), torch.pow(x.sign(), y), torch.pow(x.sign() * 2, y), torch.pow(x, -y)],
        bases,
        exponents,
        small,
    )


def test_division_that_rounding_the_quotient_gets_wrong() -> None:
    check(
        lambda x, y: [x // y, torch.remainder(x, y)],
        torch.tensor([1.0, -1.0, 5.0, 6.0]),
        torch.tensor([0.1, 0.1, -0.2, 0.3]),
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(3, 2), (0, 2), (3, 0)], ids=str)
def test_nothing_is_divided_by_a_size_that_is_zero(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    def model(x: torch.Tensor) -> Any:
        n, m = x.shape
        return x // n, x % m, torch.fmod(x, n), torch.div(x, m, rounding_mode="trunc"), x % 3

    example, other = torch.arange(20).reshape(4, 5).to(dtype), torch.arange(6).to(dtype).reshape(3, 2)
    check(model, example, dynamic={"x": {0: "n", 1: "m"}}, again=(other[: shape[0], : shape[1]],))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), ()], ids=str)
def test_a_divisor_of_more_axes(shape: tuple[int, ...]) -> None:
    x, divisor = torch.arange(-3, 3), torch.full(shape, 2)
    check(lambda x: (x // divisor, x[:, None] % divisor), x, dynamic={"x": {0: "n"}}, again=(x[:0],))


def test_quotients_of_halves_are_rounded_once() -> None:
    x, y = torch.tensor([2047.0, 1023.5, -1023.5]).half(), torch.tensor([1.0005, 0.5, 0.5]).half()
    check(lambda x, y: [torch.div(x, y, rounding_mode=mode) for mode in ("trunc", "floor")], x, y)


def test_bounds_that_are_tensors_broadcast() -> None:
    x = normal(torch.float32, 3, 4)
    check(
        lambda x, low, high: [torch.clamp(x, low, high), torch.clamp(x, min=low), torch.clamp_max(x, high)],
        x,
        torch.rand(3, 1),
        torch.rand(4),
    )


def test_fused_sums_of_products() -> None:
    x, y, z = (normal(torch.float32, 3, 4, seed=seed) for seed in range(3))
    check(
        lambda x, y, z: [torch.addcmul(x, y, z, value=0.5), torch.addcdiv(x, y, z, value=2), torch.lerp(x, y, z)],
        x,
        y,
        z,
    )


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)], ids=str)
def test_scalars_and_empty_tensors(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    check(lambda x: [x + 1, x * x, x.exp(), x**2, x.clamp(0, 1), torch.maximum(x, x), x // 2, x.round()], x)


def test_sizes_are_numbers() -> None:
    def function(x: torch.Tensor) -> list[torch.Tensor]:
        n = x.shape[0]
        return [x + n, x / n, x * n**-0.5, torch.add(x, x, alpha=n), x.clamp(max=n), x // n, x**n]

    check(function, normal(torch.float32), dynamic={"x": {0: "n"}}, again=(normal(torch.float32, 6, 4),))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x**2, ["Mul"]),
        (lambda x: x.rsqrt(), ["Sqrt", "Reciprocal"]),
        (lambda x: x + 1, ["Add"]),
        (lambda x: x % 2.5, None),
    ],
    ids=["square", "rsqrt", "add", "remainder"],
)
def test_fewest_operators(function, expected) -> None:
    compiled = check(function, normal(torch.float32))
    assert operators(compiled, "lower") == (expected or ["Mod"])


def test_bodies_run_eagerly() -> None:
    x, y = normal(torch.float32).numpy(), normal(torch.float32, seed=1).numpy()
    np.testing.assert_allclose(eager(arithmetic.add, x, y, alpha=2), x + 2 * y, rtol=1e-6)
    np.testing.assert_allclose(eager(arithmetic.trunc, x), np.trunc(x))
    np.testing.assert_allclose(eager(arithmetic.copysign, x, y), np.copysign(x, y))
