"""What stands around a model without computing anything leaves no trace: neither in values nor in names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx.capture.wrappers import unwrapped, without_wrappers


class Part(nn.Module):
    """A part, a function and a head."""

    def __init__(self, part: nn.Module, function: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.part, self.function, self.head = part, function, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.part(x)))

    def encode(self, x: Tensor) -> Tensor:
        return self.part(x) * 2


@torch.compile
def bump(x: Tensor) -> Tensor:
    return (x * 3).sin() + 1


def compiled_by_method() -> nn.Module:
    model = Part(nn.Linear(3, 4))
    model.compile()
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "whole": lambda: torch.compile(Part(nn.Linear(3, 4))),
    "twice": lambda: torch.compile(torch.compile(Part(nn.Linear(3, 4)))),
    "part": lambda: Part(torch.compile(nn.Linear(3, 4))),
    "method": compiled_by_method,
    "function in forward": lambda: Part(nn.Linear(3, 4), bump),
    "bound method": lambda: torch.compile(Part(nn.Linear(3, 4)).encode),
    "parallel": lambda: nn.DataParallel(torch.compile(Part(nn.Linear(3, 4)))),
}


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
@pytest.mark.parametrize("name", MODELS)
def test_the_model_inside_is_what_is_compiled(name: str) -> None:
    model = MODELS[name]()
    plain = unwrapped(model)
    compiled = fxonnx.compile(model, torch.randn(2, 3), dynamic_shapes={"x": {0: "batch"}})
    with torch.compiler.set_stance("force_eager"):
        for batch in (2, 5, 1):
            x = torch.randn(batch, 3)
            torch.testing.assert_close(compiled(x), plain(x).detach())
    assert {weight.key for weight in compiled.program.weights.values()} >= {"part.weight", "part.bias"}


def test_a_compiled_function_is_taken_as_it_was_written() -> None:
    x = torch.randn(4)
    compiled = fxonnx.compile(bump, x, dynamic_shapes={"x": {0: "n"}})
    torch.testing.assert_close(compiled(x[:3]), (x[:3] * 3).sin() + 1)


def test_paths_lose_only_the_levels_that_wrappers_add() -> None:
    assert without_wrappers("_orig_mod.layers.0._orig_mod.weight") == "layers.0.weight"
    assert without_wrappers("my_orig_mod.weight") == "my_orig_mod.weight"


def test_ranges_for_a_profiler_compute_nothing() -> None:
    def model(x: Tensor) -> Tensor:
        with torch.profiler.record_function("outer"), torch.autograd.profiler.record_function("inner"):
            return x * 2

    compiled = fxonnx.compile(model, torch.ones(3))
    assert [node.op for node in compiled.graph.nodes] == ["Mul"]
