"""Every test draws the same matrices, whichever ran before it: eager's own errors grow with what is drawn."""

import pytest
import torch


@pytest.fixture(autouse=True)
def same_matrices():
    """Begin the random numbers anew."""
    torch.manual_seed(0)
