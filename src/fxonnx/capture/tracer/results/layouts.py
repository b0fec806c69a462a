"""Memory layouts that torch's CPU kernels give their results, and its meta kernels do not.

How elements lie decides whether a later reshape is a view of them or a copy, and so what a write into it reaches.

    LAYOUTS[name](result, *arguments) -> the result's axes as they lie in memory, the outermost first
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fxonnx.capture.graph.views import hint_of
from fxonnx.capture.tracer.sizes.layout import is_channels_last_strides_2d, is_channels_last_strides_3d


def laid_out(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    """What a meta kernel returned, as the CPU's kernel lays it out; what is written into a place lies as that does."""
    layout = LAYOUTS.get(func.overloadpacket.__name__)
    if layout is None or func._schema.is_mutable:
        return result
    order = layout(result, *args, **kwargs)
    back = sorted(range(len(order)), key=order.__getitem__)
    return result.new_empty([result.shape[axis] for axis in order]).permute(back)


def _contiguous(result: Any, *arguments: Any, **options: Any) -> Sequence[int]:
    """Results that are always made contiguous."""
    return range(result.dim())


def _as_images(is_channels_last: bool, result: Any) -> Sequence[int]:
    rank = result.dim()
    return (*range(rank - 1)[:1], *range(2, rank), 1) if is_channels_last else range(rank)


def _as_input(result: Any, input: Any, *arguments: Any, **options: Any) -> Sequence[int]:
    """Channels last where the input is, else contiguous (torch's `suggest_memory_format`)."""
    return _as_images(_is_channels_last(input), result)


def _padded(result: Any, input: Any, amounts: Any, mode: str = "constant", value: Any = None) -> Sequence[int]:
    """Padding keeps the input's format, but for what is put together of parts of it."""
    return _as_images(mode != "circular" and _is_channels_last(input), result)


def _rolled(result: Any, input: Any, shifts: Any, dims: Sequence[int] = ()) -> Sequence[int]:
    """A roll along axes keeps the input's format; one of the flat tensor makes it contiguous."""
    return _as_images(bool(dims) and _is_channels_last(input), result)


def _convolved(result: Any, input: Any, weight: Any, *arguments: Any, **options: Any) -> Sequence[int]:
    """Channels last where the image or the weight is; float64 volumes, which oneDNN does not take, are contiguous."""
    if input.dim() < weight.dim():
        batched = _convolved(result.unsqueeze(0), input.unsqueeze(0), weight)
        return [axis - 1 for axis in batched if axis]
    is_slow = weight.dim() == 5 and input.dtype is torch.float64
    return _as_images(not is_slow and (_is_channels_last(input) or _is_channels_last(weight)), result)


def _as_clone(result: Any, input: Any, *arguments: Any, **options: Any) -> Sequence[int]:
    """In the order of the input's strides."""
    strides = [hint_of(stride) for stride in torch.empty_like(input).stride()]
    return sorted(range(len(strides)), key=lambda axis: (-strides[axis], axis))


def _as_terms(result: Any, input: Any, *arguments: Any, **options: Any) -> Sequence[int]:
    """A loss of each element as the input lies; one of all has no axes."""
    return _as_clone(result, input) if result.dim() else ()


def _as_a_sum(result: Any, input: Any, other: Any) -> Sequence[int]:
    """As any elementwise kernel of the two does."""
    return _as_clone(result, input + other)


def _is_channels_last(x: Any) -> bool:
    """Whether the strides of an image or a volume are in that order."""
    sizes, strides = ([hint_of(each) for each in numbers] for numbers in (x.shape, x.stride()))
    return is_channels_last_strides_2d(sizes, strides) or is_channels_last_strides_3d(sizes, strides)


LAYOUTS: dict[str, Callable[..., Sequence[int]]] = {
    **dict.fromkeys(
        ("conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "convolution", "_convolution"), _convolved
    ),
    **dict.fromkeys(
        ("batch_norm", "group_norm", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "reflection_pad2d",
        "reflection_pad3d", "replication_pad2d", "replication_pad3d"),
        _as_input,
    ),
    **dict.fromkeys(
        ("one_hot", "max_pool1d", "isin", "upsample_nearest1d", "_upsample_nearest_exact1d"), _contiguous
    ),
    "binary_cross_entropy": _as_terms,
    "pad": _padded,
    "roll": _rolled,
    "index_fill": _as_clone,
    "floor_divide": _as_a_sum,
}  # fmt: skip
