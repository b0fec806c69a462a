"""Loops over what data selects out of a fixed range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

COUNT = 3


class Experts(nn.Module):
    """Layers, each for the tokens that choose it, those that some token chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, COUNT)
        self.experts = nn.ModuleDict({f"expert_{number}": nn.Linear(4, 4) for number in range(COUNT)})

    def chosen(self, choices: Tensor) -> Any:
        """The numbers of the experts that are chosen."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        choices = self.router(x).argmax(-1)
        result = torch.zeros_like(x)
        for number in self.chosen(choices):
            (tokens,) = torch.where(choices == number)
            result = result.index_add(0, tokens, self.experts[f"expert_{int(number)}"](x[tokens]))
        return result


class Rows(Experts):
    def chosen(self, choices: Tensor) -> Any:
        return nn.functional.one_hot(choices, COUNT).sum(0).greater(0).nonzero()


class Places(Experts):
    def chosen(self, choices: Tensor) -> Any:
        return torch.nonzero(nn.functional.one_hot(choices, COUNT).sum(0), as_tuple=True)[0].tolist()


class Labels(Experts):
    def chosen(self, choices: Tensor) -> Any:
        return choices.view(-1, 1).int().unique()


class Numbered(Experts):
    def chosen(self, choices: Tensor) -> Any:
        return [number for at, number in enumerate(choices.unique().tolist()) if at < COUNT]


@pytest.mark.parametrize("kind", [Rows, Places, Labels, Numbered])
def test_each_number_is_a_decision(kind: type[Experts], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    compiled = fxonnx.compile(model, (torch.ones(2, 4),), dynamic_shapes=({0: "n"},))
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        for count in (2, 1, 0, 9, 1, 2):
            x = torch.randn(count, 4)
            torch.testing.assert_close(compiled(x), model(x))
            np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], model(x), rtol=1e-4, atol=1e-5)


def of_floats(x: Tensor) -> list[Tensor]:
    return [x * number for number in x.unique()]


def of_a_dim(x: Tensor) -> Tensor:
    return sum((x[number] for number in x.sum(1).nonzero()), torch.zeros(1, 4))


def of_several_axes(x: Tensor) -> Tensor:
    return sum((x[:1] * row for row in x.nonzero()[:, 0]), torch.zeros(1, 4))


def written_to(x: Tensor) -> Tensor:
    chosen = (x.sum(0) > 0).nonzero()
    chosen[0] = 3
    return sum((x[:, number] for number in chosen), torch.zeros(1))


def without_the_first(x: Tensor) -> Tensor:
    return sum((x[:, number] for number in (x.sum(0) > 0).nonzero()[1:]), torch.zeros(1))


def of_many(x: Tensor) -> Tensor:
    return sum((number for number in (x.sum() > torch.arange(99)).nonzero()), torch.zeros(1))


@pytest.mark.parametrize("model", [of_a_dim, of_several_axes, written_to, without_the_first, of_many])
def test_a_loop_over_what_is_no_selection_out_of_few_is_rolled_up(model: Any) -> None:
    compiled = fxonnx.compile(model, (torch.ones(2, 4),), dynamic_shapes=({0: "n"},))
    for count in (2, 3, 30):
        for x in (torch.ones(count, 4), torch.arange(count * 4.0).reshape(count, 4) - 2):
            torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("model", [of_floats])
def test_what_is_no_selection_out_of_few_is_refused(model: Any) -> None:
    with pytest.raises(errors.CaptureRefused, match="needs to know a size"):
        fxonnx.compile(model, (torch.ones(2, 4),), dynamic_shapes=({0: "n"},))
