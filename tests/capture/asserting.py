"""Models that check their data, and models that decide by it; not in a file of tests, where pytest rewrites `assert`
statements anew."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def compare(x: Tensor) -> Tensor:
    assert (x >= 0).all(), "negative"
    return x.sqrt()


def conjunction(x: Tensor) -> Tensor:
    assert x is not None and 0 <= x.min() <= 1 and not x.isnan().any(), "out of range"
    return x * 2


def each_of_several(x: Tensor) -> Tensor:
    assert all((part >= 0).all() for part in (x, x * 2))
    return x * 2


def last_alternative(x: Tensor) -> Tensor:
    assert x.dim() == 2 or (x >= 0).all(), "negative"
    return x * 2


def number(x: Tensor) -> Tensor:
    assert x.min().item() >= 0.1 and bool((x < 2).all())
    return x * 2


def raises(x: Tensor) -> Tensor:
    limit = 2
    if x.dim() > 4 or (x < 0).any():
        raise ValueError(f"below 0 or above {limit}: {x.min()}")
    if (x > limit).any():
        raise ValueError("above")
    return x * 2


def raises_at_last(x: Tensor) -> Tensor:
    if (x >= 0).all():
        x = x * 2
    else:
        print("refused")
        raise RuntimeError("negative")
    return x


def of_lists(x: Tensor) -> Tensor:
    assert list(x.shape) == [(x >= 0).sum()], "some are negative"
    if [x.shape[0], 1] != [(x >= 0).sum(), 1]:
        raise ValueError("never said")
    return x * 2


def in_a_function(x: Tensor) -> Tensor:
    require((x >= 0).all(), "negative")
    return x * 2


def require(condition: Any, message: str) -> None:
    if not condition:
        raise ValueError(message)


def of_torch(x: Tensor) -> Tensor:
    torch._assert((x > -1).all(), "negative")
    torch._assert_async((x < 9).all(), "nine")
    torch._check_tensor_all(x >= 0, lambda: f"{x.shape[0]} numbers, some negative: {x}")
    return x * 2


def of_torch_as_truths(x: Tensor) -> Tensor:
    torch._check(bool((x >= 0).all()), lambda: f"negative, {x.min()}")
    torch._check_value(not (x > 9).any() and x.sum().item() < 20, lambda: "above")
    torch._assert(bool(x.min() < 5), "five")
    return x * 2


def of_a_loss(x: Tensor) -> Tensor:
    return torch.nn.functional.gaussian_nll_loss(x, x * 2, x)


def of_a_distribution(x: Tensor) -> Tensor:
    return torch.distributions.Normal(x, x, validate_args=True).log_prob(x)


def selected(x: Tensor) -> Tensor:
    kept = x[x > 0]
    torch._check(kept.shape[0] <= 4, lambda: f"too many, {kept.shape[0]}")
    torch._check(kept.shape[0] > 0)
    assert (kept < 5).all(), "five"
    return kept * 2


# ── decisions ────────────────────────────────────────


def decides(x: Tensor) -> Tensor:
    if (x > 0).all():
        x = x * 2
    return x


def returns(x: Tensor) -> Tensor:
    if (x < 0).any():
        if x.sum() > 0:
            return x
        raise ValueError("negative")
    return x * 2


def catches(x: Tensor) -> Tensor:
    try:
        assert (x >= 0).all()
    except AssertionError:
        x = -x
    return x * 2


def first_alternative(x: Tensor) -> Tensor:
    assert (x >= 0).all() or (x < 0).all()
    return x * 2


def counts(x: Tensor) -> Tensor:
    assert x.sum().item() in (1, 2)
    return x * 2


def chooses(x: Tensor) -> Tensor:
    assert max(x[0], x[1]) > 0
    return x * 2
