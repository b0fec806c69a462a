"""What an op requires of sizes, where eager refuses others: a window that fits, an image with something in it.

    F.max_pool2d(x, 3)     x: (n, 3, h, w)     ──▶     h // 3 >= 1, w // 3 >= 1     assumed, and checked at each call

Of symbolic sizes torch's meta kernels do not ask this, and what ONNX Runtime does with windows that do not fit is no
error: it returns nothing.

    REQUIRED[name](shape of the result, *arguments) -> pairs of sizes, of which the left one is no less than the right
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch

from fxonnx.capture.tracer.results.asked import raise_refusal
from fxonnx.capture.tracer.results.shapes import RESIZES, windows
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.nodes import dim_of, sym_size
from fxonnx.ir.dims import Dim, Shape

Required: TypeAlias = Iterator[tuple[Dim, Dim]]


def require_sizes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, guard_log: GuardLog) -> None:
    """Note what an op that has returned `result` for fake arguments requires of their sizes.

    Raises what the op's own kernel raises where the sizes of this run are refused.
    """
    required = REQUIRED.get(func.overloadpacket.__name__)
    if required is None:
        return
    first = result[0] if isinstance(result, (list, tuple)) else result
    named = {name: _sizes(each) for name, each in kwargs.items()}
    for left, right in required(_sizes(first), *map(_sizes, args), **named):
        _require(left, right, guard_log)
        if guard_log.value(left) < guard_log.value(right):
            raise_refusal(func, args, kwargs, guard_log)


def _require(left: Dim, right: Dim, guard_log: GuardLog) -> None:
    if isinstance(left - right, int) or guard_log.known_from_one(">=", left, right) is True:
        return
    if not guard_log.data.are_in(left - right):
        guard_log.require(left, right)
    elif guard_log.statically_known(">=", left, right) is None:
        fits: Any = sym_size(left, guard_log) >= sym_size(right, guard_log)
        guard_log.check(fits.node)


def _sizes(value: Any) -> Any:
    """The shape of a tensor, sizes as dims, and other arguments as they are."""
    if isinstance(value, torch.Tensor):
        return tuple(map(dim_of, value.shape))
    if isinstance(value, (list, tuple)):
        return [_sizes(each) for each in value]
    return dim_of(value) if isinstance(value, torch.SymInt) else value


def _something(rank: int) -> Callable[..., Required]:
    """What requires that none of the last `rank` sizes of its result is 0."""

    def required(result: Shape, *args: Any, **kwargs: Any) -> Required:
        return ((size, 1) for size in result[-rank:])

    return required


def _columns(
    result: Shape, input: Shape, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int],
    stride: Sequence[int],
) -> Required:  # fmt: skip
    return ((count, 1) for count in windows(input, kernel, stride, padding, dilation))


def _unfolded(result: Shape, input: Shape, axis: int, size: Dim, step: int) -> Required:
    if input:
        yield input[axis], size


def _narrowed(result: Shape, input: Shape, axis: int, start: Any, length: Dim) -> Required:
    if isinstance(start, int):
        yield input[axis], start + length if start >= 0 else -start


def _padded(result: Shape, input: Shape, amounts: Shape, mode: str = "constant", value: Any = None) -> Required:
    """Reflected is all but the edge, and what is wrapped around goes around once; cropped is what is there."""
    for at, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        size = input[-1 - at]
        if mode in ("reflect", "replicate"):
            yield result[-1 - at], 1
        elif isinstance(before, int) and isinstance(after, int):
            yield size, -min(before, 0) - min(after, 0)
        for amount in (before, after) if mode in _MOST_PADDED else ():
            yield size - _MOST_PADDED[mode], amount


def _unique(result: Shape, input: Shape, dim: int, *args: Any, **kwargs: Any) -> Required:
    """Rows have elements: of those that have none ONNX Runtime's kernel ends the process."""
    return ((size, 1) for axis, size in enumerate(input) if axis != dim % len(input))


def _recurrent(result: Shape, input: Shape, *args: Any) -> Required:
    """LSTM and its like over a padded batch; one that is packed has a tensor in the place of the flags."""
    if len(input) == 3 and isinstance(args[-1], bool):
        yield input[int(args[-1])], 1


_MOST_PADDED = {"reflect": 1, "circular": 0}  # what an axis must have more than is padded
_EXACT = ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
REQUIRED: dict[str, Callable[..., Required]] = {
    **{f"{name}{rank}d": _something(rank) for name in ("conv", "conv_transpose", "max_pool", "avg_pool")
       for rank in (1, 2, 3)},
    **{f"max_pool{rank}d_with_indices": _something(rank) for rank in (1, 2, 3)},
    **{name: _something(int(name[-2])) for name in (*RESIZES, *_EXACT)},
    "im2col": _columns,
    "unfold": _unfolded,
    "narrow": _narrowed,
    "unique_dim": _unique,
    "pad": _padded,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
}  # fmt: skip
