"""Shape functions, for results whose sizes are no sizes of the arguments: windows of an image, axes put together,
frequencies. The concrete meta probe checks them by torch's own meta kernel.

    SHAPE_FUNCTIONS[name](*arguments) -> the result's shape     with its shape for each tensor among the arguments
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from fxonnx.ir.dims import Dim, Shape, ceil_divide, product

Options: TypeAlias = Sequence[int]


def _conv(
    input: Shape, weight: Shape, bias: Any = None, stride: Options = (1,), padding: Options = (0,),
    dilation: Options = (1,), groups: int = 1,
) -> Shape:  # fmt: skip
    return (*input[: -len(weight[2:])][:-1], weight[0], *windows(input, weight[2:], stride, padding, dilation))


def _conv_transpose(
    input: Shape, weight: Shape, bias: Any = None, stride: Options = (1,), padding: Options = (0,),
    output_padding: Options = (0,), groups: int = 1, dilation: Options = (1,),
) -> Shape:  # fmt: skip
    rank = len(weight) - 2
    options = (_each(option, rank) for option in (stride, padding, output_padding, dilation))
    sizes = (
        (size - 1) * s + d * (int(k) - 1) + more + 1 - 2 * p
        for size, k, s, p, more, d in zip(input[-rank:], weight[2:], *options, strict=True)
    )
    return (*input[: -rank - 1], weight[1] * groups, *sizes)


def _max_pool(rank: int) -> Callable[..., Shape]:
    """The shape function of the greatest elements of windows over the last `rank` axes."""

    def shape(
        input: Shape, kernel: Options, stride: Options = (), padding: Options = (0,), dilation: Options = (1,),
        ceil_mode: bool = False,
    ) -> Shape:  # fmt: skip
        return _pooled(rank, input, kernel, stride, padding, dilation, ceil_mode)

    return shape


def _avg_pool(rank: int) -> Callable[..., Shape]:
    """The shape function of means of windows over the last `rank` axes."""

    def shape(
        input: Shape, kernel: Options, stride: Options = (), padding: Options = (0,), ceil_mode: bool = False,
        *rest: Any,
    ) -> Shape:  # fmt: skip
        return _pooled(rank, input, kernel, stride, padding, (1,), ceil_mode)

    return shape


def _pooled(
    rank: int, input: Shape, kernel: Options, stride: Options, padding: Options, dilation: Options, ceil_mode: bool
) -> Shape:  # fmt: skip
    return (*input[:-rank], *windows(input, _each(kernel, rank), stride or kernel, padding, dilation, ceil_mode))


def windows(
    input: Shape, kernel: Sequence[Dim], stride: Options, padding: Options, dilation: Options, ceil_mode: bool = False
) -> Iterator[Dim]:  # fmt: skip
    """How many windows there are along each of the last axes; with `ceil_mode` those too that reach beyond the end, as
    long as they do not begin in the padding there."""
    rank = len(kernel)
    options = (_each(option, rank) for option in (stride, padding, dilation))
    for size, k, s, p, d in zip(input[-rank:], kernel, *options, strict=True):
        reach = d * (int(k) - 1) + 1
        if not ceil_mode:
            yield (size + 2 * p - reach) // s + 1
        else:
            yield ceil_divide(size + 2 * p - reach, s) + 1 if reach >= p + s else ceil_divide(size + p, s)


def _columns(input: Shape, kernel: Options, dilation: Options, padding: Options, stride: Options) -> Shape:
    count = product(windows(input, kernel, stride, padding, dilation))
    return (*input[:-3], input[-3] * math.prod(kernel), count)


def _from_columns(input: Shape, output_size: Shape, kernel: Options, *rest: Any) -> Shape:
    return (*input[:-2], input[-2] // math.prod(kernel), *output_size)


def _shuffled(input: Shape, factor: int) -> Shape:
    *outer, channels, height, width = input
    return (*outer, channels // (factor * factor), height * factor, width * factor)


def _each(option: Options, rank: int) -> Options:
    """An option for each axis, given as one for all of them."""
    return tuple(option) * rank if len(option) == 1 else option


def _resized(input: Shape, output_size: Shape | None, *options: Any) -> Shape:
    if output_size:
        return (*input[:2], *output_size)
    factors = options[-1]
    if any(factor != int(factor) for factor in factors):
        raise NotImplementedError("torch rounds in floating point")
    return (*input[:2], *(size * int(factor) for size, factor in zip(input[2:], factors, strict=True)))


def _cat(tensors: Sequence[Shape], dim: int = 0) -> Shape:
    sizes = list(tensors[0])
    for each in tensors[1:]:
        sizes[dim] = sizes[dim] + each[dim]
    return tuple(sizes)


def _stack(tensors: Sequence[Shape], dim: int = 0) -> Shape:
    first = tensors[0]
    at = dim % (len(first) + 1)
    return (*first[:at], len(tensors), *first[at:])


def _repeated(input: Shape, times: Shape) -> Shape:
    sizes = (*(1,) * (len(times) - len(input)), *input)
    return tuple(map(operator.mul, sizes, times))


def _padded(input: Shape, amounts: Shape, *rest: Any) -> Shape:
    sizes = list(input)
    for at, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        sizes[-1 - at] = sizes[-1 - at] + before + after
    return tuple(sizes)


def _unfolded(input: Shape, axis: int, size: int, step: int) -> Shape:
    return *_at(input, axis, (input[axis] - size) // step + 1), size


def _rfft(input: Shape, n: Dim | None = None, dim: int = -1, norm: Any = None) -> Shape:
    return _at(input, dim, (input[dim] if n is None else n) // 2 + 1)


def _irfft(input: Shape, n: Dim | None = None, dim: int = -1, norm: Any = None) -> Shape:
    return _at(input, dim, (input[dim] - 1) * 2 if n is None else n)


def _reshaped(input: Shape, asked: Shape) -> Shape:
    """The sizes that are asked for, with the one that is left out. They come out for all sizes of the dims, or torch
    is asked."""
    unknown = [axis for axis, size in enumerate(asked) if isinstance(size, int) and size == -1]
    total, known = product(input), product(size for axis, size in enumerate(asked) if axis not in unknown)
    if len(unknown) > 1 or (total % known if unknown else total - known) != 0:
        raise ValueError(f"{input} does not fill {asked}")
    return tuple(total // known if axis in unknown else size for axis, size in enumerate(asked))


def _flattened(input: Shape, start: int = 0, end: int = -1) -> Shape:
    first, last = (axis % max(len(input), 1) for axis in (start, end))
    return (*input[:first], product(input[first : last + 1]), *input[last + 1 :])


def _unflattened(input: Shape, axis: int, sizes: Shape) -> Shape:
    at = axis % len(input)
    return (*input[:at], *_reshaped(input[at : at + 1], sizes), *input[at + 1 :])


def _at(sizes: Shape, axis: int, size: Dim) -> Shape:
    return tuple(size if at == axis % len(sizes) else each for at, each in enumerate(sizes))


RESIZES = (
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_trilinear3d", "upsample_bicubic2d",
)  # fmt: skip
SHAPE_FUNCTIONS: dict[str, Callable[..., Shape]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    **{f"max_pool{rank}d": _max_pool(rank) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": _avg_pool(rank) for rank in (1, 2, 3)},
    "im2col": _columns,
    "col2im": _from_columns,
    "pixel_shuffle": _shuffled,
    **dict.fromkeys(RESIZES, _resized),
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
