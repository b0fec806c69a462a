"""Branches that the iterations of a loop call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

import fxonnx


def test_branches_in_a_loop_are_given_sizes() -> None:
    """A size is an operand of theirs."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        h = x[0]
        for t in range(x.shape[0]):
            h = torch.cond(h.sum() > 0, lambda h, y: h * 0.5 + len(y), lambda h, y: h - y.sum() * len(y), (h + x[t], y))
        return h

    compiled = fxonnx.compile(model, (torch.randn(4, 3), torch.randn(5)), dynamic_shapes={"x": {0: "t"}, "y": {0: "n"}})
    for length, size in [(4, 5), (7, 3), (2, 2), (1, 4), (9, 1)]:
        inputs = torch.randn(length, 3), torch.randn(size)
        torch.testing.assert_close(compiled(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)


def best_of_row(x: Tensor) -> Tensor:
    """Decides twice in each iteration, by sizes from data; the second decision stands in a branch of the first."""
    found = []
    for row in x:
        places = (row > 0.3).nonzero().squeeze(1)
        if places.numel() > 3:
            places = places[row[places].topk(3).indices]
        found.append(row[places].sum() if places.numel() else torch.zeros(()))
    return torch.stack(found)


def first_of_row(x: Tensor) -> Tensor:
    """What is selected is as long as data say in both ways; a row is taken anew where it is read."""
    found = []
    for i in range(x.shape[0]):
        places = (x[i] > 0.3).nonzero().squeeze(1)
        if places.numel() > 3:
            places = places[:3]
        found.append(x[i][places].sum() if places.numel() else x[i].mean())
    return torch.stack(found)


def carried_where_large(x: Tensor) -> Tensor:
    """A state that goes on in one way only."""
    state = x[0] * 0
    for row in x:
        if row.sum() > 0:
            state = torch.tanh(state + row)
    return state


@pytest.mark.parametrize("model", [best_of_row, first_of_row, carried_where_large], ids=lambda case: case.__name__)
def test_each_iteration_decides_by_data(model: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    compiled = fxonnx.compile(model, (torch.randn(3, 6),), dynamic_shapes={"x": {0: "b", 1: "t"}})
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for sizes in [(3, 6), (2, 4), (1, 5), (5, 9), (17, 3)]:
        for shift in (-9.0, 0.0, 0.5, 9.0):
            x = torch.randn(sizes) + shift
            torch.testing.assert_close(compiled(x), model(x))
            if sizes[0] > 1:  # of one row there is a program of its own
                found = session.run(None, {"x": x.numpy()})[0]  # what the model checks comes behind its results
                np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-5)
