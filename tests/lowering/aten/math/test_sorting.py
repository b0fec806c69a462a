"""Order statistics, with torch's order of equal elements and of NaN."""

import math

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

import fxonnx
from fxonnx.lowering.aten.math.sorting import kthvalue, sort, topk

X = torch.randn(5, 8, 6)
OTHER = torch.randn(7, 11, 6)
DYNAMIC = {"x": {0: "n", 1: "m"}}

CASES = {
    "topk": lambda x: (*x.topk(3), *x.topk(2, 1, largest=False), *x.topk(0)),
    "topk of a size": lambda x: x.topk(x.shape[1] // 2, 1),
    "sort": lambda x: (*x.sort(), *x.sort(1, descending=True), x.msort(), *x.sort(dim=0, stable=True)),
    "argsort": lambda x: (x.argsort(), x.argsort(0, descending=True), x.argsort(dim=1, stable=True)),
    "kthvalue": lambda x: (*x.kthvalue(2), *x.kthvalue(3, 1, keepdim=True)),
    "median": lambda x: (x.median(), *x.median(1), *x.median(-1, keepdim=True), x.nanmedian()),
    "quantiles": lambda x: tuple(
        x.quantile(0.3, 0, interpolation=way) for way in ("lower", "higher", "nearest", "midpoint")
    ),
    "quantile": lambda x: (
        x.quantile(0.3, 1),
        x.quantile(torch.tensor([0.1, 0.5]), -1, keepdim=True),
        x.quantile(0.25),
    ),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize(
    "dtype", (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64)
)
def test_any_dtype(dtype):
    check(
        lambda x: (*x.sort(stable=True), *x.sort(dim=0, descending=True, stable=True)),
        torch.tensor([[1, 0, 1], [3, 1, 2]]).to(dtype),
    )
    if dtype is not torch.bool:
        check(lambda x: (*x.topk(2), x.median(), *x.kthvalue(2)), torch.tensor([[1, 5, 3], [3, 1, 2]]).to(dtype))


def test_equal_elements_keep_their_order():
    check(lambda x: (*x.sort(stable=True), *x.sort(descending=True, stable=True)), torch.randint(3, (4, 40)))


def test_nan_is_the_greatest():
    x = torch.tensor([[1.0, math.nan, 3.0, math.inf, math.nan], [0.0, -math.inf, 2.0, 1.0, -0.5]])
    check(lambda x: (*x.sort(stable=True), *x.sort(descending=True, stable=True), x.topk(2)[0], x.kthvalue(4)[0]), x)
    check(lambda x: (*x.median(1), x.median(), *x.nanmedian(1), x.nanmedian(), *x.nanmedian(0)), x)
    check(lambda x: x.nanmedian(1)[0], torch.full((2, 3), math.nan))
    check(
        lambda x: (x.quantile(0.4, 1), x.nanquantile(0.4, 1), x.nanquantile(torch.tensor([0.1, 1.0]), 0)),
        x.clamp(-9, 9),
    )


def test_quantiles_between_infinities():
    x = torch.tensor([[1.0, math.inf], [-math.inf, 2.0], [-math.inf, math.inf], [math.inf, math.inf]])
    q = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0])
    check(lambda x: tuple(x.quantile(q, 1, interpolation=way) for way in ("linear", "midpoint")), x)


def test_modes():
    check(lambda x: (*x.mode(), *x.mode(0), *x.mode(1, keepdim=True)), torch.tensor([[1, 2, 2, 1, 3], [0, 0, 2, 5, 5]]))


def test_scalars_and_nothing():
    check(
        lambda x: (*x.sort(), *x.topk(1), *x.kthvalue(1), x.median(), *x.median(0), *x.mode(), x.argsort()),
        torch.tensor(3.0),
    )
    check(lambda x: (*x.sort(), x.argsort(0)), torch.zeros(2, 0))


UNIQUE = {
    "alone": lambda x: x.unique(),
    "inverse and counts": lambda x: x.unique(return_inverse=True, return_counts=True),
    "rows": lambda x: x.unique(dim=0, return_inverse=True, return_counts=True),
    "columns": lambda x: x.unique(dim=1),
    "consecutive": lambda x: x.unique_consecutive(return_inverse=True, return_counts=True),
    "consecutive rows": lambda x: x.unique_consecutive(dim=0, return_counts=True),
}


@pytest.mark.parametrize("function", UNIQUE.values(), ids=UNIQUE)
@pytest.mark.parametrize("dtype", (torch.int64, torch.float32, torch.int32, torch.bool))
def test_unique(function, dtype):
    x = torch.tensor([[3, 1, 1], [3, 1, 1], [0, 1, 2], [3, 1, 1]]).to(dtype)
    check(lambda x: function(x), x, dynamic={"x": {0: "n"}}, again=(x.repeat(2, 1),))


@pytest.mark.parametrize("dim", [0, 1])
def test_each_slice_with_nan_is_unique(dim):
    x = torch.tensor([[2.0, 3.0], [1.0, float("nan")], [2.0, 3.0], [1.0, float("nan")], [-1.0, float("inf")]])
    x = x if dim == 0 else x.T.contiguous()
    compiled = fxonnx.compile(lambda x: x.unique(dim=dim, return_inverse=True, return_counts=True), (x,))
    values, which, often = compiled(x)
    torch.testing.assert_close(values.index_select(dim, which), x, equal_nan=True)
    assert which.unique().numel() == 4
    assert sorted(often.tolist()) == [1, 1, 1, 2]


def test_each_nan_is_unique():
    x = torch.tensor([[1, torch.nan, 2], [torch.nan, 1, 0]])
    unique = UNIQUE["inverse and counts"]
    check(lambda x: unique(x), x, dynamic={"x": {0: "n"}}, again=(x[:0],))
    check(lambda x: (torch.isin(x, x[0]), torch.isin(x, 2.0, invert=True), torch.isin(1, x)), x)
    check(lambda x: torch.isin(x, torch.tensor([2, 0])), x.repeat(9, 1))


def test_sorting_is_one_operator():
    assert operators(check(lambda x: x.sort(), X)) == ["TopK"]


def test_bodies_run_eagerly():
    x = np.array([[3, 1, 2], [0, 5, 4]], np.float32)
    for found, expected in (
        (eager(topk, x, 2)[0], [[3, 2], [5, 4]]),
        (eager(sort, x)[1], [[1, 2, 0], [0, 2, 1]]),
        (eager(kthvalue, x, 2)[0], [2, 4]),
    ):
        assert np.array_equal(found, np.array(expected))


@pytest.mark.parametrize(
    "name",
    [
        "sort",
        "argsort",
        "msort",
        "kthvalue",
        "unique",
        "unique_consecutive",
        "median",
        "nanmedian",
        "quantile",
        "nanquantile",
    ],
)
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


@pytest.mark.parametrize("median", [torch.median, torch.nanmedian])
def test_the_median_of_nothing_is_nan(median):
    compiled = fxonnx.compile(lambda x: median(x), torch.randn(4, 3), dynamic_shapes={"x": {0: "n"}})
    for rows in (0, 1, 2, 5):
        x = torch.randn(rows, 3)
        torch.testing.assert_close(compiled(x), median(x), equal_nan=True)
    nothing = torch.ones(0)
    torch.testing.assert_close(fxonnx.compile(lambda x: median(x), nothing)(nothing), median(nothing), equal_nan=True)
