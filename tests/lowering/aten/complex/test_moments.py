"""Variances, products and running sums of complex tensors."""

import pytest
import torch
from tests.lowering.support import check

torch.manual_seed(0)
SHAPES = [(3, 4), (5,), (), (0, 2)]


@pytest.mark.parametrize("shape", [(3, 4), (2, 5)], ids=str)
def test_variances(shape):
    def spreads(x):
        mean = torch.var_mean(x, dim=0, keepdim=True)
        return x.var(), x.std(1), x.var(dim=(0, 1), correction=0), *mean, *torch.std_mean(x, dim=-1)

    check(spreads, torch.randn(shape, dtype=torch.complex64))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(shape):
    def products(x):
        return x.prod(), x.prod(0), x.prod(-1, keepdim=True), x.cumprod(0), x.cumprod(-1, dtype=torch.complex128)

    check(products, torch.randn(shape, dtype=torch.complex64), rtol=1e-5, atol=1e-6)


def test_products_of_any_length():
    x = torch.randn(3, 4, dtype=torch.complex64)
    check(lambda x: (x.prod(0), x.cumprod(0)), x, dynamic={"x": {0: "n"}}, again=(x[:1],))


@pytest.mark.parametrize("shape", [(3, 4), ()], ids=str)
def test_running_sums_of_exponentials(shape):
    check(lambda x: torch.logcumsumexp(x, 0), torch.randn(shape, dtype=torch.complex64) * 5, rtol=1e-5, atol=1e-5)


def test_running_sums_of_exponentials_of_any_length():
    x = torch.randn(5, 4, dtype=torch.complex64)
    check(lambda x: torch.logcumsumexp(x, 0), x, dynamic={"x": {0: "n"}}, again=(x[:3],), rtol=1e-5, atol=1e-5)


def test_covariances():
    times, worth = torch.tensor([1, 2, 1, 3, 1]), torch.rand(5)

    def covariances(x):
        weighted = x.cov(correction=0, fweights=times), x.cov(aweights=worth), x.cov(fweights=times, aweights=worth)
        return x.cov(), x[0].cov(), x.corrcoef(), x[0].corrcoef(), *weighted

    x, again = torch.randn(3, 5, dtype=torch.complex64), torch.randn(4, 5, dtype=torch.complex64)
    check(covariances, x, dynamic={"x": {0: "n"}}, again=(again,), rtol=1e-5, atol=1e-5)
    check(lambda x, worth: x.cov(aweights=worth), x, worth.double())
