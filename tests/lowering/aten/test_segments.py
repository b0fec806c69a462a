"""Reductions of neighbouring slices."""

import pytest
import torch
from tests.lowering.support import check

LENGTHS = torch.tensor([2, 0, 3])
OFFSETS = torch.tensor([0, 2, 2, 4])  # the last row is in no segment


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "max", "min"])
def test_segments(reduce):
    x = torch.randn(5, 3)
    x[3, 1] = torch.nan

    def reduced(x, lengths, offsets):
        return (
            torch.segment_reduce(x, reduce, lengths=lengths),
            torch.segment_reduce(x, reduce, lengths=lengths, initial=1.5),
            torch.segment_reduce(x, reduce, offsets=offsets, initial=-2.0),
        )

    dynamic = {"x": {1: "m"}, "lengths": {0: "k"}, "offsets": {0: "e"}}
    again = torch.randn(5, 2), torch.tensor([5]), torch.tensor([1, 5])
    check(reduced, x, LENGTHS, OFFSETS, dynamic=dynamic, again=again)


def test_segments_of_an_inner_axis():
    x, lengths = torch.randn(2, 5, 3), torch.tensor([[2, 3], [1, 4]])
    check(lambda x, lengths: torch.segment_reduce(x, "mean", lengths=lengths, axis=1), x, lengths, opset=13)


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("initial", [None, 0.5])
def test_gradients(reduce, initial):
    def gradient(data, lengths):
        def loss(data):
            found = torch.segment_reduce(data, reduce, lengths=lengths, axis=0, unsafe=True, initial=initial)
            weights = torch.arange(found.numel()).reshape(found.shape) - 2.5
            return (torch.where(found.isfinite(), found, 0.0) * weights).sum()

        with torch.enable_grad():
            data = data.detach().requires_grad_()
            return torch.autograd.grad(loss(data), data)[0]

    data = torch.tensor([[1.0, 2], [0, 3], [0, 3], [4, 3], [-5, 0]])
    check(gradient, data, torch.tensor([2, 0, 3]))
