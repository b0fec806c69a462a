"""Draws of one model have nothing to do with each other, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.lowering.support import compiled_for_draws

X = torch.full((2000,), 5.0)


def in_two_loops(x: torch.Tensor) -> Any:
    return torch.poisson(x), torch.poisson(x)


def in_two_branches(x: torch.Tensor) -> Any:
    def drawn(x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)

    return tuple(torch.cond(total > 0, drawn, torch.neg, (x,)) for total in (x.sum(), x.mean()))


def beside_each_other(x: torch.Tensor) -> Any:
    return torch.rand_like(x), torch.rand_like(x)


def in_two_dropouts(x: torch.Tensor) -> Any:
    return torch.dropout(x, 0.5, True), torch.dropout(x, 0.5, True)


def in_two_masks(x: torch.Tensor) -> Any:
    return tuple(torch.native_dropout(x, 0.5, True)[1] for _ in range(2))


def in_two_trials(x: torch.Tensor) -> Any:
    return torch.bernoulli(x / 10), torch.bernoulli(x / 10)


def in_two_choices(x: torch.Tensor) -> Any:
    return tuple(torch.multinomial(x[:2].expand(2000, 2), 1).float().squeeze(1) for _ in range(2))


@pytest.mark.parametrize(
    "function",
    [in_two_loops, in_two_branches, beside_each_other, in_two_dropouts, in_two_masks, in_two_trials, in_two_choices],
)
def test_two_draws_are_not_correlated(function: Callable[..., Any]) -> None:
    drawn = torch.stack(compiled_for_draws(function, X)(X)).double()
    assert abs(torch.corrcoef(drawn)[0, 1]) < 0.1  # a standard error is 0.022


def test_first_numbers_are_not_alike() -> None:
    compiled = compiled_for_draws(lambda x: torch.stack([torch.rand(()) + 0 * x[0] for _ in range(8)]), X)
    assert compiled(X).std() > 0.05


def test_one_draw_alone_is_seeded_by_the_runtime() -> None:
    seeds = [node.attributes.get("seed") for node in compiled_for_draws(torch.rand_like, X).graph.nodes]
    assert not any(seeds)


def test_files_are_the_same_and_sessions_are_not(tmp_path: Path) -> None:
    first, second = (compiled_for_draws(beside_each_other, X) for _ in range(2))
    assert first.model_proto().SerializeToString() == second.model_proto().SerializeToString()
    assert not torch.equal(first(X)[0], second(X)[0])
