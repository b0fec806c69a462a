"""Plain numbers of several runs, as expressions of their sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fxonnx.capture.tracer.plain.solve import solve
from fxonnx.ir.dims import evaluate, parse_dim

RUNS = [{"n": 11, "m": 17}, {"n": 23, "m": 13}, {"n": 31, "m": 53}, {"n": 48, "m": 72}]
OTHERS = [{"n": 4, "m": 1000}, {"n": 77, "m": 12}, {"n": 64, "m": 64}]
NUMBERS: dict[str, Callable[[int, int], int]] = {
    "size": lambda n, m: m,
    "affine": lambda n, m: 3 * n - 2,
    "half": lambda n, m: n // 2,
    "windows": lambda n, m: -(-m // 8),
    "padded": lambda n, m: -(-m // 8) * 8,
    "padding": lambda n, m: -m % 8,
    "convolution": lambda n, m: (n + 2 * 1 - 3) // 2 + 1,
    "product": lambda n, m: 4 * n * m,
    "sum": lambda n, m: n + m + 1,
    "difference": lambda n, m: 2 * m - n - (m - n),
    "greater": lambda n, m: max(n, m),
    "of another": lambda n, m: m * n // 4,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_solved(name: str) -> None:
    number = NUMBERS[name]
    likely = [parse_dim("m*n // 4")] if name == "of another" else []
    dim = solve([number(**sizes) for sizes in RUNS], RUNS, likely)
    assert dim is not None
    assert [evaluate(dim, sizes) for sizes in OTHERS] == [number(**sizes) for sizes in OTHERS]


@pytest.mark.parametrize("values", [(1, 2, 4, 9), (11, 23, 32, 49), (7, 1, 3, 2)])
def test_what_is_no_expression_is_none(values: tuple[int, ...]) -> None:
    assert solve(values, RUNS, []) is None
