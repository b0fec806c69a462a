"""Singular values and vectors, and the pseudo-inverse."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, OBLONG, agree, matrix

import fxonnx
from fxonnx.errors import CaptureRefused


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", OBLONG, ids=str)
def test_vectors_make_the_matrix(dtype, shape):
    def made(x):
        left, values, right = torch.linalg.svd(x, full_matrices=False)
        whole, _, other = torch.linalg.svd(x)
        product = left * values.unsqueeze(-2) @ right
        return values, product, torch.linalg.svdvals(x), left.mH @ left, whole.mH @ whole, other @ other.mH

    agree(made, matrix(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matrices_of_lower_rank_have_a_whole_basis(dtype):
    def made(x):
        left, values, right = torch.linalg.svd(x)
        return values, left[..., :4] * values @ right, left.mH @ left, right @ right.mH

    agree(made, matrix(6, 2, dtype=dtype) @ matrix(2, 4, dtype=dtype))
    agree(made, torch.zeros(5, 4, dtype=dtype))


def test_values_are_as_exact_as_lapack_s():
    x = matrix(20, 12, dtype=torch.float64)
    exact, values = torch.linalg.svdvals(x), torch.linalg.svdvals
    ours, eager = (function(x.float()) - exact for function in (fxonnx.compile(values, x.float()), values))
    assert ours.abs().max() <= 1.5 * eager.abs().max()
    wide = fxonnx.compile(values, x)(x) - exact
    assert wide.abs().max() <= 12 * torch.finfo(torch.float64).eps * exact.abs().max() * 2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", OBLONG, ids=str)
def test_pseudo_inverse(dtype, shape):
    agree(torch.linalg.pinv, matrix(*shape, dtype=dtype))


def test_pseudo_inverse_of_lower_rank():
    low, wide = matrix(5, 2) @ matrix(2, 4), matrix(2, 4, 4)
    agree(torch.linalg.pinv, low)
    agree(lambda x: torch.linalg.pinv(x, rtol=0.5), wide)
    agree(lambda x: torch.linalg.pinv(x, atol=1.0), wide)
    agree(lambda x, atol: torch.linalg.pinv(x, atol=atol), wide, torch.tensor([1.0, 0.0]))
    agree(lambda x: torch.linalg.pinv(x + x.mT, hermitian=True), wide)


def test_any_size():
    dynamic = {"x": {0: "b", 1: "n", 2: "m"}}

    def numbers(x):
        return torch.linalg.svdvals(x), torch.linalg.pinv(x)

    agree(numbers, matrix(2, 5, 3), dynamic=dynamic, again=(matrix(1, 6, 2),))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)], ids=str)
@pytest.mark.parametrize("other", [(2, 7), (6, 2), (4, 4)], ids=str)
def test_matrices_that_may_be_wide_or_tall(shape, other):
    def numbers(x):
        (U, S, Vh), (whole, _, columns) = torch.linalg.svd(x, full_matrices=False), torch.linalg.svd(x)
        made = U * S.unsqueeze(-2) @ Vh, U.mT @ U, whole.mT @ whole, columns @ columns.mT
        return S, *made, torch.linalg.pinv(x), torch.linalg.cond(x), torch.linalg.matrix_norm(x, "nuc")

    agree(numbers, matrix(*shape), dynamic={"x": {0: "n", 1: "m"}}, again=(matrix(*other),))


DRIVERS = [None, "gels", "gelsy", "gelsd", "gelss"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (4, 4)], ids=str)
def test_least_squares(dtype, driver, shape):
    def solved(x, b):
        return tuple(torch.linalg.lstsq(x, b, driver=driver))

    agree(solved, matrix(*shape, dtype=dtype), matrix(*shape[:-1], 2, dtype=dtype))


@pytest.mark.parametrize("driver", DRIVERS)
def test_residuals_of_more_equations_than_unknowns(driver):
    def solved(x, b):
        return tuple(torch.linalg.lstsq(x, b, driver=driver))

    agree(solved, matrix(6, 3), matrix(6, 2))
    agree(solved, matrix(6, 3), matrix(6))
    agree(lambda x, b: solved(x, b)[1].sum() + 1, matrix(6, 3), matrix(6, 2))
    if driver in ("gelsd", "gelss"):
        agree(solved, matrix(6, 3), matrix(6, 2), again=(matrix(6, 2) @ matrix(2, 3), matrix(6, 2)))
        with pytest.raises(CaptureRefused, match="leave out the driver"):
            fxonnx.compile(solved, (matrix(2, 6, 3), matrix(2, 6, 2)))
    else:
        agree(solved, matrix(2, 6, 3), matrix(2, 6, 2))
        agree(solved, matrix(2, 6, 3), matrix(2, 6))


def test_residuals_as_the_refusal_says():
    def solved(x, b):
        solution, _, rank, _ = torch.linalg.lstsq(x, b)
        return (x @ solution - b).abs().square().sum(-2), rank

    agree(solved, matrix(2, 6, 3), matrix(2, 6, 2), dynamic="auto", again=(matrix(2, 7, 4), matrix(2, 7, 1)))
    with pytest.raises(CaptureRefused, match="leave out the driver"):
        fxonnx.compile(
            lambda x, b: torch.linalg.lstsq(x, b, driver="gels"), (matrix(6, 3), matrix(6, 2)),
            dynamic_shapes={"x": {0: "n"}, "b": {0: "n"}},
        )  # fmt: skip


def test_ranks_of_least_squares():
    agree(lambda x: torch.linalg.lstsq(x @ x.mT, x, rcond=1e-3).solution, matrix(5, 2))
