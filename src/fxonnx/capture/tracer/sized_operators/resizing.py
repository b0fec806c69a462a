"""Images that are resized by factors made of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from fxonnx.capture.tracer.sized_operators.bodies import Sizes, each_of
from fxonnx.capture.tracer.sized_operators.pools import mean_pool
from fxonnx.ir.dims import modulo


def _interpolate(
    input: torch.Tensor, size: Sizes = None, scale_factor: Sizes = None, mode: str = "nearest",
    align_corners: Any = None, recompute_scale_factor: Any = None, antialias: bool = False,
) -> torch.Tensor:  # fmt: skip
    """To a size, where the factors lead to that without rest, or are computed of it; else by steps of 1 / factor."""
    is_pool = mode == "area" and input.dim() == 3  # which torch calls by a function that takes no sizes
    if size is not None:
        return mean_pool(input, size) if is_pool else NotImplemented
    factors = each_of(scale_factor, input.dim() - 2)
    scaled = [torch.sym_float(each) * factor for each, factor in zip(input.shape[2:], factors, strict=True)]
    sizes = [math.floor(each) for each in scaled]
    if is_pool:
        return mean_pool(input, sizes)
    if recompute_scale_factor or align_corners or all(map(_is_whole, scaled)):
        return F.interpolate(input, sizes, None, mode, align_corners, None, antialias)
    taps = _TAPS.get(mode)
    if taps is None or antialias:
        return NotImplemented
    for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True), start=2):
        step = torch.full((), 1 / factor, dtype=torch.float32, device=input.device)
        input = _resampled(input, axis, taps(torch.arange(size, dtype=torch.float32, device=input.device), step))
    return input


Taps = Sequence[tuple[torch.Tensor, torch.Tensor | None]]  # places along an axis, and how much of each is taken


def _resampled(x: torch.Tensor, axis: int, taps: Taps) -> torch.Tensor:
    """The elements at some places along an axis, of which none is beyond its ends, weighed and added."""
    total = None
    for places, weights in taps:
        read = x.index_select(axis, torch.clamp(places.to(torch.int64), 0, x.shape[axis] - 1))
        if weights is not None:
            read = read * weights.to(x.dtype).view(-1, *(1,) * (x.dim() - axis - 1))
        total = read if total is None else total + read
    assert total is not None
    return total


def _linear(index: torch.Tensor, step: torch.Tensor) -> Taps:
    place = torch.clamp((index + 0.5) * step - 0.5, min=0)
    first = torch.floor(place)
    return (first, 1 - (place - first)), (first + 1, place - first)


def _cubic(index: torch.Tensor, step: torch.Tensor) -> Taps:
    """Cubic convolution with a = -0.75 (Keys 1981)."""
    place = (index + 0.5) * step - 0.5
    first = torch.floor(place)
    after, a = place - first, -0.75
    distances = after + 1, after, 1 - after, 2 - after
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in distances]
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in distances]
    return tuple((first + at - 1, (far if at in (0, 3) else near)[at]) for at in range(4))


_TAPS: dict[str, Callable[[torch.Tensor, torch.Tensor], Taps]] = {
    "nearest": lambda index, step: [(torch.floor(index * step), None)],
    "nearest-exact": lambda index, step: [(torch.floor((index + 0.5) * step), None)],
    **dict.fromkeys(("linear", "bilinear", "trilinear"), _linear),
    "bicubic": _cubic,
}


def _is_whole(number: Any) -> bool:
    if isinstance(number, float):
        return number.is_integer()
    quotient = number.node.quotient if isinstance(number, torch.SymFloat) else None
    return quotient is not None and modulo(*quotient) == 0


RESIZING: dict[Any, Callable[..., Any]] = {F.interpolate: _interpolate}
