"""What is said of equalities that leave a dim no choice: the cure is one that can be written."""

from __future__ import annotations

import pytest

from fxonnx.capture.assumption import Assumption
from fxonnx.capture.constraints import pinned_error
from fxonnx.ir.dims import Dim, symbol
from fxonnx.location import Location

N, M = symbol("n"), symbol("m")


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
