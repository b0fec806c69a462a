"""What a model calls its tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors


class PartlyLazy(nn.Module):
    """Keeps a module that has no weights before its first call, and does not call it."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_lazy_module_that_is_not_called_is_no_matter() -> None:
    x, model = torch.randn(2, 4), PartlyLazy()
    torch.testing.assert_close(fxonnx.compile(model, (x,))(x), model.used(x))
    with pytest.raises(errors.CaptureRefused, match="parameters without sizes"):
        fxonnx.compile(model.unused, (x,))
