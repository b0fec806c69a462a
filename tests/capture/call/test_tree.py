"""A Python number of the example is part of what was captured: a call must bring the same, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fxonnx.capture.call.tree import Constant

NUMBERS = (0, 1, 0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, False, True, 0j, complex(0.0, -0.0), "0", b"0", (0,))


@pytest.mark.parametrize("captured", NUMBERS, ids=repr)
def test_a_number_matches_itself_alone(captured: Any) -> None:
    assert [repr(each) for each in NUMBERS if Constant(captured).matches(each)] == [repr(captured)]
