"""Diagonals: read, made and written."""

import pytest
import torch
from tests.lowering.database import check_samples
from tests.lowering.support import check

X = torch.randn(5, 6, 7)
OTHER = torch.randn(8, 9, 7)
DYNAMIC = {"x": {0: "n", 1: "m"}}
OFFSETS = (0, 1, -1, 3, -2)

CASES = {
    "diagonal": lambda x: tuple(x.diagonal(offset, 0, 2) for offset in OFFSETS),
    "diagonal of dynamic sizes": lambda x: (x.diagonal(), x.diagonal(1), x.diagonal(-1)),
    "linalg diagonal": lambda x: torch.linalg.diagonal(x),
    "diag": lambda x: (x[0].diag(), x[0, 0].diag(), x[0, 0].diag(2), x[0, 0].diag(-1)),
    "diag embed": lambda x: (torch.diag_embed(x), torch.diag_embed(x, -1), torch.diag_embed(x[0], 1, 0, 2)),
    "diagflat": lambda x: x[0, :2].diagflat(1),
    "trace": lambda x: (x[0].trace(), x[0].long().trace()),
    "block diag": lambda x: torch.block_diag(x[0], x[0, 0], x[0, 0, 0]),
    "diagonal scatter": lambda x: torch.diagonal_scatter(x, x.diagonal(0, 0, 2) * 2, 0, 0, 2),
    "diagonal scatter off": lambda x: (
        torch.diagonal_scatter(x, x.diagonal(1) * 2, 1),
        torch.diagonal_scatter(x, x.diagonal(-1) * 2, -1),
    ),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dynamic", (None, DYNAMIC), ids=("static", "dynamic"))
def test_like_torch(function, dynamic):
    check(lambda x: function(x), X, dynamic=dynamic, again=(OTHER,) if dynamic else None)


@pytest.mark.parametrize("dtype", (torch.bool, torch.int64, torch.float16))
def test_any_dtype(dtype):
    check(lambda x: (x.diagonal(), x.diag_embed()), torch.tensor([[0, 1], [2, 3]]).to(dtype))


def test_infinity_elsewhere_does_not_spread():
    check(lambda x: x.diag_embed(), torch.tensor([float("inf"), float("nan"), 1.0]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64], ids=str)
def test_numbers_without_dims_count_less_in_blocks(dtype):
    check(lambda x, y: torch.block_diag(x, y), torch.tensor(2, dtype=dtype), torch.randn(2, 2))
    check(lambda x, y: torch.block_diag(x, y), torch.tensor(2, dtype=dtype), torch.ones(1, dtype=torch.int32))


@pytest.mark.parametrize("name", ["diagonal", "diag", "diag_embed", "diagonal_scatter", "block_diag", "trace"])
def test_samples_of_torch(name):
    check_samples(name, torch.float32)
