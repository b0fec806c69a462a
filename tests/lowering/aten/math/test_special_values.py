"""Special values: what is folded, what the runtime computes and what torch computes are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx

INF, NAN = math.inf, math.nan
FLOATS = (0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, 1.5, -0.5, 3.0, INF, -INF, NAN)

BINARY: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "division": lambda x, y: (x / y, torch.floor_divide(x, y), torch.div(x, y, rounding_mode="trunc")),
    "remainder": lambda x, y: (x % y, torch.fmod(x, y)),
    "extremum": lambda x, y: (torch.maximum(x, y), torch.minimum(x, y), torch.clamp(x, min=y), torch.clamp(x, max=y)),
    "comparison": lambda x, y: (x == y, x != y, x < y, x <= y, x > y, x >= y, torch.where(x > y, x, y)),
}
OF_FLOATS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    **BINARY,
    "extremum of numbers": lambda x, y: (torch.fmax(x, y), torch.fmin(x, y)),
    "functions": lambda x, y: (torch.pow(x, y), torch.hypot(x, y), torch.copysign(x, y), torch.xlogy(x, y)),
    "numbers": lambda x, y: (x % -2, x % 3, x // -2, x // 2, torch.ones(4) % -2, torch.full((2,), 5.0) % -3),
    "sign of a remainder": lambda x, y: 1 / (x % y),
    "rounding": lambda x, y: (x.round(), x.floor(), x.ceil(), x.trunc(), x.frac(), torch.round(x, decimals=1)),
    "signs": lambda x, y: (x.sign(), x.signbit(), x.abs(), x.nan_to_num(), x.isnan(), x.isinf()),
    "extrema": lambda x, y: (x.amax(), x.argmax(), x.max(0), x[:10].argmin(), x.clamp(-1, 2), x.sort(stable=True)),
}
OF_INTEGERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    **BINARY,
    "arithmetic that wraps around": lambda x, y: (x + y, x - y, x * y, x**3, -x),
    "ties": lambda x, y: (x.remainder(2).argmax(), x.remainder(2).argmin(), x.float().mean()),
    "numbers": lambda x, y: (x % -2, x % 3, x // 2, x // -2, x // 3),
    "casts": lambda x, y: (x.to(torch.uint8), x.to(torch.int8), x.to(torch.float32), x.to(torch.bool)),
}
SHIFTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "shifts": lambda x, y: (torch.bitwise_left_shift(x, y), torch.bitwise_right_shift(x, y)),
    "powers": lambda x, y: torch.pow(x, y),
    "bits": lambda x, y: (x & y, x | y, x ^ y, ~x),
}


class Constants(nn.Module):
    """The function of two buffers, which is folded, beside an input."""

    def __init__(self, function: Callable[..., Any], *operands: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, operand in zip("xy", operands, strict=True):
            self.register_buffer(name, operand)

    def forward(self, given: Tensor) -> Any:
        """The folded results, and one that is not."""
        return self.function(self.x, self.y), given + 1


def check(function: Callable[..., Any], x: Tensor, y: Tensor) -> None:
    """Compare with torch what is folded, and what the runtime computes."""
    expected = function(x, y)
    one = torch.ones(1)
    rtol = {torch.float16: 2e-3}.get(x.dtype)
    close = {"equal_nan": True, "rtol": rtol, "atol": None if rtol is None else 1e-5}
    torch.testing.assert_close(fxonnx.compile(function, (x, y))(x, y), expected, **close)
    torch.testing.assert_close(fxonnx.compile(Constants(function, x, y), (one,))(one)[0], expected, **close)


def pairs(values: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """All pairs of values."""
    given = torch.tensor(values, dtype=dtype)
    return given.repeat_interleave(len(given)), given.repeat(len(given))


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16), ids=str)
@pytest.mark.parametrize("function", OF_FLOATS.values(), ids=OF_FLOATS)
def test_floats(function: Callable[..., Any], dtype: torch.dtype) -> None:
    check(function, *pairs(FLOATS, dtype))


INTEGERS = (torch.int64, torch.int32, torch.int8, torch.uint8)


def integers(dtype: torch.dtype) -> list[int]:
    """Small numbers, and the least and greatest."""
    bounds = torch.iinfo(dtype)
    return [each for each in (0, 1, -1, 2, -2, 7, -7, 100) if each >= bounds.min] + [bounds.min, bounds.max]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("function", OF_INTEGERS.values(), ids=OF_INTEGERS)
def test_integers(function: Callable[..., Any], dtype: torch.dtype) -> None:
    x, y = pairs(integers(dtype), dtype)
    defined = (y != 0) & ~((y == -1) & (x == torch.iinfo(dtype).min))
    check(function, x[defined], y[defined])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("function", SHIFTS.values(), ids=SHIFTS)
def test_shifts_and_powers(function: Callable[..., Any], dtype: torch.dtype) -> None:
    bits = torch.iinfo(dtype).bits
    x = torch.tensor(integers(dtype), dtype=dtype)
    for distance in (0, 1, 2, bits - 2, bits - 1):
        check(function, x, torch.full_like(x, distance))


LEAST: dict[str, Callable[[Tensor], Tensor]] = {
    "cosine of nothing": lambda x: torch.nn.functional.cosine_similarity(x, x, dim=-1),
    "cosine of a number": lambda x: torch.nn.functional.cosine_similarity(x[1, 0], x[1, 0], dim=0),
    "logit": lambda x: torch.logit(x, eps=1e-8),
    "normalized": lambda x: torch.nn.functional.normalize(x, dim=-1),
    "clamped": lambda x: 1 / x.clamp(min=1e-8),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", LEAST)
def test_a_least_number_is_the_one_that_the_dtype_has(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0.25, 0.5], [0.0, 0.0, 0.0]], dtype=dtype)
    compiled = fxonnx.compile(LEAST[name], x)
    torch.testing.assert_close(compiled(x), LEAST[name](x), equal_nan=True, rtol=2e-2, atol=1e-2)
