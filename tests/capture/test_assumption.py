"""What a guard leaves of its dims."""

from __future__ import annotations

import pytest

from fxonnx.capture.assumption import Guard
from fxonnx.ir.dims import Dim, parse_dim
from fxonnx.location import Location


@pytest.mark.parametrize(
    ("left", "right", "is_free"),
    (
        ("n", "7", False),
        ("n", "k + 3", False),
        ("n // 2", "3", False),
        ("n % 7", "0", True),
        ("min(16, k + n) - min(16, k)", "n", True),  # a write of n behind k: as long as both fit
        ("n - max(n - k, 0)", "k", True),
        ("min(n, 7)", "7", True),
        ("max(n - 9, 0) + n", "7", False),
    ),
)
def test_what_an_equality_leaves_free(left: str, right: str, is_free: bool) -> None:
    dims: list[Dim] = [parse_dim(each) for each in (left, right)]
    guard = Guard(dims[0], "==", dims[1], Location())
    assert guard.leaves_free({"n": 7, "k": 4}) is is_free
