"""Faults that are known: a program that shows one is counted apart, for this reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import torch
from tests.fuzz.eager import CALLS
from tests.fuzz.judge import Judgement, Verdict
from tests.fuzz.program import Program, seed
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
Shows: TypeAlias = Callable[[Any, Any, Any, Any], bool]


@dataclass(frozen=True)
class Gap:
    """A verdict on programs that show something."""

    verdict: Verdict
    is_shown: Callable[[Program], bool]
    reason: str


class _Ops(TorchDispatchMode):
    """In here, it is noted whether an op is called as `shows(packet, args, kwargs, result)` says."""

    supports_higher_order_operators = True
    shown = False

    def __init__(self, shows: Shows) -> None:
        super().__init__()
        self.shows = shows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the op, and look at it."""
        result = func(*args, **(kwargs or {}))
        self.shown |= self.shows(getattr(func, "overloadpacket", None), args, kwargs or {}, result)
        return result


class _Functions(TorchFunctionMode):
    """The same of torch's functions."""

    shown = False

    def __init__(self, shows: Shows) -> None:
        super().__init__()
        self.shows = shows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the function, and look at it."""
        result = func(*args, **(kwargs or {}))
        self.shown |= self.shows(func, args, kwargs or {}, result)
        return result


def _shown_by(mode: type[_Ops | _Functions], shows: Shows) -> Callable[[Program], bool]:
    """Whether a program shows something at any of its sizes."""

    def is_shown(program: Program) -> bool:
        names: dict[str, Any] = {}
        exec(program.module, names)
        with mode(shows) as watch, torch.no_grad():
            for sizes in program.sizes:
                seed(0)
                with contextlib.suppress(Exception):
                    model, arguments = names["Model"]().eval(), program.makes(sizes)
                    for _ in range(CALLS):  # which may change what they are given
                        model(*arguments)
        return watch.shown

    return is_shown


def a_product_leaves_float16(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one leaves the range of its dtype, in any order of its factors."""
    if op not in (aten.prod, aten.cumprod) or result.dtype is not torch.float16:
        return False
    factors = args[0].double().abs()
    large, small = factors[factors > 1].prod(), factors[(factors > 0) & (factors < 1)].prod()
    limits = torch.finfo(torch.float16)
    return bool((large > limits.max) | (small < limits.tiny))


def a_similarity_leaves_float16(function: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether the squares in a similarity leave the range of its dtype."""
    if function is not torch.cosine_similarity or args[0].dtype is not torch.float16:
        return False
    squares = torch.cat([each.double().flatten() ** 2 for each in args[:2]])
    limits = torch.finfo(torch.float16)
    return bool(((squares > limits.max) | ((squares > 0) & (squares < limits.tiny))).any())


def a_value_leaves_float16(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one that is computed of finite numbers does."""
    if not isinstance(result, torch.Tensor) or result.dtype is not torch.float16 or not result.isinf().any():
        return False
    return all(each.isfinite().all() for each in args if isinstance(each, torch.Tensor))


def a_vector_is_crossed_with_itself(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one is."""
    return op is aten.linalg_cross and args[0].shape == args[1].shape and torch.equal(args[0], args[1])


def a_distance_comes_from_products_of_float16(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one does."""
    return op is aten._euclidean_dist and args[0].dtype is torch.float16


def a_mean_beside_a_variance_is_of_infinite_numbers(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one is."""
    return op in (aten.var_mean, aten.std_mean) and bool(args[0].isinf().any())


def a_norm_is_of_one_element(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether each row has one."""
    return op is aten.native_layer_norm and prod(args[1]) == 1


def a_sign_of_zero_is_asked(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one is."""
    return op is aten.signbit and bool((args[0] == 0).any())


def a_median_is_of_an_expanded_tensor(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one is."""
    return op in (aten.median, aten.nanmedian) and 0 in args[0].stride()


def a_convolution_is_of_no_images_of_nothing(op: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether a transposed one is."""
    return op is aten.convolution and args[6] and args[0].shape[0] == 0 and 0 in args[0].shape[2:]


def a_causal_attention_is_of_infinite_numbers(function: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether one is asked of numbers that are not finite."""
    is_causal = function is torch.nn.functional.scaled_dot_product_attention and kwargs.get("is_causal")
    return bool(is_causal) and not all(bool(each.isfinite().all()) for each in args[:3])


GAPS: tuple[Gap, ...] = (
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_product_leaves_float16),
        "a product of float16 that leaves its range on the way: torch computes and rounds it in float16 (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_value_leaves_float16),
        "a value of float16 that leaves its range on the way of a model: it is not rounded there (decisions 11, 33)",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Functions, a_similarity_leaves_float16),
        "squares of float16 that leave its range in a cosine similarity: torch computes them in float16 (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_vector_is_crossed_with_itself),
        "a vector crossed with itself: torch leaves the rounding of one of two equal products, which only it computes",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_distance_comes_from_products_of_float16),
        "distances of more than 25 rows of float16: torch takes them from products that it rounds, so that a row is "
        "not at 0 from itself",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_mean_beside_a_variance_is_of_infinite_numbers),
        "the mean that comes with a variance, of ±∞: NaN by Welford's steps, unless it comes last (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_norm_is_of_one_element),
        "a norm of one element: torch leaves the rounding of two equal products in place of 0, which only it computes",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_sign_of_zero_is_asked),
        "the sign of 0: a sum of -0 alone is 0 or -0, as it is summed (decision 11)",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Ops, a_median_is_of_an_expanded_tensor),
        "the median of an expanded tensor: torch 2.13 reads memory that is not the tensor's",
    ),
    Gap(
        Verdict.STOPPED,
        _shown_by(_Ops, a_convolution_is_of_no_images_of_nothing),
        "a transposed convolution of no images that have no elements: the runtime's kernel looks at the images first",
    ),
    Gap(
        Verdict.WRONG,
        _shown_by(_Functions, a_causal_attention_is_of_infinite_numbers),
        "a causal attention of NaN or ±∞: what a hidden key spoils hangs on the kernel's blocks (decision 11)",
    ),
)


def gap(program: Program, judgement: Judgement) -> str | None:
    """Why a failure is a known one; None where it is not."""
    for each in GAPS:
        if each.verdict is judgement.verdict and each.is_shown(program):
            return each.reason
    return None
