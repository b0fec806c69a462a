"""Faults that are known: a program that shows one is counted apart, for this reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tests.fuzz.judge import Judgement, Verdict
from tests.fuzz.program import Program, seed
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Gap:
    """A verdict on programs that show something."""

    verdict: Verdict
    is_shown: Callable[[Program], bool]
    reason: str


_PRODUCTS = (torch.ops.aten.prod, torch.ops.aten.cumprod)


class _Products(TorchDispatchMode):
    """In here, it is noted whether a product of float16 leaves the range of its dtype, in any order of its factors."""

    supports_higher_order_operators = True
    leave_range = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, and look at what it multiplies."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "overloadpacket", None) in _PRODUCTS and result.dtype is torch.float16:
            factors = args[0].double().abs()
            large, small = factors[factors > 1].prod(), factors[(factors > 0) & (factors < 1)].prod()
            limits = torch.finfo(torch.float16)
            self.leave_range |= bool((large > limits.max) | (small < limits.tiny))
        return result


def a_product_leaves_float16(program: Program) -> bool:
    """Whether one does, at any of the program's sizes."""
    names: dict[str, Any] = {}
    exec(program.module, names)
    with torch.no_grad(), _Products() as products:
        for sizes in program.sizes:
            seed(0)
            with contextlib.suppress(Exception):
                names["Model"]().eval()(*program.makes(sizes))
    return products.leave_range


GAPS: tuple[Gap, ...] = (
    Gap(
        Verdict.WRONG,
        a_product_leaves_float16,
        "a product of float16 that leaves its range on the way: torch computes and rounds it in float16 (decision 11)",
    ),
)


def gap(program: Program, judgement: Judgement) -> str | None:
    """Why a failure is a known one; None where it is not."""
    for each in GAPS:
        if each.verdict is judgement.verdict and each.is_shown(program):
            return each.reason
    return None
