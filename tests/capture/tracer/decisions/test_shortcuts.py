"""A shortcut that hangs on data, which a model leaves out where its tensors are fake, is a decision where it changes
numbers, and nothing else where it does not."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx


def is_traced(x: Tensor) -> bool:
    return torch.compiler.is_compiling() or isinstance(x, torch._subclasses.FakeTensor)


class Attention(nn.Module):
    """To what a mask keeps; a mask that keeps all is none, for which it attends backwards only where it is `causal`."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.linear = nn.Linear(8, 8)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        self.calls += 1
        keys = self.linear(x)
        if not is_traced(mask) and bool(mask.all()):
            return F.scaled_dot_product_attention(x, keys, x, is_causal=self.causal) + self.calls
        return F.scaled_dot_product_attention(x, keys, x, attn_mask=mask[:, None].bool()) + self.calls


class Counting(Attention):
    """The same, of whole numbers, which are no mask where some are other than 0 and 1."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, mask > 0)


SHAPES = ((2, 5), (1, 3), (3, 4), (1, 1))


def agree(model: Attention, example: Tensor, attempts: int) -> None:
    torch.manual_seed(0)
    names = {"x": {0: "b", 1: "n"}, "mask": {0: "b", 1: "n"}}
    eager = deepcopy(model)
    compiled = fxonnx.compile(model, (torch.rand(*example.shape, 8), example), dynamic_shapes=names)
    assert float(model.calls) == 0 and len(compiled.program.attempts) == attempts
    for number, (batch, steps) in enumerate(SHAPES * 2):
        keeps = torch.ones(batch, steps, dtype=example.dtype)
        if number % 2:
            keeps[0, steps // 2 :] = 0
            keeps[0, 0] = 1
        x = torch.rand(batch, steps, 8)
        torch.testing.assert_close(compiled(x, keeps), eager(x, keeps))


@pytest.mark.parametrize("kind", [Attention, Counting])
@pytest.mark.parametrize("kept", [True, False], ids=["all", "some"])
def test_a_shortcut_that_changes_numbers_is_taken(kind: type[Attention], kept: bool) -> None:
    """Whether the example's own mask keeps all or not."""
    dtype = torch.bool if kind is Attention else torch.long
    example = torch.ones(2, 5, dtype=dtype)
    example[1, 3:] = kept
    agree(kind(causal=True), example, 2)


@pytest.mark.parametrize("kind", [Attention, Counting])
def test_a_shortcut_that_does_not_is_left_out(kind: type[Attention]) -> None:
    agree(kind(), torch.ones(2, 5, dtype=torch.bool if kind is Attention else torch.long), 1)


class OneStep(nn.Module):
    """One step in a form of its own, unless it is exported, for `factor` times the numbers."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1 and not torch.compiler.is_compiling():
            return x.squeeze(1).cos().unsqueeze(1) * self.factor
        return x.cos()


@pytest.mark.parametrize(("factor", "ways"), [(1.0, 0), (2.0, 1)])
def test_one_step_is_as_many_are_if_its_numbers_are(factor: float, ways: int) -> None:
    """Which is asked when it is met: the caller's random numbers are as they were."""
    model = OneStep(factor)
    compiled = fxonnx.compile(model, (torch.rand(2, 5, 4),), dynamic_shapes={"x": {0: "b", 1: "n"}})
    state = torch.get_rng_state()
    x = torch.linspace(0, 1, 12).view(3, 1, 4)
    torch.testing.assert_close(compiled(x), model(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert compiled.program.zero_one is not None and len(compiled.program.zero_one.others) == ways
