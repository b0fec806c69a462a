"""Reductions over one, several, all and no axes, with torch's dtypes, ties, NaN and empty axes."""

import math

import numpy as np
import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.eager import eager
from tests.lowering.support import check, operators

from fxonnx.lowering.aten.math.reduction import extremum, mean, moments, position_of_extremum, sum_

X = torch.randn(3, 4, 5)
OTHER = torch.randn(6, 2, 5)
DYNAMIC = {"x": {0: "n", 1: "m"}}

CASES = {
    "sum": lambda x: (x.sum(), x.sum(1), x.sum((0, -1), keepdim=True), x.sum([]), x.sum(-1, dtype=torch.float64)),
    "mean": lambda x: (x.mean(), x.mean(-1, keepdim=True), x.mean((1, 2)), x.long().mean(0, dtype=torch.float32)),
    "prod": lambda x: (x.prod(), x.prod(1), x.prod(2, keepdim=True), x.bool().prod(0)),
    "amax and amin": lambda x: (x.amax(1), x.amin((0, 2), keepdim=True), x.max(), x.min(), x.amax(())),
    "max and min": lambda x: (*x.max(1), *x.min(-1, keepdim=True), *x.aminmax(dim=0)),
    "positions": lambda x: (x.argmax(), x.argmin(1), x.argmax(-1, keepdim=True), x.argmin(keepdim=True)),
    "truth": lambda x: ((x > 1).any(), (x > 1).any(1), (x > -1).all((0, 2)), x.all(), x.byte().any(0)),
    "truth of each element": lambda x: (
        torch.any(x > 1, ()), torch.all(x.int(), (), keepdim=True), torch.any((x * 3).relu().byte(), dim=[]),
    ),
    "var": lambda x: (x.var(), x.var(1), x.var((0, 2), correction=0, keepdim=True), x.var(1, unbiased=False)),
    "std": lambda x: (x.std(), x.std(-1, correction=2), *torch.std_mean(x, 1), *torch.var_mean(x, keepdim=True)),
    "logsumexp": lambda x: (x.logsumexp(1), x.logsumexp((0, 2), keepdim=True)),
    "without nan": lambda x: (x.sqrt().nansum(1), x.sqrt().nanmean(), x.sqrt().nanmean((0, 2), keepdim=True)),
    "count": lambda x: (x.relu().count_nonzero(), x.relu().count_nonzero((0, 2)), x.relu().count_nonzero(-1)),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize(
    "dtype", (torch.bool, torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64)
)
def test_any_dtype(dtype):
    x = torch.tensor([[0, 3, 1], [2, 1, 2]]).to(dtype)
    check(lambda x: (x.sum(), x.sum(0), x.prod(1), x.amax(1), x.amin(), x.any(), x.all(1), x.count_nonzero()), x)
    if dtype is not torch.bool:
        check(lambda x: (*x.max(1), *x.min(0), x.argmax(), x.argmin(1)), x)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_narrow_floats_are_rounded_once(dtype):
    check(
        lambda x: (x.var(1), x.std(), *torch.var_mean(x, 0), x.logsumexp(1)),
        (100 + torch.randn(4, 64)).to(dtype),
    )


NAN = torch.tensor([[1.0, math.nan, 3.0], [math.nan, math.inf, math.nan], [-math.inf, 2.0, 2.0], [0.0, 0.0, -1.0]])


def test_nan_spoils_and_the_first_extremum_counts():
    check(lambda x: (x.amax(1), x.amin(1), x.max(), x.min(), x.amax((0, 1))), NAN)
    check(lambda x: (*x.max(1), *x.min(1), x.argmax(1), x.argmin(1), x.argmax(), x.argmin(0), *x[2:].max(1)), NAN)
    check(lambda x: (x.sum(1), x.mean(0), x.nansum(1), x.nanmean(1), x.logsumexp(1), x.any(1), x.std(0)), NAN)


def test_logsumexp_of_infinities():
    check(lambda x: x.logsumexp(1), torch.tensor([[-math.inf] * 2, [math.inf, 1.0], [1000.0, 1000.0]]))


@pytest.mark.parametrize("beside", [math.inf, -math.inf, 1.0])
def test_logsumexp_of_nan_wherever_it_stands(beside: float):
    rows = torch.tensor([[beside, math.nan], [math.nan, beside], [beside, beside]])
    check(lambda x: (x.logsumexp(1), x.logsumexp(0, keepdim=True), x.logsumexp((0, 1))), rows)


def test_scalars():
    check(
        lambda x: (
            x.sum(),
            x.mean(0),
            x.amax(-1),
            *x.max(0),
            x.argmax(),
            x.argmin(0),
            x.prod(),
            x.var(correction=0),
            x.any(0),
        ),
        torch.tensor(3.0),
    )


def test_nothing_to_reduce():
    check(
        lambda x: (
            x.sum(),
            x.sum(0),
            x.mean(),
            x.mean(1),
            x.prod(1),
            x.any(),
            x.all(1),
            x.var(1),
            x.logsumexp(1),
        ),
        torch.zeros(2, 0),
    )
    check(lambda x: x.all(1), torch.zeros(2, 0, dtype=torch.uint8))
    some, nothing = torch.ones(2, 3, dtype=torch.uint8), torch.zeros(2, 0, dtype=torch.uint8)
    check(lambda x: (x.all(1), x.all(), x.any(1)), some, dynamic={"x": {1: "n"}}, again=(nothing,))


def test_a_sum_is_one_operator():
    assert operators(check(lambda x: x.sum(-1), X, dynamic=DYNAMIC, again=(OTHER,))) == ["ReduceSum"]
    assert operators(check(lambda x: x.mean(-1, keepdim=True), X, dynamic=DYNAMIC, again=(OTHER,))) == ["ReduceMean"]


EMPTY = {
    "mean": lambda x: x.mean(0),
    "mean of all": lambda x: x.mean(),
    "var": lambda x: x.var(0),
    "biased var": lambda x: x.var(0, unbiased=False),
    "std": lambda x: x.std(),
    "std of more than there is": lambda x: x.std(0, correction=-1),
    "pooled": lambda x: torch.nn.functional.adaptive_avg_pool1d(x.T, 1),
    "pooled into none": lambda x: torch.nn.functional.adaptive_avg_pool1d(torch.ones(2, 7), x.shape[0]),
    "var and mean": lambda x: torch.var_mean(x, 0, correction=0),
    "nanmean": lambda x: x.nanmean(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "sum and prod": lambda x: (x.sum(0), x.prod(0), x.norm(dim=0)),
    "mean where there is no hit": lambda x: x[x[:, 0] > 2].mean(0),
    "mse_loss": lambda x: torch.nn.functional.mse_loss(x, x * 2),
    "l1_loss": lambda x: torch.nn.functional.l1_loss(x, x * 2),
    "mean of complex": lambda x: torch.view_as_real(torch.view_as_complex(torch.stack((x, x), -1)).mean(0)),
    "mean in float16": lambda x: x.half().mean(0),
}


@pytest.mark.parametrize("name", EMPTY)
def test_of_nothing_at_run_time(name):
    check(EMPTY[name], torch.rand(4, 3), dynamic={"x": {0: "n"}}, again=(torch.zeros(0, 3),))


def test_a_size_that_is_never_0_costs_nothing():
    def function(x):
        assert x.shape[0] > 3
        return x.mean(0)

    assert operators(check(function, torch.rand(5, 3), dynamic={"x": {0: "n"}})) == ["ReduceMean"]


def test_bodies_run_eagerly():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for found, expected in (
        (eager(sum_, x, 1), x.sum(1)),
        (eager(mean, x, [0], True), x.mean(0, keepdims=True)),
        (eager(extremum, x, [1], operator="ReduceMax"), x.max(1)),
        (eager(position_of_extremum, x, 1, largest=True), x.argmax(1)),
        (eager(moments, x, [1], root=True, with_mean=False), x.std(1, ddof=1)),
        (eager(moments, x, None, correction=0, root=False, with_mean=True)[1], x.mean()),
    ):
        assert np.allclose(found, expected, atol=1e-5)


NAMES = "sum mean prod amax amin any all argmax argmin var std std_mean logsumexp count_nonzero nansum aminmax"


@pytest.mark.parametrize("name", NAMES.split())
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


def test_an_assertion_about_values_is_left_to_the_model():
    def model(x):
        torch._check_tensor_all(x > -100)
        return x + torch._is_any_true(x > 0)

    check(model, torch.randn(3))


@pytest.mark.parametrize("x", [[3.0, 2.0**60, 2.0**60], [math.nan, 3.0, math.nan], [-math.inf, 7.5]])
def test_floats_that_are_summed_as_integers_are_summed_exactly(x):
    """The runtime's sum of int64 goes through double; NaN is the least int64."""
    check(lambda x: x.sum(dtype=torch.int64), torch.tensor(x), dynamic={"x": {0: "n"}})


def test_sums_of_int32_go_round():
    x = torch.tensor([[2**31 - 1, 5, 7], [-(2**31), -1, -2]], dtype=torch.int32)
    check(lambda x: x.sum(1, dtype=torch.int32), x)
    check(lambda x: x.prod(1, dtype=torch.int32), x)


@pytest.mark.parametrize("shape", [(4, 9), (1, 9), (9,), ()], ids=str)
def test_covariances(shape):
    x = torch.randn(shape)
    check(torch.cov, x)
    check(torch.corrcoef, x)


def test_covariances_of_weighted_observations():
    often, worth = torch.arange(1, 10), torch.rand(9)
    check(lambda x: torch.cov(x, correction=0, fweights=often, aweights=worth), torch.randn(3, 9))
    check(lambda x, worth: torch.cov(x, aweights=worth), torch.randn(3, 9), worth)
    for dtype in (torch.bfloat16, torch.float64, torch.int64):
        x = (3 * torch.randn(3, 9)).to(dtype)
        check(lambda x, worth: torch.cov(x, correction=0, aweights=worth), x, worth, rtol=1e-5, atol=1e-5)
        check(lambda x, worth: torch.cov(x, fweights=often, aweights=worth), x, worth.double())
    check(torch.cov, torch.randint(0, 9, (3, 5)), dynamic="auto", again=(torch.randint(0, 9, (2, 7)),))


@pytest.mark.parametrize("mean", [torch.nanmean, torch.mean, torch.nansum, torch.sum], ids=lambda mean: mean.__name__)
@pytest.mark.parametrize("keepdim", [False, True])
def test_no_named_axis_means_all(mean, keepdim):
    check(lambda x: mean(x, dim=(), keepdim=keepdim), torch.tensor([[1.0, torch.nan, 2], [3, 4, 5]]))
