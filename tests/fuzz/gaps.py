"""Faults that are known: a program that shows one is counted apart, for this reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tests.fuzz.judge import Judgement, Verdict
from tests.fuzz.program import Program, seed
from torch.overrides import TorchFunctionMode
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


class _Similarities(TorchFunctionMode):
    """In here, it is noted whether the squares in a similarity of float16 leave the range of its dtype."""

    leave_range = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, and look at what it multiplies."""
        if func is torch.cosine_similarity and args[0].dtype is torch.float16:
            squares = torch.cat([each.double().flatten() ** 2 for each in args[:2]])
            limits = torch.finfo(torch.float16)
            self.leave_range |= bool(((squares > limits.max) | ((squares > 0) & (squares < limits.tiny))).any())
        return func(*args, **(kwargs or {}))


class _Crosses(TorchDispatchMode):
    """In here, it is noted whether something is crossed with itself."""

    supports_higher_order_operators = True
    with_itself = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, and look at its operands."""
        if getattr(func, "overloadpacket", None) is torch.ops.aten.linalg_cross:
            self.with_itself |= args[0].shape == args[1].shape and torch.equal(args[0], args[1])
        return func(*args, **(kwargs or {}))


class _Medians(TorchDispatchMode):
    """In here, it is noted whether the median of an expanded tensor is asked for."""

    supports_higher_order_operators = True
    of_expanded = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, and look at its operand's memory."""
        if getattr(func, "overloadpacket", None) in (torch.ops.aten.median, torch.ops.aten.nanmedian):
            self.of_expanded |= 0 in args[0].stride()
        return func(*args, **(kwargs or {}))


_TRUTHS = (torch.ops.aten.eq, torch.ops.aten.ne, torch.ops.aten.lt, torch.ops.aten.le, torch.ops.aten.gt,
           torch.ops.aten.ge, torch.ops.aten.isin, torch.ops.aten.searchsorted, torch.ops.aten.bucketize)  # fmt: skip


class _Truths(TorchDispatchMode):
    """In here, it is noted whether numbers of 16 bits are compared."""

    supports_higher_order_operators = True
    of_16_bits = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, and look at its operands."""
        if getattr(func, "overloadpacket", None) in _TRUTHS:
            tensors = [each for each in args if isinstance(each, torch.Tensor)]
            self.of_16_bits |= any(each.dtype in (torch.float16, torch.bfloat16) for each in tensors)
        return func(*args, **(kwargs or {}))


class _Attentions(TorchFunctionMode):
    """In here, it is noted whether a causal attention is asked of numbers that are not finite."""

    of_infinite = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, and look at what it is asked of."""
        if func is torch.nn.functional.scaled_dot_product_attention and (kwargs or {}).get("is_causal"):
            self.of_infinite |= not all(bool(each.isfinite().all()) for each in args[:3])
        return func(*args, **(kwargs or {}))


def a_product_leaves_float16(program: Program) -> bool:
    """Whether one does, at any of the program's sizes."""
    with _Products() as products:
        _run(program)
    return products.leave_range


def a_similarity_leaves_float16(program: Program) -> bool:
    """Whether one does, at any of the program's sizes."""
    with _Similarities() as similarities:
        _run(program)
    return similarities.leave_range


def a_vector_is_crossed_with_itself(program: Program) -> bool:
    """Whether one is, at any of the program's sizes."""
    with _Crosses() as crosses:
        _run(program)
    return crosses.with_itself


def a_median_is_of_an_expanded_tensor(program: Program) -> bool:
    """Whether one is, at any of the program's sizes."""
    with _Medians() as medians:
        _run(program)
    return medians.of_expanded


def numbers_of_16_bits_are_compared(program: Program) -> bool:
    """Whether some are, at any of the program's sizes."""
    with _Truths() as truths:
        _run(program)
    return truths.of_16_bits


def a_causal_attention_is_of_infinite_numbers(program: Program) -> bool:
    """Whether one is, at any of the program's sizes."""
    with _Attentions() as attentions:
        _run(program)
    return attentions.of_infinite


def _run(program: Program) -> None:
    names: dict[str, Any] = {}
    exec(program.module, names)
    with torch.no_grad():
        for sizes in program.sizes:
            seed(0)
            with contextlib.suppress(Exception):
                names["Model"]().eval()(*program.makes(sizes))


GAPS: tuple[Gap, ...] = (
    Gap(
        Verdict.WRONG,
        a_product_leaves_float16,
        "a product of float16 that leaves its range on the way: torch computes and rounds it in float16 (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        a_similarity_leaves_float16,
        "squares of float16 that leave its range in a cosine similarity: torch computes them in float16 (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        a_vector_is_crossed_with_itself,
        "a vector crossed with itself: torch leaves the rounding of one of two equal products, which only it computes",
    ),
    Gap(
        Verdict.WRONG,
        a_median_is_of_an_expanded_tensor,
        "the median of an expanded tensor: torch 2.13 reads memory that is not the tensor's",
    ),
    Gap(
        Verdict.WRONG,
        numbers_of_16_bits_are_compared,
        "a comparison of 16-bit numbers: ONNX Runtime takes the casts between its nodes away (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        a_causal_attention_is_of_infinite_numbers,
        "a causal attention of NaN or ±∞: what a hidden key spoils hangs on the kernel's blocks (decision 11)",
    ),
)


def gap(program: Program, judgement: Judgement) -> str | None:
    """Why a failure is a known one; None where it is not."""
    for each in GAPS:
        if each.verdict is judgement.verdict and each.is_shown(program):
            return each.reason
    return None
