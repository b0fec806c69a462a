"""Running sums, products and extrema."""

import math

import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.support import check

import fxonnx

X = torch.randn(3, 4, 5)
OTHER = torch.randn(6, 2, 5)
DYNAMIC = {"x": {0: "n", 1: "m"}}

CASES = {
    "cumsum": lambda x: (x.cumsum(1), x.cumsum(-1, dtype=torch.float64), (x > 0).cumsum(0)),
    "cumprod": lambda x: (x.cumprod(1), x.long().cumprod(0)),
    "extrema": lambda x: (*x.cummax(1), *x.cummin(0), *x.long().cummax(-1)),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "trapezoid": lambda x: (torch.trapezoid(x, dim=1), torch.cumulative_trapezoid(x, dim=2)),
    "wide trapezoids": lambda x: (torch.trapezoid(x, dx=0.5, dim=0), torch.cumulative_trapezoid(x.long(), dx=3, dim=1)),
    "trapezoids of data": lambda x: torch.cumulative_trapezoid(x[x > 0], dim=0).sum(),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("dtype", (torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64))
def test_any_dtype(dtype):
    check(
        lambda x: (x.cumsum(1), x.cumprod(0), *x.cummax(1), *x.cummin(1)),
        torch.tensor([[0, 3, 1], [2, 1, 2]]).to(dtype),
    )


def test_from_the_first_nan_on():
    x = torch.tensor([2.0, 3.0, 3.0, math.nan, 5.0, math.nan, math.inf])
    check(lambda x: (x.cumsum(0), *x.cummax(0), *x.cummin(0), x.logcumsumexp(0)), x)
    check(lambda x: (*x.cummax(0), x.logcumsumexp(0)), torch.tensor([-math.inf, -math.inf, 1.0]))


def test_scalars_and_nothing():
    check(lambda x: (x.cumsum(0), x.cumprod(0), *x.cummax(0), x.logcumsumexp(0)), torch.tensor(3.0))
    check(lambda x: (x.cumsum(1), x.cumprod(1), *x.cummax(0)), torch.zeros(2, 0))


@pytest.mark.parametrize("empty", (torch.randn(0, 3, 5), torch.randn(2, 0, 5)), ids=("rows", "columns"))
def test_nothing_at_a_call(empty):
    def model(x):
        return x.cumprod(0), *x.cummax(1), *x.long().cummin(0), x.logcumsumexp(1)

    check(model, X, dynamic=DYNAMIC, again=(empty,))


def test_products_where_onnx_has_an_operator_for_them():
    check(lambda x: x.cumprod(1), X, opset=26)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_samples_of_torch(name):
    check_samples(name, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_areas_with_infinities(dtype):
    x = torch.tensor([[1.0, torch.inf, -2.0], [3.0, 4.0, -torch.inf], [1.0, 2.0, 4.0]], dtype=dtype)
    for points in (x, x[:, :2], x[:, 1:], x[:, :1], x[:, :0], x[:0]):
        check(lambda x: (torch.trapezoid(x, dx=2.0), torch.cumulative_trapezoid(x, dx=2.0)), points)


@pytest.mark.parametrize("length", [1, 2, 7, 4096])
def test_logarithms_of_sums_are_as_exact_however_long(length):
    x = torch.randn(3, length, generator=torch.manual_seed(0)) * 3
    compiled = fxonnx.compile(lambda x: x.logcumsumexp(1), (torch.randn(2, 5),), dynamic_shapes="auto")
    exact = x.double().logcumsumexp(1)
    assert (compiled(x) - exact).abs().max() / exact.abs().max() < 4 * torch.finfo(x.dtype).eps
