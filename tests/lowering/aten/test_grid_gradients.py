"""Gradients of what has been sampled at the places of a grid: they are eager's, also at edges and mirrors."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from tests.lowering.support import check

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
EDGES = torch.tensor([-1.0, 1, 0, 1, -1, 0, -0.5, 0.5])


def gradients(mode, padding, align_corners):
    def of(x, grid):
        sampled = torch.func.grad(
            lambda x, grid: (F.grid_sample(x, grid, mode, padding, align_corners) ** 2).sum(), argnums=(0, 1)
        )
        return sampled(x, grid)

    return of


def places(*shape):
    """Places inside and far outside, and some at edges and centres."""
    grid = torch.rand(shape) * 5 - 2.5
    grid.view(-1)[: len(EDGES)] = EDGES
    return grid


@pytest.mark.parametrize(("mode", "padding", "align_corners"), [*product(MODES, PADDINGS, (False, True))])
def test_images(mode, padding, align_corners):
    found = gradients(mode, padding, align_corners)
    check(found, torch.randn(2, 3, 4, 5), places(2, 3, 2, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "padding"), [*product(MODES[:2], PADDINGS)])
def test_volumes(mode, padding):
    check(gradients(mode, padding, False), torch.randn(2, 3, 4, 5, 3), places(2, 3, 2, 2, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_an_axis_of_one(padding, align_corners):
    found = gradients("bilinear", padding, align_corners)
    check(found, torch.randn(1, 2, 1, 3), places(1, 3, 2, 2), rtol=1e-4, atol=1e-4)


def test_sizes_may_vary():
    sizes, again = {"x": {0: "n", 2: "h"}, "grid": {0: "n", 1: "p"}}, (torch.randn(4, 3, 7, 5), places(4, 5, 2, 2))
    found = gradients("bilinear", "reflection", False)
    check(found, torch.randn(2, 3, 4, 5), places(2, 3, 2, 2), dynamic=sizes, again=again, rtol=1e-4, atol=1e-4)
