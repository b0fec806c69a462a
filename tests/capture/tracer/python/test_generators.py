"""Generators that forward makes or seeds give the same numbers at each call, in the file as in eager."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

ROWS = {"x": {0: "n"}}


class Made(nn.Module):
    """Draws in all the ways that there are, from a generator of the call's own."""

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        noise = torch.empty(5, 2).normal_(generator=generator)
        mask = torch.bernoulli(torch.full((5, 2), 0.4), generator=generator)
        order = torch.randperm(10, generator=generator).reshape(5, 2)
        noise += torch.normal(0.0, 1.0, (5, 2), generator=generator)
        noise[0] = x[0]  # what is drawn may be written to
        return x.sum(0) + noise * mask + order


class Unseeded(nn.Module):
    """A new generator has a fixed seed of torch's."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(2, generator=torch.Generator())


class Reseeded(nn.Module):
    """Keeps a generator, which is in the very state that forward sets."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(4)

    def forward(self, x: Tensor) -> Tensor:
        self.generator.manual_seed(4)
        return x * torch.rand(2, generator=self.generator) + torch.rand(2, generator=self.generator)


class BySize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0))


class ByData(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.bernoulli(x.sigmoid(), generator=torch.Generator().manual_seed(0))


class Kept(nn.Module):
    """Draws other numbers at each call, from a generator that was seeded once."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(x.shape, generator=self.generator)


class ByChance(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator()
        generator.seed()
        return x + torch.rand(x.shape, generator=generator)


@pytest.mark.parametrize("kind", [Made, Unseeded, Reseeded])
def test_seeded_numbers_are_constants(kind):
    model = kind()
    compiled = fxonnx.compile(model, (torch.randn(5, 2),), dynamic_shapes=ROWS)
    for rows in (5, 1, 8, 5):
        x = torch.randn(rows, 2)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("kind", [BySize, ByData])
def test_refused_where_no_constant_would_do(kind):
    with pytest.raises(errors.CaptureRefused, match=r"seeds torch's random numbers(.|\n)*test_generators.py"):
        fxonnx.compile(kind(), (torch.randn(5, 2),), dynamic_shapes=ROWS)


@pytest.mark.parametrize("kind", [Kept, ByChance])
def test_numbers_by_chance_are_drawn_at_each_call(kind):
    compiled = fxonnx.compile(kind(), (torch.zeros(50, 2),), dynamic_shapes=ROWS)
    assert not torch.equal(compiled(torch.zeros(50, 2)), compiled(torch.zeros(50, 2)))


@pytest.mark.parametrize("kind", [Kept, Reseeded])
def test_generators_are_left_as_they_were(kind):
    model = kind()
    before = model.generator.get_state()
    fxonnx.compile(model, (torch.randn(5, 2),), dynamic_shapes=ROWS)
    assert torch.equal(model.generator.get_state(), before)
