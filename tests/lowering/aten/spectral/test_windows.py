"""Window functions."""

import pytest
import torch
from tests.lowering.support import check

WINDOWS = ["hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"]


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name, length):
    window = getattr(torch, name)

    def function(x):
        return window(length) + x, window(length, periodic=False) + x

    check(function, torch.zeros(length), rtol=1e-5, atol=1e-6)
