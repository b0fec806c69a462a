"""einsum of tensors whose sizes vary, where opt_einsum says in which order its operands are contracted."""

from __future__ import annotations

import sys
from decimal import Decimal
from math import prod
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.capture.tracer.python.contraction_paths import MANY


class Costly(ModuleType):
    """Does what opt_einsum does: weighs plain numbers, and begins with the pair of operands of the fewest elements."""

    def __init__(self) -> None:
        super().__init__("opt_einsum")
        self.weighed: list[list[tuple[int, ...]]] = []

    def contract_path(self, subscripts: str, *operands: Any, optimize: Any = "auto", einsum_call: bool = False) -> Any:
        """(pairs of positions, what they cost)."""
        shapes = [tuple(each.shape) for each in operands]
        self.weighed.append(shapes)
        cost = Decimal(prod(prod(shape) for shape in shapes))
        steps, left = [], list(map(prod, shapes))
        while len(left) > 1:
            pair = sorted(sorted(range(len(left)), key=left.__getitem__)[:2])
            steps.append(tuple(pair))
            left = [size for at, size in enumerate(left) if at not in pair] + [prod(left[at] for at in pair)]
        return (operands if einsum_call else steps), cost


@pytest.fixture
def opt_einsum(monkeypatch: pytest.MonkeyPatch) -> Costly:
    """As if it were installed."""
    module = Costly()
    monkeypatch.setitem(sys.modules, "opt_einsum", module)
    monkeypatch.delitem(sys.modules, "opt_einsum.contract", raising=False)
    backend: Any = torch.backends.opt_einsum
    monkeypatch.setattr(backend.m, "_opt_einsum", module)
    monkeypatch.setattr(backend.m, "enabled", True)
    monkeypatch.setattr(backend.m, "is_available", lambda: True)  # its answer is kept
    return module


class Attending(nn.Module):
    """Three operands and four, `...`, an axis that is plain in one and a size in another, an axis of one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 5, 6))
        self.places = nn.Parameter(torch.randn(1, 4))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Sizes [b, n, 6], [b, n, n], [b, n] and [b, 4]."""
        kept = y[:, : int(y.shape[1] * 0.5) + 1]
        return (
            torch.einsum("b...d,b...e,deo->b...o", x, y, self.weight),
            torch.einsum("bnd, bmd, bme -> bnm", x, x, y),
            torch.einsum("bnd,nd,bme,deo->bn", x, self.places, kept, self.weight),
            torch.einsum("bnd,bne,deo", x, y, self.weight).sum(-1).sum(-1),
        )


def test_an_einsum_of_sizes_that_vary_is_captured(opt_einsum: Costly) -> None:
    """At sizes of which the order would be another one, 1 among them."""
    model, varying = Attending(), {"x": {0: "b", 1: "n"}, "y": {0: "b", 1: "n"}}
    found = opt_einsum.contract_path
    compiled = fxonnx.compile(model, (torch.randn(2, 3, 4), torch.randn(2, 3, 5)), dynamic_shapes=varying)
    assert opt_einsum.weighed, "the order is asked for"
    assert opt_einsum.contract_path == found, "it is put back"
    for b, n in ((2, 3), (1, 40), (70, 2), (3, 1)):
        given = torch.randn(b, n, 4), torch.randn(b, n, 5)
        with torch.no_grad():
            expected = model(*given)
        for one, other in zip(compiled(*given), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sizes_that_vary_count_as_many_and_plain_ones_as_they_are(opt_einsum: Costly) -> None:
    """So that the order is one for all of them."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        return torch.einsum("...d,de,ef->...f", x, y, torch.ones(5, 9))

    fxonnx.compile(model, (torch.randn(2, 4), torch.randn(4, 5)), dynamic_shapes={"x": {0: "b"}})
    assert [(MANY, 4), (4, 5), (5, 9)] in opt_einsum.weighed


def test_what_the_model_asks_itself_has_its_operands(opt_einsum: Costly) -> None:
    """opt_einsum.contract, which asks for steps and operands."""

    def model(x: Tensor) -> Tensor:
        (one, other), _ = sys.modules["opt_einsum"].contract_path("nd,md->nm", x, x * 2, einsum_call=True)
        return one @ other.T

    compiled = fxonnx.compile(model, (torch.randn(3, 4),), dynamic_shapes={"x": {0: "n"}})
    for n in (3, 1, 8):
        x = torch.randn(n, 4)
        torch.testing.assert_close(compiled(x), model(x))
