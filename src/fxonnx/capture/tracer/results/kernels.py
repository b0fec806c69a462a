"""What some ops return on fake tensors, said by ourselves: recurrent layers, through whose sequence torch's kernels
would walk step by step; slices, for which torch invents a size where it cannot order two; and the ops that models are
made of whose result looks like their argument, which torch takes a millisecond to find out.

    META_KERNELS[target](*arguments) -> the result, or None where the formula does not hold: torch is asked then
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fxonnx.capture.tracer.results.meta import contiguous, in_a_row
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, in_kernel_invocation_manager

aten = torch.ops.aten
_NO_END = 2**62  # what torch and Python write for "to the end" is above


def _recurrent(states: int) -> Callable[..., tuple[Any, ...]]:
    """The results of a stack of recurrent layers: features of both directions, then the last states."""

    def formula(
        input: Any, initial: Any, weights: Any, has_biases: bool, layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        first = initial if states == 1 else initial[0]
        features = first.shape[-1] * (2 if bidirectional else 1)
        output = input.new_empty((*input.shape[:-1], features))
        last = [initial] if states == 1 else list(initial)
        return (output, *(each.new_empty(each.shape) for each in last))

    return formula


def _alike(fits: Callable[..., bool] = lambda *rest: True) -> Callable[..., Any]:
    """The result of an op that computes each element of its first argument anew: floats stay what they are."""

    def formula(input: Any, *rest: Any, **named: Any) -> Any:
        return contiguous(input, input.shape) if _is_plain(input) and fits(input.shape, *rest) else None

    return formula


def _in_place(input: Any, *rest: Any, **named: Any) -> Any:
    """The same, written into the argument."""
    return input if _is_plain(input) else None


def _is_plain(input: Any) -> bool:
    """Whether elements lie in a row and in the order that a result's would, no autocast changes their dtype, and no
    gradient is to be kept."""
    return input.is_floating_point() and in_a_row(input) and not _asks_for_more()


def _asks_for_more() -> bool:
    return torch.is_autocast_enabled("cpu") or torch.is_grad_enabled()


def _has_channels(shape: Any, *rest: Any) -> bool:
    """Whether weight, bias and statistics of a batch_norm have one number for each channel."""
    sizes = {tuple(each.shape) for each in rest[:4] if each is not None}
    return len(shape) > 1 and isinstance(shape[1], int) and sizes <= {(shape[1],)}


def _has_features(shape: Any, normalized: Any, *rest: Any) -> bool:
    """Whether a layer_norm is over the last axes, and weight and bias have one number for each element of those."""
    sizes = {tuple(each.shape) for each in rest[:2] if each is not None}
    features = tuple(shape[len(shape) - len(normalized) :])
    return all(isinstance(each, int) for each in features) and {tuple(normalized), *sizes} == {features}


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """Features in, features out."""
    features = weight.shape[:1]
    fits = (
        _is_plain(input)
        and weight.dim() == 2
        and input.dim() > 0
        and _same(input.shape[-1], weight.shape[1])
        and all(each.dtype is input.dtype for each in (weight, bias) if each is not None)
        and (bias is None or tuple(bias.shape) == tuple(features))
    )
    return contiguous(input, (*input.shape[:-1], *features)) if fits else None


def _matmul(input: Any, other: Any) -> Any:
    """Batches of matrices, as many on both sides."""
    rank = input.dim()
    fits = (
        rank > 1
        and rank == other.dim()
        and input.is_floating_point()
        and input.dtype is other.dtype
        and not _asks_for_more()
        and _same(input.shape[-1], other.shape[-2])
        and all(map(_same, input.shape[:-2], other.shape[:-2]))
    )
    return contiguous(input, (*input.shape[:-1], other.shape[-1])) if fits else None


def _resized(input: Any, output_size: Any, *rest: Any) -> Any:
    """An image of the size that is asked for, or of so many times its size; torch would compute all of its weights to
    tell."""
    sizes = output_size or _enlarged(input.shape[2:], rest[-1])
    if sizes is None or not input.is_floating_point() or input.dim() != 2 + len(sizes):
        return None
    result = contiguous(input, (*input.shape[:2], *sizes))
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    return result.contiguous(memory_format=torch.channels_last) if last else result


def _enlarged(sizes: Sequence[Any], factors: Any) -> list[Any] | None:
    if not factors or any(each != int(each) or each < 1 for each in factors):
        return None
    return [size * int(each) for size, each in zip(sizes, factors, strict=True)]


def _sampled(input: Any, grid: Any, *rest: Any) -> Any:
    """An image of as many points as the grid has."""
    fits = input.is_floating_point() and input.dim() == grid.dim() > 2 and _same(input.shape[0], grid.shape[0])
    return contiguous(input, (*input.shape[:2], *grid.shape[1:-1])) if fits and not _asks_for_more() else None


def _same(one: Any, other: Any) -> bool:
    """Whether two sizes are the same for all sizes of the dims, without asking."""
    return bool(dim_of(one) == dim_of(other))


def _layer_norm(input: Any, normalized: Any, *rest: Any) -> Any:
    """A row of elements, however the input lies in memory."""
    known = input.is_floating_point() and not _asks_for_more() and _has_features(input.shape, normalized, *rest)
    return contiguous(input, input.shape) if known else None


def _slice(input: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """`x[start:end:step]` by Python's rules: counted from the back where negative, then cut to the axis."""
    size = input.shape[dim]
    if all(isinstance(each, int) for each in (size, 0 if start is None else start, 0 if end is None else end)):
        return None
    begin = 0 if start is None else _place(start, size)
    stop = size if end is None else _place(end, size)
    sizes, strides = list(input.shape), list(input.stride())
    sizes[dim] = (torch.sym_max(stop - begin, 0) + step - 1) // step
    offset = input.storage_offset() + begin * strides[dim]
    strides[dim] = strides[dim] * step
    with in_kernel_invocation_manager(input.fake_mode):
        view = input.as_strided(sizes, strides, offset)
    return FakeTensor(input.fake_mode, view, input.device)


def _place(index: Any, size: Any) -> Any:
    """A slice's bound within the axis: the axis caps what is beyond it, whatever its size.

    Of an axis that is not empty, which is noted where it need not be so, the first or last is one: it broadcasts.
    """
    if isinstance(index, int) and index > _NO_END:
        return size
    if isinstance(index, int) and abs(index) == 1 and _assume(size >= 1):
        return index if index > 0 else size - 1
    if _assume(index < 0):
        return torch.sym_max(index + size, 0)
    return torch.sym_min(index, size)


def _assume(comparison: Any) -> bool:
    """The answer of this run, noted as the model's own: the result depends on it."""
    if not isinstance(comparison, torch.SymBool):
        return bool(comparison)
    guard_log = comparison.node.guard_log
    op, guard_log.op = guard_log.op, ""
    try:
        return bool(comparison)
    finally:
        guard_log.op = op


_ALIKE = (
    aten.relu.default, aten.gelu.default, aten.silu.default, aten.sigmoid.default, aten.tanh.default,
    aten.hardswish.default, aten.hardsigmoid.default, aten.exp.default, aten.sqrt.default, aten.rsqrt.default,
    aten.neg.default, aten.cos.default, aten.sin.default,
)  # fmt: skip
_RESIZES = (
    aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec, aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec, aten.upsample_bicubic2d.vec,
)  # fmt: skip
_IN_PLACE = (
    aten.relu_.default, aten.silu_.default, aten.hardswish_.default, aten.hardsigmoid_.default, aten.hardtanh_.default,
)  # fmt: skip
META_KERNELS: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: _recurrent(2),
    aten.gru.input: _recurrent(1),
    aten.rnn_tanh.input: _recurrent(1),
    aten.rnn_relu.input: _recurrent(1),
    aten.slice.Tensor: _slice,
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.batch_norm.default: _alike(_has_channels),
    aten.layer_norm.default: _layer_norm,
    aten.grid_sampler.default: _sampled,
    **dict.fromkeys(_RESIZES, _resized),
    **{target: _alike() for target in _ALIKE},
    **dict.fromkeys(_IN_PLACE, _in_place),
}
