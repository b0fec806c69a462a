"""Systems of equations with triangular matrices."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, agree, matrix, solvable


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("upper", [False, True])
def test_every_side(dtype, upper):
    def solved(a, b):
        solve = torch.linalg.solve_triangular
        right = solve(a, b.mT, upper=upper, left=False)
        return solve(a, b, upper=upper), right, solve(a, b, upper=upper, unitriangular=True)

    agree(
        solved,
        solvable(2, 5, 5, dtype=dtype).tril().mT if upper else solvable(5, 5, dtype=dtype),
        matrix(5, 3, dtype=dtype),
    )


@pytest.mark.parametrize("transpose", [False, True])
def test_the_older_function_gives_the_matrix_back(transpose):
    def solved(b, a):
        return tuple(torch.triangular_solve(b, a, transpose=transpose))

    agree(solved, matrix(3, 4, 2), solvable(4, 4))


def test_any_size():
    def solved(a, b):
        return torch.linalg.solve_triangular(a, b, upper=True)

    dynamic = {"a": {0: "n", 1: "n"}, "b": {0: "n", 1: "k"}}
    agree(solved, solvable(5, 5), matrix(5, 2), dynamic=dynamic, again=(solvable(7, 7), matrix(7, 1)))


def test_what_is_zero_on_the_diagonal_leaves_infinities():
    agree(
        lambda a, b: torch.linalg.solve_triangular(a, b, upper=False),
        torch.tensor([[1.0, 0], [1, 0]]),
        torch.ones(2, 1),
    )
