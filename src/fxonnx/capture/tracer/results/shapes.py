"""The sizes of results that are no sizes of the arguments, as dims: windows of an image, axes put together,
frequencies. torch's own kernel checks them, on twins.

    SHAPE_FUNCTIONS[name](*arguments) -> the result's sizes     with a tuple of dims for each tensor among the arguments
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from fxonnx.ir.dims import Dim, product

Sizes: TypeAlias = tuple[Dim, ...]
Options: TypeAlias = Sequence[int]


def _conv(
    input: Sizes, weight: Sizes, bias: Any = None, stride: Options = (1,), padding: Options = (0,),
    dilation: Options = (1,), groups: int = 1,
) -> Sizes:  # fmt: skip
    return (*input[: -len(weight[2:])][:-1], weight[0], *_windows(input, weight[2:], stride, padding, dilation))


def _conv_transpose(
    input: Sizes, weight: Sizes, bias: Any = None, stride: Options = (1,), padding: Options = (0,),
    output_padding: Options = (0,), groups: int = 1, dilation: Options = (1,),
) -> Sizes:  # fmt: skip
    rank = len(weight) - 2
    options = (_each(option, rank) for option in (stride, padding, output_padding, dilation))
    sizes = (
        (size - 1) * s + d * (int(k) - 1) + more + 1 - 2 * p
        for size, k, s, p, more, d in zip(input[-rank:], weight[2:], *options, strict=True)
    )
    return (*input[: -rank - 1], weight[1] * groups, *sizes)


def _max_pool(rank: int) -> Callable[..., Sizes]:
    """The sizes of the greatest elements of windows over the last `rank` axes."""

    def rule(
        input: Sizes, kernel: Options, stride: Options = (), padding: Options = (0,), dilation: Options = (1,),
        ceil_mode: bool = False,
    ) -> Sizes:  # fmt: skip
        return _pooled(rank, input, kernel, stride, padding, dilation, ceil_mode)

    return rule


def _avg_pool(rank: int) -> Callable[..., Sizes]:
    """The sizes of means of windows over the last `rank` axes."""

    def rule(
        input: Sizes, kernel: Options, stride: Options = (), padding: Options = (0,), ceil_mode: bool = False,
        *rest: Any,
    ) -> Sizes:  # fmt: skip
        return _pooled(rank, input, kernel, stride, padding, (1,), ceil_mode)

    return rule


def _pooled(
    rank: int, input: Sizes, kernel: Options, stride: Options, padding: Options, dilation: Options, ceil_mode: bool
) -> Sizes:  # fmt: skip
    if ceil_mode:
        raise NotImplementedError("torch leaves out windows that begin in the padding")
    sizes = _windows(input, _each(kernel, rank), stride or kernel, padding, dilation)
    return (*input[:-rank], *sizes)


def _windows(
    input: Sizes, kernel: Sequence[Dim], stride: Options, padding: Options, dilation: Options
) -> Iterator[Dim]:  # fmt: skip
    """How many windows there are along each of the last axes."""
    rank = len(kernel)
    options = (_each(option, rank) for option in (stride, padding, dilation))
    for size, k, s, p, d in zip(input[-rank:], kernel, *options, strict=True):
        yield (size + 2 * p - d * (int(k) - 1) - 1) // s + 1


def _columns(input: Sizes, kernel: Options, dilation: Options, padding: Options, stride: Options) -> Sizes:
    windows = _windows(input, kernel, stride, padding, dilation)
    return (*input[:-3], input[-3] * math.prod(kernel), product(windows))


def _from_columns(input: Sizes, output_size: Sizes, kernel: Options, *rest: Any) -> Sizes:
    return (*input[:-2], input[-2] // math.prod(kernel), *output_size)


def _shuffled(input: Sizes, factor: int) -> Sizes:
    *outer, channels, height, width = input
    return (*outer, channels // (factor * factor), height * factor, width * factor)


def _each(option: Options, rank: int) -> Options:
    """An option for each axis, given as one for all of them."""
    return tuple(option) * rank if len(option) == 1 else option


def _cat(tensors: Sequence[Sizes], dim: int = 0) -> Sizes:
    sizes = list(tensors[0])
    for each in tensors[1:]:
        sizes[dim] = sizes[dim] + each[dim]
    return tuple(sizes)


def _stack(tensors: Sequence[Sizes], dim: int = 0) -> Sizes:
    first = tensors[0]
    at = dim % (len(first) + 1)
    return (*first[:at], len(tensors), *first[at:])


def _repeated(input: Sizes, times: Sizes) -> Sizes:
    sizes = (*(1,) * (len(times) - len(input)), *input)
    return tuple(map(operator.mul, sizes, times))


def _padded(input: Sizes, amounts: Sizes, *rest: Any) -> Sizes:
    sizes = list(input)
    for at, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        sizes[-1 - at] = sizes[-1 - at] + before + after
    return tuple(sizes)


def _unfolded(input: Sizes, axis: int, size: int, step: int) -> Sizes:
    return *_at(input, axis, (input[axis] - size) // step + 1), size


def _rfft(input: Sizes, n: Dim | None = None, dim: int = -1, norm: Any = None) -> Sizes:
    return _at(input, dim, (input[dim] if n is None else n) // 2 + 1)


def _irfft(input: Sizes, n: Dim | None = None, dim: int = -1, norm: Any = None) -> Sizes:
    return _at(input, dim, (input[dim] - 1) * 2 if n is None else n)


def _reshaped(input: Sizes, asked: Sizes) -> Sizes:
    """The sizes that are asked for, with the one that is left out. They come out for all sizes of the dims, or torch
    is asked."""
    unknown = [axis for axis, size in enumerate(asked) if isinstance(size, int) and size == -1]
    total, known = product(input), product(size for axis, size in enumerate(asked) if axis not in unknown)
    if len(unknown) > 1 or (total % known if unknown else total - known) != 0:
        raise ValueError(f"{input} does not fill {asked}")
    return tuple(total // known if axis in unknown else size for axis, size in enumerate(asked))


def _flattened(input: Sizes, start: int = 0, end: int = -1) -> Sizes:
    first, last = (axis % max(len(input), 1) for axis in (start, end))
    return (*input[:first], product(input[first : last + 1]), *input[last + 1 :])


def _unflattened(input: Sizes, axis: int, sizes: Sizes) -> Sizes:
    at = axis % len(input)
    return (*input[:at], *_reshaped(input[at : at + 1], sizes), *input[at + 1 :])


def _at(sizes: Sizes, axis: int, size: Dim) -> Sizes:
    return tuple(size if at == axis % len(sizes) else each for at, each in enumerate(sizes))


SHAPE_FUNCTIONS: dict[str, Callable[..., Sizes]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    **{f"max_pool{rank}d": _max_pool(rank) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": _avg_pool(rank) for rank in (1, 2, 3)},
    "im2col": _columns,
    "col2im": _from_columns,
    "pixel_shuffle": _shuffled,
    **dict.fromkeys(("view", "reshape"), _reshaped),
    "flatten": _flattened,
    "unflatten": _unflattened,
    "repeat": _repeated,
    **dict.fromkeys(("pad", "constant_pad_nd"), _padded),
    "unfold": _unfolded,
    "cat": _cat,
    "stack": _stack,
    "fft_rfft": _rfft,
    "fft_irfft": _irfft,
}
