"""What is said of equalities that leave a dim no choice: the cure is one that can be written."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

import fxonnx
from fxonnx import errors
from fxonnx.capture.assumption import Assumption
from fxonnx.capture.constraints import pinned_error
from fxonnx.ir.dims import Dim, symbol
from fxonnx.location import Location

N, M, K = symbol("n"), symbol("m"), symbol("k")
LABELS = {"n": "x, axis 0", "m": "y, axis 0", "k": "z, axis 0"}


@pytest.mark.parametrize(
    ("left", "right", "what", "cure"),
    [
        (N, M, "dim 'n' is always m", "give both dims one name"),
        (M, N, "dim 'n' is always m", "give both dims one name"),
        (N, 2 * M, "dim 'n' is always 2*m", 'write it as "2*m"'),
        (2 * M, N, "dim 'n' is always 2*m", 'write it as "2*m"'),
        (2 * M, N * N, "2*m and n*n are always equal", "make the model work for sizes that differ"),
        (N, 4, "dim 'n' freezes at 4", "leave the dim out"),
        (4, N, "dim 'n' freezes at 4", "leave the dim out"),
    ],
)
def test_the_cure_can_be_written(left: Dim, right: Dim, what: str, cure: str) -> None:
    error = pinned_error(Assumption(left, "==", right, Location()), {})
    assert error.what == what
    assert cure in error.cure


@pytest.mark.parametrize(
    ("left", "right", "what", "cure"),
    [
        (N + M, 32, "m + n and 32 are always equal", 'write n as "-m + 32"'),
        (2 * M + N, 3 * K, "2*m + n and 3*k are always equal", 'write n as "3*k - 2*m"'),
        (3 * K, M * N + 1, "3*k and m*n + 1 are always equal", "leave one of the dims static"),
        (2 * N + 2 * M, 32, "dim '2*m + 2*n' freezes at 32", "leave the dim out"),
    ],
)
def test_a_dim_that_others_tell_is_written_by_them(left: Dim, right: Dim, what: str, cure: str) -> None:
    error = pinned_error(Assumption(left, "==", right, Location()), LABELS)
    assert error.what == what
    assert cure in error.cure


def tokens_and_cache(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, y, z]) * torch.arange(32.0)


def branches(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    both = torch.cat([x, y, z]).view(4, 8).flatten()
    return both * 2 if x.shape[0] > y.shape[0] else both


@pytest.mark.parametrize("model", [tokens_and_cache, branches])
@pytest.mark.parametrize(
    ("last", "sizes"),
    [("c", (20, 9)), ("32 - a - b", (20, 9)), ("32 - a - b", (1, 3)), ("32 - a - b", (3, 28))],
)
def test_dims_that_leave_each_other_the_rest_of_a_number(
    model: Callable[..., torch.Tensor], last: str, sizes: tuple[int, int]
) -> None:
    def inputs(one: int, other: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(one), torch.randn(other), torch.randn(32 - one - other)

    dims = {"x": {0: "a"}, "y": {0: "b"}, "z": {0: last}}
    compiled = fxonnx.compile(model, inputs(*sizes), dynamic_shapes=dims)
    for each in (sizes, (1, 1), (30, 1), (7, 24), (8, 24)):
        given = inputs(*each)
        torch.testing.assert_close(compiled(*given), model(*given))
    with pytest.raises(errors.CallMismatch):
        compiled(torch.randn(4), torch.randn(5), torch.randn(6))


def test_a_dim_that_the_model_compares_is_written_as_the_cure_says() -> None:
    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if x.shape[0] + 2 * y.shape[0] != 32:
            raise ValueError("32 in all")
        return torch.cat([x, y, y]) * 2

    x, y = torch.randn(20), torch.randn(6)
    with pytest.raises(errors.FrozenDimension) as caught:
        fxonnx.compile(model, (x, y), dynamic_shapes={"x": {0: "a"}, "y": {0: "b"}})
    found = re.search(r'write a as "(.*?)"', caught.value.cure)
    assert found is not None
    compiled = fxonnx.compile(model, (x, y), dynamic_shapes={"x": {0: found[1]}, "y": {0: "b"}})
    for size in (1, 6, 15):
        given = torch.randn(32 - 2 * size), torch.randn(size)
        torch.testing.assert_close(compiled(*given), model(*given))


def test_a_loop_over_a_dim_that_leaves_another_the_rest_is_refused() -> None:
    """Runs at several lengths have no room there."""

    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(())
        for each in x:
            state = torch.tanh(state + each)
        return torch.cat([x, y]) * torch.ones(8) * state

    for other in ("b", "8 - a"):
        with pytest.raises(errors.FrozenDimension, match="freezes"):
            fxonnx.compile(model, (torch.randn(3), torch.randn(5)), dynamic_shapes={"x": {0: "a"}, "y": {0: other}})
