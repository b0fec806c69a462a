"""How much of a difference is rounding: the same program, run again with every float result off by an ulp or two.

Monte Carlo arithmetic (Parker 1997). What such runs scatter by says how well conditioned each element is, whatever
amplifies it: cancellation, a pole, a comparison, a floor of something that is nearly whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

RUNS, ULPS, MARGIN = 12, 4, 8


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# These only move values, or choose among them.
EXACT = _names(
    """alias as_strided cat clone copy detach diagonal expand fill flip gather index index_select masked_fill max min
    amax amin neg abs permute relu repeat reshape roll select slice sort split squeeze stack t topk transpose unbind
    unfold unsqueeze view where zero zeros ones full arange lift_fresh lift_fresh_copy eye tril triu constant_pad_nd
    maximum minimum clamp sign floor ceil round trunc scalar_tensor full_like zeros_like ones_like new_zeros new_ones
    empty randn _unsafe_view split_with_sizes scatter index_put max_pool2d_with_indices cummax cummin"""
)


# What these say of equal values, they say of no others: errors at random never make two equal.
COINCIDENCES = _names("eq ne lt le gt ge _unique2 unique_dim unique_consecutive searchsorted bucketize")


class Rounding(TorchDispatchMode):
    """In here, every float result of an op that computes is wrong by some units in the last place. For seed 0 what is
    equal but for them is equal instead."""

    supports_higher_order_operators = True

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, then shake what it returns."""
        name = func._schema.name.removeprefix("aten::").rstrip("_") if isinstance(func, OpOverload) else ""
        if self.seed == 0:
            args = pytree.tree_map_only(Tensor, shorter, args) if name in COINCIDENCES else args
            return func(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if name not in EXACT:
            pytree.tree_map_only(Tensor, partial(self.shake, is_sum=name.endswith("_window")), result)
        return result

    def shake(self, value: Tensor, *, is_sum: bool) -> None:
        """Change a tensor in its last places; one that a kernel sums up of numbers about 1, in those of 1."""
        if not value.dtype.is_floating_point or not value.numel() or 0 in value.stride():
            return
        noise = torch.rand(value.shape, generator=self.generator, dtype=torch.float64) * 2 - 1
        of = 1.0 if is_sum else value.double()
        value.copy_((value.double() + of * noise * ULPS * torch.finfo(value.dtype).eps).to(value.dtype))


def shorter(value: Tensor) -> Tensor:
    """A tensor with fewer places: 0.9999999 is 1."""
    if not value.dtype.is_floating_point:
        return value
    fraction, exponent = torch.frexp(value.double())
    unit = 2 * MARGIN * torch.finfo(value.dtype).eps
    return torch.ldexp((fraction / unit).round() * unit, exponent).to(value.dtype)


def explained(actual: Tensor, expected: Tensor, spread: Tensor) -> bool:
    """Whether all elements differ by no more than the tolerance and some times their spread."""
    one, other = actual.double(), expected.double()
    same = (one == other) | (one.isnan() & other.isnan()) | spread.isnan()
    limit = 1e-4 * (1 + other.abs()) if expected.dtype.is_floating_point else 0
    return bool((same | ((one - other).abs() <= limit + MARGIN * spread)).all())


def scatter(values: Sequence[Any]) -> Tensor:
    """By how much each element differs among runs; NaN where it is not finite in all, or the shapes differ."""
    first = values[0]
    if not isinstance(first, Tensor):
        return torch.tensor(0.0)
    if any(each.shape != first.shape for each in values):
        return torch.full(first.shape, torch.nan)
    stacked = torch.stack([each.double() for each in values])
    always = (stacked == stacked[0]).all(0) | stacked.isnan().all(0)
    return torch.where(always, 0.0, stacked.amax(0) - stacked.amin(0))
