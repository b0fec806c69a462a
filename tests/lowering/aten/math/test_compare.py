"""Comparisons, tests of elements, choosing by a condition, logic and bits."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
from tests.lowering.eager import eager
from tests.lowering.support import check, operators
from tests.lowering.values import INTEGERS, integer_pairs, normal, special, special_pairs

from fxonnx import errors
from fxonnx.lowering.aten.math import compare

COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
TESTS = ["isnan", "isinf", "isposinf", "isneginf", "isfinite", "isreal"]
LOGIC = ["logical_and", "logical_or", "logical_xor"]
BITS = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_at_special_values(name: str) -> None:
    check(lambda x, y: [COMPARISONS[name](x, y), COMPARISONS[name](x, 1)], *special_pairs())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, *INTEGERS, torch.bool], ids=str)
def test_comparisons_in_every_dtype(dtype: torch.dtype) -> None:
    pair = normal(dtype).abs() if dtype is torch.uint8 else normal(dtype), normal(dtype, seed=1)
    check(lambda x, y: [compare(x, y) for compare in COMPARISONS.values()], *pair)


def test_comparisons_promote() -> None:
    n, x = normal(torch.int64), normal(torch.float32)
    check(lambda n, x: [n == x, n < 0.5, x > 2, n.bool() == n, n.to(torch.uint8) < 300], n, x)


@pytest.mark.parametrize("name", TESTS)
def test_tests_of_elements(name: str) -> None:
    check(lambda x, n: [getattr(torch, name)(x), getattr(torch, name)(n)], special(), normal(torch.int64))


def test_of_integers_of_a_dynamic_size() -> None:
    x = normal(torch.int64)
    check(lambda x: [torch.isnan(x), torch.isfinite(x)], x, dynamic={"x": {0: "n"}}, again=(normal(torch.int64, 6, 4),))


def test_isclose() -> None:
    check(lambda x, y: [torch.isclose(x, y), torch.isclose(x, y, atol=1.0, equal_nan=True)], *special_pairs())


def test_where_in_all_overloads() -> None:
    x, y = normal(torch.float32, 3, 1), normal(torch.float32, 4, seed=1)
    check(
        lambda x, y: [
            torch.where(x > y, x, y),
            torch.where(x > 0, x, 0.0),
            torch.where(x > 0, 1, y),
            torch.where(y > 0, 1.0, 2.0),
        ],
        x,
        y,
    )
    check(
        lambda x, n: [torch.where(n > 0, x, n), torch.where(n > 0, n, 0.5), torch.where(n > 0, 1, 0)],
        normal(torch.float32),
        normal(torch.int64),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool], ids=str)
def test_masked_fill_keeps_the_dtype(dtype: torch.dtype) -> None:
    x, mask = normal(torch.float32).abs().to(dtype), normal(torch.bool, 4)
    check(
        lambda x, mask: [x.masked_fill(mask, 1), x.masked_fill(mask, torch.tensor(0.0)), x.masked_fill_(~mask, 0)],
        x,
        mask,
    )


def test_masked_fill_of_attention_scores() -> None:
    def causal(x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        return x.masked_fill(torch.arange(n)[None, :] > torch.arange(n)[:, None], -torch.inf)

    check(causal, normal(torch.float32, 4, 1), dynamic={"x": {0: "n"}}, again=(normal(torch.float32, 6, 1),))


@pytest.mark.parametrize("name", LOGIC)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32], ids=str)
def test_logic(name: str, dtype: torch.dtype) -> None:
    check(
        lambda x, y: [getattr(torch, name)(x, y), torch.logical_not(x)],
        normal(torch.int64).to(dtype),
        normal(dtype, seed=1),
    )


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("dtype", [*INTEGERS, torch.bool], ids=str)
def test_bits(name: str, dtype: torch.dtype) -> None:
    x, y = integer_pairs(torch.int64)
    check(lambda x, y: [BITS[name](x, y), BITS[name](x, True), ~x], x.to(dtype), y.to(dtype))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts_keep_the_sign(dtype: torch.dtype) -> None:
    bits = torch.iinfo(dtype).bits
    extremes = torch.tensor([0, 1, -1, 5, -7, torch.iinfo(dtype).max, torch.iinfo(dtype).min])
    values, distances = torch.meshgrid(extremes, torch.tensor([0, 1, 2, bits - 2, bits - 1]), indexing="ij")
    check(lambda x, y: [x << 2, x >> 1, x << y, x >> y], values.to(dtype), distances.to(dtype))


def test_shifts_by_no_bit_of_the_dtype() -> None:
    x = torch.tensor([5, -5, 0])
    check(lambda x, y: [x << y, x >> y], x, torch.tensor([64, 70, -1]))


def test_shifting_floats_is_refused() -> None:
    with pytest.raises((errors.UnsupportedArguments, errors.ModelRaised)):
        check(lambda x: torch.ops.aten.__lshift__(x, 1), normal(torch.float32))


def test_not_equal_is_two_operators() -> None:
    assert operators(check(lambda x: x != 0, normal(torch.float32))) == ["Equal", "Not"]


def test_bodies_run_eagerly() -> None:
    x, y = normal(torch.float32).numpy(), normal(torch.float32, seed=1).numpy()
    np.testing.assert_array_equal(eager(compare.ne, x, y), x != y)
    np.testing.assert_array_equal(eager(compare.where, x > 0, x, y), np.where(x > 0, x, y))
