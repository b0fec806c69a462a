"""Loops whose first iterations ask more of their numbers than the rest: the bodies begin where the model's do."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx

SIZES = [(3, 5, 6), (1, 4, 3), (2, 1, 1), (6, 5, 7)]


def places(mask: Tensor) -> Tensor:
    return torch.nonzero(mask).flatten()


def filled_up(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    found = []
    for i in range(x.shape[0]):
        row = y[i : i + 1, places(mask[i])]
        found.append(F.pad(row, (0, 0, 0, y.size(1) - row.size(1))))
    return torch.cat(found)


def summed(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Two parts by the number of the iteration, of which the first is compared with what there is."""
    found = []
    for i in range(x.shape[0]):
        kept = places(mask[i][None, :].flatten())
        found.append(torch.cat([x[i : i + 1], y[i : i + 1, kept]], 1).sum(1))
    return torch.cat(found)


def attention(x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """What is masked takes no part, and stands as zeros behind what does."""
    total, found = x.size(1) + y.size(1), []
    for i in range(x.shape[0]):
        kept = places(mask[i][None, :].flatten())
        both = torch.cat([x[i : i + 1], y[i : i + 1, kept]], dim=1)
        seen = F.scaled_dot_product_attention(both, both, both)
        found.append(F.pad(seen, (0, 0, 0, total - seen.size(1))))
    return torch.cat(found).split_with_sizes((x.size(1), y.size(1)), dim=1)


class Model(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor, mask: Tensor):
        return self.function(x, y, mask)


def example(batch: int, length: int, masked: int) -> tuple[Tensor, ...]:
    return torch.randn(batch, length, 4), torch.randn(batch, masked, 4), torch.rand(batch, masked) > 0.4


@pytest.mark.parametrize("function", [filled_up, summed, attention])
@pytest.mark.parametrize("dims", [("b",), ("b", "n", "m")], ids=["batch", "batch and lengths"])
def test_rows_of_sizes_of_their_own(function, dims):
    batch, *lengths = dims
    n, m = ({1: each} for each in lengths) if lengths else ({}, {})
    shapes = {"x": {0: batch} | n, "y": {0: batch} | m, "mask": {0: batch} | m}
    model = Model(function)
    compiled = fxonnx.compile(model, example(*SIZES[0]), dynamic_shapes=shapes)
    for batch_size, length, masked in SIZES:
        given = example(batch_size, length, masked) if lengths else example(batch_size, *SIZES[0][1:])
        torch.testing.assert_close(compiled(*given), model(*given))


class Scaled(nn.Module):
    """Computes a root of sizes that are not the loop's, which says nothing of an iteration."""

    def forward(self, x: Tensor) -> Tensor:
        scale = (64 / (x.shape[1] * x.shape[2])) ** 0.5
        return torch.stack([row[row[:, 0] > 0].sum(0) * scale for row in x])


def test_roots_of_other_sizes():
    compiled = fxonnx.compile(Scaled(), (torch.randn(3, 5, 6),), dynamic_shapes={"x": {0: "b", 1: "n", 2: "m"}})
    for size in [(3, 5, 6), (1, 4, 3), (2, 1, 1), (7, 3, 9)]:
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), Scaled()(x))
