"""A default dtype other than float32: what is computed of whole numbers has it, as in eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx

OF_WHOLE: dict[str, Callable[[Tensor], Any]] = {
    "quotients": lambda i: (i / 3, i.true_divide(3), 1 / (i + 9), (i > 1) / 2, torch.stack([i, i]) / 7),
    "Python numbers": lambda i: (i * 0.1, 0.1**i, i + 1.5, (i > 1) * 0.1, torch.rsub(i, 0.1), i.clamp(0.1, 2.5)),
    "functions": lambda i: (i.exp(), i.sigmoid(), torch.atan2(i, i + 1), i.erf(), i.deg2rad(), (i * i).sqrt()),
    "choices": lambda i: (torch.where(i > 1, 0.1, 3), torch.where(i > 1, i, 0.1), torch.where(i > 1, i, 2)),
    "sizes": lambda i: (torch.arange(i.shape[0]) / 3, torch.tensor([i.shape[0] / 3]), torch.linspace(0, 1, i.shape[0])),
    "said dtypes": lambda i: (i.float() / 3, i.half() + 0.1, torch.softmax(i, 0, dtype=torch.float32)),
}


@pytest.fixture(autouse=True)
def of_64_bits() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", OF_WHOLE)
def test_what_is_computed_of_whole_numbers(name: str) -> None:
    model = OF_WHOLE[name]
    compiled = fxonnx.compile(model, (torch.tensor([1, 2, 3, -4]),), dynamic_shapes={"i": {0: "n"}})
    for i in (torch.tensor([1, 2, 3, -4]), torch.tensor([5]), torch.arange(9)):
        torch.testing.assert_close(compiled(i), model(i))
