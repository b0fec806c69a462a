"""Ops on lists of tensors: the same as for each tensor alone, written to new tensors or in place, at any size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import fxonnx
from fxonnx import errors

NUMBERS = [0.5, 2.0]
FUNCTIONS: dict[str, Callable[[list[torch.Tensor], list[torch.Tensor]], Any]] = {
    "of one list": lambda xs, ys: torch._foreach_exp(xs),
    "with a number": lambda xs, ys: torch._foreach_pow(xs, 2),
    "with a number each": lambda xs, ys: torch._foreach_mul(xs, NUMBERS),
    "with a tensor of no dims": lambda xs, ys: torch._foreach_div(xs, ys[0].abs().sum() + 1),
    "of two lists": lambda xs, ys: torch._foreach_sub(xs, ys, alpha=3),
    "of three lists": lambda xs, ys: torch._foreach_addcmul(xs, ys, ys, value=0.5),
    "of three lists and a number each": lambda xs, ys: torch._foreach_addcdiv(xs, xs, torch._foreach_exp(ys), NUMBERS),
    "of three lists and a tensor of numbers": lambda xs, ys: torch._foreach_addcmul(xs, ys, ys, torch.tensor(NUMBERS)),
    "between": lambda xs, ys: torch._foreach_lerp(xs, ys, 0.25),
    "a number to the power of each": lambda xs, ys: torch._foreach_pow(2.0, xs),
    "the greater": lambda xs, ys: torch._foreach_maximum(xs, 0.1),
    "the smaller of one each": lambda xs, ys: torch._foreach_minimum(xs, NUMBERS),
    "the smaller of two": lambda xs, ys: torch._foreach_minimum(xs, ys),
    "norms": lambda xs, ys: torch._foreach_norm(xs, 1, dtype=torch.float64),
    "sums of powers": lambda xs, ys: torch._foreach_powsum(xs, 2),
    "extrema": lambda xs, ys: torch._foreach_max(xs),
    "copied": lambda xs, ys: torch._foreach_clone(xs),
    "divided by the norm of all": lambda xs, ys: torch._foreach_div(xs, torch.stack(torch._foreach_norm(xs)).norm()),
}


def _given(*sizes: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return tuple([torch.randn(size, 3) for size in sizes] for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_tensor_of_a_list(name: str) -> None:
    function = FUNCTIONS[name]
    compiled = fxonnx.compile(function, _given(2, 5), dynamic_shapes="auto")
    for given in (_given(2, 5), _given(4, 1)):
        torch.testing.assert_close(list(compiled(*given)), list(function(*given)))


class Averaged(nn.Module):
    """Keeps an average of what it is given, and gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.zeros(3))
        self.register_buffer("other", torch.ones(2, 2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        """Of two tensors."""
        kept = [self.one, self.other]
        torch._foreach_mul_(kept, 0.75)
        torch._foreach_add_(kept, [x, y], alpha=0.25)
        return torch._foreach_neg(kept)


def test_what_is_written_in_place_stays() -> None:
    model, given = Averaged(), (torch.randn(3), torch.randn(2, 2))
    compiled = fxonnx.compile(copy.deepcopy(model), given)
    for _ in range(3):
        torch.testing.assert_close(list(compiled(*given)), list(model(*given)))


@pytest.mark.parametrize("foreach", [False, True])
def test_results_written_into_a_list(foreach: bool) -> None:
    def written(x: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> Any:
        if foreach:
            torch._foreach_sin([x[0], x[1]])
            torch.ops.aten._foreach_add.Scalar_out([x[0], x[1]], 1, out=[first, second])
        else:
            torch.unbind_copy(x, out=[first, second])
        return first + second

    given = torch.randn(2, 3), torch.zeros(3), torch.zeros(3)
    compiled = fxonnx.compile(written, given)
    ours, theirs = ([each.clone() for each in given] for _ in range(2))
    torch.testing.assert_close(compiled(*ours), written(*theirs))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "refused",
    [
        lambda x: torch._foreach_add([x], [x, x]),
        lambda x: torch._foreach_mul([x, x], [1.0]),
        lambda x: torch._foreach_addcmul([x], [x, x], [x]),
    ],
)
def test_lists_of_other_lengths_are_refused_as_torch_does(refused: Callable[[torch.Tensor], Any]) -> None:
    x = torch.rand(2)
    with pytest.raises(RuntimeError, match="list") as eager:
        refused(x)
    with pytest.raises(errors.ModelRaised) as ours:
        fxonnx.compile(refused, (x,))
    assert str(eager.value).partition(",")[0] in str(ours.value)
