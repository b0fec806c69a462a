"""Pools whose windows are as long as a size, or that make as many windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from fxonnx.capture.tracer.sized_operators.bodies import Sizes, each_of, is_size
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.sizes.twins import twin

aten = torch.ops.aten
_NN: Any = torch._C._nn  # the functions of torch.nn.functional that are written in C++


def _pool(rank: int, func: Any, reduce: str, x: torch.Tensor, kernel: Any, stride: Any, padding: Any, rest: Any) -> Any:
    """A pool whose windows are as long as an axis, or stand side by side: these are reductions."""
    kernels, paddings = each_of(kernel, rank), each_of(padding, rank)
    strides = kernels if stride is None or stride == [] else each_of(stride, rank)
    for at in range(rank):
        axis = at - rank
        if not is_size(kernels[at]) and not is_size(strides[at]):
            continue
        windows = _windows(x, axis, kernels[at], strides[at])
        if windows is None or paddings[at] != 0:
            return NotImplemented
        x = getattr(windows, reduce)(axis)
        kernels[at] = strides[at] = 1
    return func(x, kernels, strides, paddings, **rest)


def _windows(x: torch.Tensor, axis: int, kernel: Any, stride: Any) -> torch.Tensor | None:
    """An axis as windows and what is in them, which is last of the two: None where windows overlap or leave gaps."""
    size = x.shape[axis]
    if dim_of(kernel) == dim_of(size):
        return x.unsqueeze(axis - 1)
    if dim_of(kernel) != dim_of(stride):
        return None
    count = size // kernel
    return x.narrow(axis, 0, count * kernel).unflatten(axis, (count, kernel))


def _max_pool(rank: int, func: Any) -> Callable[..., Any]:
    def pool(
        input: torch.Tensor, kernel_size: Sizes, stride: Sizes = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        if ceil_mode or return_indices or set(each_of(dilation, rank)) != {1}:
            return NotImplemented
        return _pool(rank, func, "amax", input, kernel_size, stride, padding, {})

    return pool


def _avg_pool(rank: int, func: Any) -> Callable[..., Any]:
    def pool(
        input: torch.Tensor, kernel_size: Sizes, stride: Sizes = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Any:  # fmt: skip
        if ceil_mode or divisor_override is not None:
            return NotImplemented
        rest = {"count_include_pad": count_include_pad}
        return _pool(rank, func, "mean", input, kernel_size, stride, padding, rest)

    return pool


def _adaptive(rank: int, op: Any, results: Any = slice(None)) -> Callable[..., Any]:
    """A pool of as many windows as are wanted, by the op's twin, which takes a size for that; all its results, or
    one."""

    def pool(input: torch.Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
        wanted = zip(each_of(output_size, rank), input.shape[-rank:], strict=True)
        found = twin(op)(input, [size if count is None else count for count, size in wanted])
        return found if return_indices else found[results]

    return pool


mean_pool = _adaptive(1, aten.adaptive_avg_pool1d.default, ...)


def _power_pool(rank: int, mean: Callable[..., Any]) -> Callable[..., Any]:
    """The root of the sum of powers in each window."""

    def pool(
        input: torch.Tensor, norm_type: Any, kernel_size: Sizes, stride: Sizes = None, ceil_mode: bool = False
    ) -> Any:
        means = _avg_pool(rank, mean)(input.pow(norm_type), kernel_size, stride, ceil_mode=ceil_mode)
        if means is NotImplemented:
            return means
        sums = torch.sign(means) * F.relu(means.abs()) * math.prod(each_of(kernel_size, rank))
        return sums.pow(1 / norm_type)

    return pool


POOLS: dict[Any, Callable[..., Any]] = {
    torch.max_pool1d: _max_pool(1, torch.max_pool1d),
    torch.max_pool2d: _max_pool(2, torch.max_pool2d),
    torch.max_pool3d: _max_pool(3, torch.max_pool3d),
    torch.avg_pool1d: _avg_pool(1, torch.avg_pool1d),
    _NN.avg_pool2d: _avg_pool(2, _NN.avg_pool2d),
    _NN.avg_pool3d: _avg_pool(3, _NN.avg_pool3d),
    F.max_pool1d: _max_pool(1, torch.max_pool1d),
    F.max_pool2d: _max_pool(2, torch.max_pool2d),
    F.max_pool3d: _max_pool(3, torch.max_pool3d),
    F.lp_pool1d: _power_pool(1, torch.avg_pool1d),
    F.lp_pool2d: _power_pool(2, _NN.avg_pool2d),
    F.lp_pool3d: _power_pool(3, _NN.avg_pool3d),
    torch.adaptive_avg_pool1d: mean_pool,
    F.adaptive_max_pool1d: _adaptive(1, aten.adaptive_max_pool1d.default, 0),
    F.adaptive_max_pool2d: _adaptive(2, aten.adaptive_max_pool2d.default, 0),
    F.adaptive_max_pool3d: _adaptive(3, aten.adaptive_max_pool3d.default, 0),
    F.adaptive_max_pool1d_with_indices: _adaptive(1, aten.adaptive_max_pool1d.default),
    F.adaptive_max_pool2d_with_indices: _adaptive(2, aten.adaptive_max_pool2d.default),
    F.adaptive_max_pool3d_with_indices: _adaptive(3, aten.adaptive_max_pool3d.default),
    torch.adaptive_max_pool1d: _adaptive(1, aten.adaptive_max_pool1d.default),
}
