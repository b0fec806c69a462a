"""What some ops return on fake tensors, said by ourselves: recurrent layers, through whose sequence torch's kernels
would walk step by step; slices, for which torch invents a size where it cannot order two; and the ops that models are
made of whose result looks like their argument, which torch takes a millisecond to find out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fxonnx.capture.tracer.arithmetic import rest as remainder
from fxonnx.capture.tracer.results import contiguous
from fxonnx.capture.tracer.symbols import dim_of
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
        return (output, *(torch.empty_like(each) for each in last))

    return formula


def _alike(target: Any, fits: Callable[..., bool] = lambda *rest: True) -> Callable[..., Any]:
    """The result of an op that computes each element of its first argument anew: floats stay what they are.

    Arguments that may not fit are torch's to check.
    """

    def formula(input: Any, *rest: Any, **named: Any) -> Any:
        known = _is_plain(input) and fits(input.shape, *rest)
        return contiguous(input, input.shape) if known else target(input, *rest, **named)

    return formula


def _in_place(target: Any) -> Callable[..., Any]:
    """The same, written into the argument."""

    def formula(input: Any, *rest: Any, **named: Any) -> Any:
        return input if _is_plain(input) else target(input, *rest, **named)

    return formula


def _is_plain(input: Any) -> bool:
    """Whether elements lie in a row and in the order that a result's would, no autocast changes their dtype, and no
    gradient is to be kept."""
    return input.is_floating_point() and input.is_contiguous() and not _asks_for_more()


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
    """Features in, features out; what does not fit is torch's to say."""
    features = weight.shape[:1]
    fits = (
        _is_plain(input)
        and weight.dim() == 2
        and input.dim() > 0
        and _same(input.shape[-1], weight.shape[1])
        and all(each.dtype is input.dtype for each in (weight, bias) if each is not None)
        and (bias is None or tuple(bias.shape) == tuple(features))
    )
    return contiguous(input, (*input.shape[:-1], *features)) if fits else aten.linear.default(input, weight, bias)


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
    return contiguous(input, (*input.shape[:-1], other.shape[-1])) if fits else aten.matmul.default(input, other)


def _resized(target: Any) -> Callable[..., Any]:
    """An image of the size that is asked for; torch would compute all of its weights to tell."""

    def formula(input: Any, output_size: Any, *rest: Any, **named: Any) -> Any:
        if output_size is None or not input.is_floating_point() or input.dim() != 2 + len(output_size):
            return target(input, output_size, *rest, **named)
        result = contiguous(input, (*input.shape[:2], *output_size))
        last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        return result.contiguous(memory_format=torch.channels_last) if last else result

    return formula


def _seen(target: Any) -> Callable[..., Any]:
    """Axes in another order, more or fewer of them, by torch's own kernel without what fake tensors ask around it."""

    def formula(input: Any, *rest: Any) -> Any:
        if not all(map(_is_number, rest)):
            return target(input, *rest)
        with in_kernel_invocation_manager(input.fake_mode):
            view = target(input, *rest)
        return FakeTensor(input.fake_mode, view, input.device)

    return formula


def _viewed(target: Any) -> Callable[..., Any]:
    """The same elements in other sizes, where they lie in a row and the sizes come out."""

    def formula(input: Any, size: Any) -> Any:
        shape = _sizes(input.shape, size) if _lies_in_a_row(input) else None
        return target(input, size) if shape is None else contiguous(input, shape, view=True)

    return formula


def _flattened(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Some axes as one."""
    rank = input.dim()
    first, last = start_dim % max(rank, 1), end_dim % max(rank, 1)
    if not _lies_in_a_row(input) or first >= last or not (-rank <= start_dim < rank > end_dim >= -rank):
        return aten.flatten.using_ints(input, start_dim, end_dim)
    shape = (*input.shape[:first], math.prod(input.shape[first : last + 1]), *input.shape[last + 1 :])
    return contiguous(input, shape, view=True)


def _lies_in_a_row(input: Any) -> bool:
    offset = input.storage_offset()
    return input.is_contiguous() and isinstance(offset, int) and offset == 0 and not input.is_conj()


def _sizes(given: Sequence[Any], asked: Sequence[Any]) -> list[Any] | None:
    """The sizes that are asked for, with the one that is left out; None where they do not come out for all sizes of
    the dims."""
    total, sizes = math.prod(given), list(asked)
    unknown = [axis for axis, size in enumerate(sizes) if isinstance(size, int) and size == -1]
    known = math.prod(size for axis, size in enumerate(sizes) if axis not in unknown)
    if len(unknown) > 1 or (isinstance(known, int) and known <= 0):
        return None
    if not unknown:
        return sizes if _same(known, total) else None
    if remainder(dim_of(total), dim_of(known)) != 0:
        return None
    sizes[unknown[0]] = total // known
    return sizes


def _conv(target: Any) -> Callable[..., Any]:
    """Windows of an image with as many channels as the weights have; what does not fit is torch's to say."""

    def formula(
        input: Any, weight: Any, bias: Any = None, stride: Any = (1,), padding: Any = (0,), dilation: Any = (1,),
        groups: int = 1,
    ) -> Any:  # fmt: skip
        channels, rank = input.shape[1] if input.dim() > 1 else 0, input.dim() - 2
        options = [tuple(each) * (1 if len(each) > 1 else max(rank, 1)) for each in (stride, padding, dilation)]
        fits = (
            _is_plain(input)
            and weight.is_contiguous()
            and weight.dim() == input.dim() > 2
            and input.dtype is weight.dtype
            and isinstance(channels, int)
            and channels == weight.shape[1] * groups
            and weight.shape[0] % groups == 0
            and (bias is None or tuple(bias.shape) == (weight.shape[0],))
            and all(len(each) == rank for each in options)
        )
        windows = zip(input.shape[2:], weight.shape[2:], *options, strict=True) if fits else ()
        shape = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in windows]
        if not fits or not all(_is_positive(size) for size in shape):
            return target(input, weight, bias, stride, padding, dilation, groups)
        return contiguous(input, (input.shape[0], weight.shape[0], *shape))

    return formula


def _is_positive(size: Any) -> bool:
    """Whether a size is 1 or more in this run; where it is not, torch says what is wrong."""
    return bool((size if isinstance(size, int) else size.node.hint) > 0)


def _is_number(value: Any) -> bool:
    return all(map(_is_number, value)) if isinstance(value, (list, tuple)) else isinstance(value, int)


def _same(one: Any, other: Any) -> bool:
    """Whether two sizes are the same for all sizes of the dims, without asking."""
    return bool(dim_of(one) == dim_of(other))


def _layer_norm(input: Any, normalized: Any, *rest: Any) -> Any:
    """A row of elements, however the input lies in memory."""
    known = input.is_floating_point() and not _asks_for_more() and _has_features(input.shape, normalized, *rest)
    return contiguous(input, input.shape) if known else aten.layer_norm.default(input, normalized, *rest)


def _cat(tensors: Any, dim: int = 0) -> Any:
    """Tensors of one kind one behind the other."""
    first = tensors[0]
    rank, axis = first.dim(), dim % max(first.dim(), 1)
    fits = -rank <= dim < rank and all(
        _is_plain(each)
        and each.dim() == rank
        and each.dtype is first.dtype
        and all(at == axis or _same(size, first.shape[at]) for at, size in enumerate(each.shape))
        for each in tensors
    )
    if not fits:
        return aten.cat.default(tensors, dim)
    shape = list(first.shape)
    shape[axis] = sum(each.shape[axis] for each in tensors)
    return contiguous(first, shape)


def _max_pool1d(
    input: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:  # fmt: skip
    """As of an image with one row, whose meta kernel takes sizes that vary."""
    steps = (1, *_pair(stride)) if _pair(stride) else ()
    window = (1, *_pair(kernel)), steps, (0, *_pair(padding)), (1, *_pair(dilation))
    return aten.max_pool2d.default(input.unsqueeze(-2), *window, ceil_mode).squeeze(-2)


def _pair(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _slice(input: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """`x[start:end:step]` by Python's rules: counted from the back where negative, then cut to the axis."""
    size = input.shape[dim]
    if all(isinstance(each, int) for each in (size, 0 if start is None else start, 0 if end is None else end)):
        return aten.slice.Tensor(input, dim, start, end, step)
    begin = 0 if start is None else _place(start, size)
    stop = size if end is None else _place(end, size)
    sizes, strides = list(input.shape), list(input.stride())
    sizes[dim] = (torch.sym_max(stop - begin, 0) + step - 1) // step
    offset = input.storage_offset() + begin * strides[dim]
    strides[dim] = strides[dim] * step
    return input.as_strided(sizes, strides, offset)


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
    decisions = comparison.node.decisions
    op, decisions.op = decisions.op, ""
    try:
        return bool(comparison)
    finally:
        decisions.op = op


_ALIKE = (
    aten.relu.default, aten.gelu.default, aten.silu.default, aten.sigmoid.default, aten.tanh.default,
    aten.hardswish.default, aten.hardsigmoid.default, aten.exp.default, aten.sqrt.default, aten.rsqrt.default,
    aten.neg.default, aten.cos.default, aten.sin.default,
)  # fmt: skip
_RESIZES = (
    aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec, aten.upsample_nearest3d.vec, aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec, aten.upsample_trilinear3d.vec, aten.upsample_bicubic2d.vec,
)  # fmt: skip
_VIEWS = (aten.transpose.int, aten.permute.default, aten.unsqueeze.default, aten.t.default)
_IN_PLACE = (
    aten.relu_.default, aten.silu_.default, aten.hardswish_.default, aten.hardsigmoid_.default, aten.hardtanh_.default,
)  # fmt: skip
FORMULAS: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: _recurrent(2),
    aten.gru.input: _recurrent(1),
    aten.rnn_tanh.input: _recurrent(1),
    aten.rnn_relu.input: _recurrent(1),
    aten.slice.Tensor: _slice,
    aten.max_pool1d.default: _max_pool1d,
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    **{target: _resized(target) for target in _RESIZES},
    **{target: _seen(target) for target in _VIEWS},
    aten.view.default: _viewed(aten.view.default),
    aten.reshape.default: _viewed(aten.reshape.default),
    aten.flatten.using_ints: _flattened,
    **{target: _conv(target) for target in (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)},
    aten.batch_norm.default: _alike(aten.batch_norm.default, _has_channels),
    aten.layer_norm.default: _layer_norm,
    aten.cat.default: _cat,
    **{target: _alike(target) for target in _ALIKE},
    **{target: _in_place(target) for target in _IN_PLACE},
}
