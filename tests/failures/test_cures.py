"""Cures that work: a model that is refused, the words of the cure, and the model as its reader writes it then, which
compiles and is right; what a cure says of the call, `dynamic_shapes` say."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

Model = Callable[[Tensor], Any]
ROWS = {"x": {0: "n"}}
BOTH = {"x": {0: "n", 1: "m"}}


@dataclass(frozen=True)
class Cure:
    """Words of a cure, the model that is told them, and what follows from them."""

    words: str
    refused: Model
    cured: Model
    dynamic: Any = None  # where the cure is about that
    shapes: tuple[tuple[int, int], ...] = ((8, 6), (5, 6), (1, 6), (12, 6))


class Counting(nn.Module):
    """Counts its calls in an attribute, or in a buffer."""

    def __init__(self, *, in_a_buffer: bool) -> None:
        super().__init__()
        self.calls: Any = 0
        if in_a_buffer:
            del self.calls
            self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Exchanging(nn.Module):
    """Gives its weight other values, by exchanging its memory or by a copy."""

    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.copies, self.linear = copies, nn.Linear(6, 6)
        self.kernel = nn.Parameter(torch.rand(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        if self.copies:
            self.linear.weight.copy_(self.kernel * 2)
        else:
            self.linear.weight.data = self.kernel * 2
        return self.linear(x)


class Running(nn.Module):
    """Adds up rows over its calls, in an attribute of the first one's or in a buffer."""

    def __init__(self, *, in_a_buffer: bool) -> None:
        super().__init__()
        self.total: Any = None
        if in_a_buffer:
            del self.total
            self.register_buffer("total", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        if self.total is None:
            self.total = torch.zeros(x.shape[1])
        self.total = self.total + x.sum(0)
        return x + self.total


class Decoding(nn.Module):
    """Goes on until it has enough; what it has stands in an attribute, or in a variable."""

    def __init__(self, *, in_attributes: bool) -> None:
        super().__init__()
        self.in_attributes = in_attributes

    def forward(self, x: Tensor) -> Tensor:
        found = x.sum(0)
        for _ in range(9):
            found = found + x.mean(0)
            if self.in_attributes:
                self.found = found
            if found.mean() > x.shape[0] / 2 + 3:
                break
        return found


def as_text(x: Tensor) -> Tensor:
    return x * len(f"{x.mean():.2f}")


def as_words(x: Tensor) -> Tensor:
    print(f"{x.mean():.2f}", end="\r")
    return x * 4


CURES: dict[str, Cure] = {
    "numpy": Cure(
        "compute with the size itself",
        lambda x: x * float(np.interp(x.shape[0], [0, 100], [0, 1])),
        lambda x: x * (x.shape[0] / 100),
    ),
    "a static dim": Cure(
        "leave the dim static",
        lambda x: x * float(np.interp(x.shape[1], [0, 100], [0, 1])),
        lambda x: x * float(np.interp(x.shape[1], [0, 100], [0, 1])),
        ROWS,
    ),
    "a factorial": Cure(
        "leave the dim static", lambda x: x * math.factorial(x.shape[1]), lambda x: x * math.factorial(x.shape[1]), ROWS
    ),
    "a number in the code": Cure(
        "use x.shape[…] or -1 instead of the number", lambda x: x.view(8, 2, 3), lambda x: x.view(-1, 2, 3)
    ),
    "two names": Cure(
        "give both dims one name",
        lambda x: x @ x,
        lambda x: x @ x,
        {"x": {0: "n", 1: "n"}},
        ((6, 6), (3, 3), (9, 9)),
    ),
    "text of a tensor": Cure("print or log it", as_text, as_words),
    "memory exchanged": Cure("write x.copy_(…) instead", Exchanging(copies=False), Exchanging(copies=True)),
    "an attribute that counts": Cure("", Counting(in_a_buffer=False), Counting(in_a_buffer=True)),
    "a state of the first call": Cure(
        "in a buffer (register_buffer) that __init__ makes", Running(in_a_buffer=False), Running(in_a_buffer=True)
    ),
    "many ways": Cure("in variables of forward", Decoding(in_attributes=True), Decoding(in_attributes=False)),
    "numpy of data": Cure(
        "compute with torch instead of numpy",
        lambda x: x + torch.from_numpy(np.interp(x.numpy(), [0.0, 1.0], [0.0, 2.0])),
        lambda x: x + x.double().clamp(0, 1) * 2,
    ),
    "a kernel of a size": Cure(
        "",
        lambda x: nn.functional.conv1d(x[None], x[:, None, : x.shape[1] // 2], groups=x.shape[0]),
        lambda x: nn.functional.conv1d(x[None], x[:, None, :3], groups=x.shape[0]),
        ROWS,
    ),
}


@pytest.mark.parametrize("name", CURES)
def test_a_cure_that_is_followed_cures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cure = CURES[name]
    asked = BOTH if cure.dynamic else ROWS
    with pytest.raises(errors.Error) as caught:
        fxonnx.compile(cure.refused, (torch.rand(cure.shapes[0]),), dynamic_shapes=asked)
    assert cure.words in str(caught.value), str(caught.value)
    reference = copy.deepcopy(cure.cured)  # has states of its own
    compiled = fxonnx.compile(cure.cured, (torch.rand(cure.shapes[0]),), dynamic_shapes=cure.dynamic or ROWS)
    with torch.no_grad():
        for shape in cure.shapes:
            x = torch.rand(shape)
            torch.testing.assert_close(compiled(x), reference(x), rtol=1e-4, atol=1e-5)
