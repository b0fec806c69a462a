"""Loops beside sizes that no dim says: floats of sizes that the model rounds."""

import pytest
import torch
from torch import Tensor

import fxonnx

BOTH = {"x": {0: "n", 1: "h"}}


def of_another_size(x: Tensor) -> Tensor:
    kept = int(x.shape[1] * 0.3)
    state = torch.zeros(kept)
    for row in range(x.shape[0]):
        state = torch.tanh(state) + x[row, :kept]
    return state


def of_their_own_size(x: Tensor) -> Tensor:
    state = x.new_zeros(x.shape[1])
    for row in range(x.shape[0]):
        state = state * 0.5 + x[row]
    return state * x[: int(x.shape[0] * 0.3)]


def in_each_iteration(x: Tensor) -> Tensor:
    return torch.stack([x[row, : int(x.shape[1] * 0.3)].cumsum(0) for row in range(x.shape[0])])


def of_either_sign(x: Tensor) -> Tensor:
    state = x.new_zeros(x.shape[1])
    for row in range(x.shape[0]):
        state = state * 0.5 + x[row].roll(round(x.shape[1] * -0.3))
    return state


@pytest.mark.parametrize("model", [of_another_size, of_their_own_size, in_each_iteration, of_either_sign])
def test_floats_that_are_rounded_are_computed_beside_loops(model):
    compiled = fxonnx.compile(model, torch.randn(3, 10), dynamic_shapes=BOTH)
    for shape in [(3, 10), (1, 10), (4, 1), (8, 27), (2, 31)]:
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))


def of_two_roundings(x: Tensor) -> Tensor:
    kept, state = int(int(x.shape[1] * 0.7) * 0.3), x.new_zeros(())
    for row in range(x.shape[0]):
        state = state * 0.5 + x[row, kept:].sum()
    return state


def test_what_is_rounded_may_be_made_of_what_was_rounded():
    compiled = fxonnx.compile(of_two_roundings, torch.randn(3, 10), dynamic_shapes=BOTH)
    for shape in [(1, 10), (5, 23)]:
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), of_two_roundings(x))
