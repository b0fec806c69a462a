"""Meta kernels of our own, for the ops that torch's do not fit. Through a recurrent layer's sequence and the frames of
spectra they would walk step by step, and take an axis apart in three calls a place; grouped products they know in
bfloat16 alone; of a slice they invent a size where they cannot order two; of an alignment they count the states; of
histograms there are none; to pick a row they load sympy; of a copy they decide whether it is empty; a grid's axes they
compare; windows of adaptive pools, keys and values they count; nothing unshuffled is no other shape for the kernel that
computes; of LAPACK's factors and products of three they know nothing or too much; plain sizes they want for norms,
products of many, what is drawn from a generator, a row of padding, differences; numbers of no dims count as others.

    META_KERNELS[target](*arguments) -> the result, or None where torch's own is fine
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from fxonnx import dtypes
from fxonnx.capture.tracer.results.questions import assume, is_open, is_told_by_data, said_or_checked
from fxonnx.capture.tracer.results.spectra import signal_of
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.capture.tracer.torch_private import FakeTensor, in_kernel_invocation_manager, plain_of
from fxonnx.errors import CaptureRefused

aten = torch.ops.aten
_NO_END = 2**62  # what torch and Python write for "to the end" is above


def _recurrent(states: int) -> Callable[..., tuple[Any, ...]]:
    """The kernel of a stack of recurrent layers: features of both directions, step by step in memory, then the last
    states."""

    def kernel(
        input: Any, initial: Any, weights: Any, has_biases: bool, layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        first = initial if states == 1 else initial[0]
        features = first.shape[-1] * (2 if bidirectional else 1)
        steps, batch = (1, 0) if batch_first else (0, 1)
        output = input.new_empty((input.shape[steps], input.shape[batch], features)).transpose(0, steps)
        last = [initial] if states == 1 else list(initial)
        return (output, *(each.new_empty(each.shape) for each in last))

    return kernel


def _recurrent_over_packed(states: int) -> Callable[..., tuple[Any, ...]]:
    """The same of a PackedSequence."""

    def kernel(
        data: Any, batch_sizes: Any, initial: Any, weights: Any, has_biases: bool, layers: int, dropout: float,
        train: bool, bidirectional: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        first, *others = [initial] if states == 1 else initial
        output = data.new_empty((data.shape[0], first.shape[-1] * (2 if bidirectional else 1)))
        return (output, *(each.new_empty(each.shape) for each in (first, *others)))

    return kernel


def _ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1,
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """A number, or one for each sequence."""
    return log_probs.new_empty(() if reduction or log_probs.dim() < 3 else log_probs.shape[1:2])


def _histogram(x: Any, bins: Any = 100, **options: Any) -> Any:
    """What is counted between edges, and those."""
    ends = bins.shape[0] if isinstance(bins, torch.Tensor) else bins + 1
    return x.new_empty((ends - 1,)), x.new_empty((ends,))


def _bucketize(x: Any, boundaries: Any, **_: Any) -> Any:
    """torch's own, but that of the boundaries it does not look at the rank."""
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")


def _counted_in_boxes(x: Any, bins: Any, **options: Any) -> Any:
    if not assume(x.shape[-1] == len(bins)):
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    return x.new_empty([each.shape[0] - 1 if isinstance(each, torch.Tensor) else each for each in bins])


def _edges_of_boxes(x: Any, bins: Any, **options: Any) -> Any:
    return [x.new_empty((each + 1,)) for each in bins]


def _grouped_mm(left: Any, right: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    """A matrix for each group, or what they make together: rows lie in memory as multiples of 16 bytes."""
    groups = left.shape[:1] if left.dim() == 3 else right.shape[:1] if right.dim() == 3 else offs.shape
    is_whole = left.dim() == right.dim()  # each group has a result of its own
    shape = (*groups, left.shape[-2], right.shape[-1]) if is_whole else (left.shape[-2], right.shape[-1])
    step = 16 // left.element_size()
    row = (shape[-1] + step - 1) // step * step
    strides = (shape[-2] * row, row, 1)[-len(shape) :]
    return left.new_empty_strided(shape, strides, dtype=out_dtype)


def _slice(input: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """`x[start:end:step]` by Python's rules: counted from the back where negative, then cut to the axis."""
    if not _has_axis(input, dim):
        return None
    size = input.shape[dim]
    begin = 0 if start is None else _place(start, size)
    stop = size if end is None else _place(end, size)
    sizes, strides = list(input.shape), list(input.stride())
    sizes[dim] = (_length(start, begin, stop, size) + step - 1) // step
    offset = input.storage_offset() + begin * strides[dim]
    strides[dim] = strides[dim] * step
    return view(input, sizes, strides, offset)


def _narrow(input: Any, dim: int, start: Any, length: Any) -> Any:
    """`length` elements from `start` on; what reaches beyond the axis is torch's to refuse."""
    if not _has_axis(input, dim) or isinstance(start, torch.Tensor):
        return None
    size = input.shape[dim]
    begin = start + size if said_or_checked(start < 0, assume) else start
    if said_or_checked(begin < 0) or said_or_checked(begin + length > size):
        return None
    sizes = list(input.shape)
    sizes[dim] = length
    return view(input, sizes, input.stride(), input.storage_offset() + begin * input.stride()[dim])


def _select(input: Any, dim: int, index: Any) -> Any:
    """`x[index]` along an axis, by Python's rules; what is beyond it is torch's to refuse."""
    if not _has_axis(input, dim) or isinstance(index, torch.Tensor):
        return None
    sizes, strides = list(input.shape), list(input.stride())
    if not _is_within(index, sizes[dim]):
        return None
    place = index if isinstance(index, int) and index >= 0 else index % sizes[dim]  # of data a size may be 0 in the run
    offset = input.storage_offset() + place * strides[dim]
    del sizes[dim], strides[dim]
    return view(input, sizes, strides, offset)


def _unbind(input: Any, dim: int = 0) -> Any:
    """What lies at each place of an axis; torch's kernel takes slices and squeezes them, place by place."""
    if not _has_axis(input, dim) or not input.dim():
        return None
    sizes, strides, first = list(input.shape), list(input.stride()), input.storage_offset()
    places, step = int(sizes.pop(dim)), strides.pop(dim)
    return [view(input, sizes, strides, first + place * step) for place in range(places)]


def _all_equal(sizes: Any, others: Any) -> bool:
    return len(sizes) == len(others) and all(assume(one == other) for one, other in zip(sizes, others, strict=True))


def _is_within(index: Any, size: Any) -> bool:
    """Whether an index is one of an axis, from the front or from the back; of what no dim says the runtime checks."""
    sizes = [each for each in (index, size) if isinstance(each, torch.SymInt)]
    if sizes and sizes[0].node.guard_log.is_opaque(*map(dim_of, sizes)):
        return True
    return assume(index < size) and assume(index >= -size)


def _copy(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """`self`, where `src` surely broadcasts to it; to see whether `self` overlaps itself, torch's kernel asks whether
    it is empty."""
    repeats = any(isinstance(stride, int) and stride == 0 for stride in self.stride())
    if repeats or src.dim() > self.dim():
        return None
    places, given = (list(map(dim_of, sizes)) for sizes in (self.shape[self.dim() - src.dim() :], src.shape))
    return self if all(size in (1, place) for size, place in zip(given, places, strict=True)) else None


def _masked_scatter_in_place(self: Any, mask: Any, source: Any) -> Any:
    """`self`, to which the mask broadcasts: torch's kernel asks that of the sizes only where it returns a copy."""
    mask.expand(self.shape)
    return self


def _affine_grid(theta: Any, size: Any, align_corners: bool) -> Any:
    """A place for each element of an output of `size`, channels apart."""
    if tuple(theta.shape[1:]) != (len(size) - 2, len(size) - 1):
        return None
    return theta.new_empty((size[0], *size[2:], len(size) - 2))


def _pixel_unshuffle(self: Any, downscale_factor: int) -> Any:
    """Of nothing a copy, whatever its shape, as on the CPU."""
    return self.new_empty(self.shape) if any(assume(size == 0) for size in self.shape) else None


def _fill_diagonal(self: Any, fill_value: Any, wrap: bool = False) -> Any:
    """A matrix itself; of others torch's kernel checks that all axes are of one size."""
    return self if self.dim() == 2 and not wrap else None


def _attention(query: Any, key: Any, value: Any, *rest: Any, **options: Any) -> Any:
    """Torch's own, which does not look whether there are as many keys as values."""
    if key.shape[-2] != value.shape[-2]:
        raise CaptureRefused(
            "attention has other numbers of keys and of values",
            cause="torch's kernel for four axes reads the memory beyond the shorter of the two; the others raise",
            cure="give as many keys as values, or expand() what is to be repeated",
        )
    return None


def _has_axis(input: Any, dim: int) -> bool:
    """Whether a tensor has an axis to take a view along, and its elements are what lies in memory."""
    is_plain = input.layout is torch.strided and not input.is_conj() and not input.is_neg()
    return is_plain and -input.dim() <= dim < input.dim()


def view(input: Any, sizes: Any, strides: Any, offset: Any) -> FakeTensor:
    """A view of a fake tensor."""
    with in_kernel_invocation_manager(input.fake_mode):
        view = plain_of(input).as_strided(sizes, strides, offset)
    return FakeTensor(input.fake_mode, view, input.device)


def _length(start: Any, begin: Any, stop: Any, size: Any) -> Any:
    """How many elements there are from `begin`, which is `start` within the axis, to `stop`: so that x[2:] and x[:-2]
    are seen to be of one size."""
    if isinstance(start, int) and start >= 0:
        return torch.sym_max(stop - start, 0)  # where the start is beyond the axis, so is it beyond the stop
    if isinstance(start, int) and stop is size:
        return torch.sym_min(-start, size)
    return torch.sym_max(stop - begin, 0)


def _place(index: Any, size: Any) -> Any:
    """A slice's bound within the axis: the axis caps what is beyond it, whatever its size.

    Of an axis that is not empty, which is a guard where it need not be so, the first or last is one: it broadcasts. So
    do ways of a decision by data; on a tape that is played those are one call, which is for either.
    """
    if isinstance(index, int) and index > _NO_END:
        return size
    if isinstance(index, int) and abs(index) == 1 and is_open(comparison := size >= 1) and assume(comparison):
        return index if index > 0 else size - 1
    if assume(index < 0):
        return torch.sym_max(index + size, 0)
    return torch.sym_min(index, size)


def _like_the_first(x: Any, *others: Any) -> Any:
    """A tensor like the first; torch has no meta kernel for it."""
    return x.clone()


def _like_the_second(self: Any, other: Any, **_: Any) -> Any:
    """A tensor like the second: torch's kernel reads sizes as plain numbers."""
    return other.clone()


def _adaptive_avg_pool(x: Any, output_size: Any) -> Any:
    """As many windows as a size says, laid out like the input; torch's kernel takes plain numbers."""
    if all(isinstance(each, int) for each in output_size):
        return None
    pooled = x.new_empty((*x.shape[: -len(output_size)], *output_size))
    return pooled.contiguous(memory_format=torch._prims_common.suggest_memory_format(x))


def _adaptive_max_pool(x: Any, output_size: Any) -> Any:
    """The same, and where in its channel each greatest element stands."""
    values = _adaptive_avg_pool(x, output_size)
    return None if values is None else (values, torch.empty_like(values, dtype=torch.int64))


def _covariance(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """A square of as many rows as there are variables, one of them being a scalar: torch checks the weights' values."""
    variables = x.shape[0] if x.dim() > 1 else 1
    observations = x.shape[-1] if x.dim() else 1
    _check_weights("fweights", fweights, observations, ints=True)
    _check_weights("aweights", aweights, observations, ints=False)
    of_rows = torch.empty((1, 1), dtype=x.dtype, device="meta")
    dtype = x.dtype if aweights is None else torch.result_type(of_rows, aweights)
    dtype = dtype if dtype.is_floating_point or dtype.is_complex else torch.get_default_dtype()
    return x.new_empty(() if variables == 1 else (variables, variables), dtype=dtype)


def _check_weights(name: str, weights: Any, observations: Any, *, ints: bool) -> None:
    """One for each observation, in an integral or a floating dtype."""
    if weights is None:
        return
    is_integral = not (weights.is_floating_point() or weights.is_complex() or weights.dtype is torch.bool)
    if weights.dim() > 1 or not (is_integral if ints else weights.is_floating_point()):
        kind = "integral" if ints else "floating point"
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions, of {kind} dtype")
    if not assume(observations == (weights.shape[0] if weights.dim() else 1)):
        raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input")


def _bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """As two linear layers: torch's own reshapes the product of all, which of sizes takes a thousand comparisons."""
    outputs, first, second = weight.shape
    linear = torch.nn.functional.linear
    return linear(input1, weight.new_empty((outputs, first))) + linear(input2, weight.new_empty((outputs, second)))


def _geqrf(x: Any) -> Any:
    """The factors column by column in memory, and a factor for each reflection; torch has no meta kernel for it."""
    rows, columns = x.shape[-2:]
    tau = x.new_empty((*x.shape[:-2], torch.sym_min(rows, columns)))
    return x.new_empty((*x.shape[:-2], columns, rows)).mT, tau


def _spaced(start: Any, end: Any, steps: Any, dtype: Any = None, device: Any = None, **_: Any) -> Any:
    """torch.linspace of as many steps as a size says."""
    return torch.empty((steps,), dtype=dtype, device=device) if isinstance(steps, torch.SymInt) else None


def _between_tensors(start: Any, end: Any, steps: Any, base: float = 10.0, **options: Any) -> Any:
    """torch.linspace or logspace between complex tensors, which torch's kernel takes for real ones."""
    complex_ones = [each for each in (start, end) if isinstance(each, torch.Tensor) and each.is_complex()]
    if not complex_ones or options.get("dtype") is not None:
        return None
    return complex_ones[0].new_empty((steps,), dtype=torch.get_default_dtype().to_complex())


def _group_norm(
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:  # fmt: skip
    """What it is without weights, of which there is one a channel: torch's kernel takes plain numbers of channels."""
    weights = [each for each in (weight, bias) if each is not None]
    if not weights or x.dim() < 2 or any(each.dim() != 1 for each in weights):
        return None
    if not all(assume(x.shape[1] == each.shape[0]) for each in weights):
        raise RuntimeError("Expected weight and bias to be vectors of as many elements as the input has channels")
    return aten.group_norm.default(x, groups, None, None, eps, cudnn_enabled)


def _matrix_norm(
    x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """A number for each matrix; torch's kernel takes their sizes for plain numbers. Complex norms have no form of their
    own: they are composed as torch does."""
    if x.is_complex() or x.dim() < 2 or dim is None or ord is None:
        return None
    axes = {each % x.dim() for each in dim}
    if len(axes) != 2 or len(dim) != 2:
        return None
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keepdim or axis not in axes]
    return x.new_empty(shape, dtype=(dtype or x.dtype).to_real())


def _norm(
    x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """Of a matrix with an order; torch's own of vectors."""
    is_matrix = x.dim() == 2 and ord is not None if dim is None else True
    return _matrix_norm(x, ord, dim or (-2, -1), keepdim, dtype=dtype) if is_matrix else None


def _chunk_cat(tensors: Any, dim: int, num_chunks: int) -> Any:
    """Each tensor in chunks along an axis, the last filled up with zeros, flat beside each other: torch's kernel looks
    whether there is anything to fill up."""
    axis = dim % tensors[0].dim()
    leading = tensors[0].shape[:axis]
    if any(each.dtype != tensors[0].dtype or not _all_equal(each.shape[:axis], leading) for each in tensors):
        return None
    rows = [(each.shape[axis] + num_chunks - 1) // num_chunks for each in tensors]
    lengths = (row * math.prod(each.shape[axis + 1 :]) for row, each in zip(rows, tensors, strict=True))
    return tensors[0].new_empty((*leading, num_chunks, sum(lengths)))


def _padded_bags(
    weight: Any, indices: Any, offsets: Any, scales: bool, mode: int, sparse: bool, weights: Any,
    has_last_offset: bool, padding_idx: int | None,
) -> Any:  # fmt: skip
    """As many as those without padding; torch counts the row from a plain number of rows."""
    if padding_idx is not None and not assume(weight.shape[0] > max(padding_idx, -padding_idx - 1)):
        return None
    return aten.embedding_bag.default(weight, indices, offsets, scales, mode, sparse, weights, has_last_offset)


def _diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Of several differences, or of a size that comes from data, those of a whole tensor; torch takes one after the
    other, and cannot order the sizes."""
    is_lengthened = prepend is not None or append is not None
    is_of_data = x.dim() > 0 and is_told_by_data(x.shape[dim] >= n)
    if (n < 3 and not is_of_data) or not (is_lengthened or x.dim() == 1 or x.is_contiguous()):
        return None
    if is_lengthened:
        x, n = torch.diff(x, 1, dim, prepend, append), n - 1
    axis = dim % x.dim()
    size = x.shape[axis]
    left = torch.sym_max(size - n, 0) if is_of_data else size - n if size > n else 0
    return x.new_empty((*x.shape[:axis], left, *x.shape[axis + 1 :]))


def _hashed(x: Any, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Any:
    """As many as greatest elements: torch's kernel wants plain numbers of sizes."""
    return x.new_empty(aten.amax.default(x, dim, keepdim).shape, dtype=torch.uint64)


def _block_diag(tensors: Any) -> Any:
    """In the dtype that eager gives, where numbers of no dims count less; in torch's kernel they count as others do."""
    if len({each.dtype for each in tensors}) == 1:
        return None
    dtype = getattr(torch, dtypes.result_type(*tensors).torch)
    return aten.block_diag.default([each.to(dtype) for each in tensors])


def _multi_dot(tensors: Any) -> Any:
    """The product of all, whatever the order that torch finds to be the quickest for plain numbers of sizes."""
    return reduce(torch.matmul, tensors) if len(tensors) > 1 else None


def _drawn(op: Any) -> Callable[..., Any]:
    """The kernel of an op that draws from a generator: of the one that draws from torch's own, which takes sizes."""

    def kernel(*args: Any, generator: torch.Generator | None, **options: Any) -> Any:
        return op(*args, **options)

    return kernel


def _nanmean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """As of a mean: along `dim=()`, too, there is one of all."""
    return aten.mean.dim(x, dim, keepdim, dtype=dtype)


META_KERNELS: dict[Any, Callable[..., Any]] = {
    aten.bilinear.default: _bilinear,
    aten.geqrf.default: _geqrf,
    aten.lstm.input: _recurrent(2),
    **{packet.input: _recurrent(1) for packet in (aten.gru, aten.rnn_tanh, aten.rnn_relu)},
    aten.lstm.data: _recurrent_over_packed(2),
    **{packet.data: _recurrent_over_packed(1) for packet in (aten.gru, aten.rnn_tanh, aten.rnn_relu)},
    **dict.fromkeys((aten.ctc_loss.IntList, aten.ctc_loss.Tensor), _ctc_loss),
    aten.nanmean.default: _nanmean,
    aten.bucketize.Tensor: _bucketize,
    **dict.fromkeys((aten.histogram.bin_ct, aten.histogram.bins_tensor), _histogram),
    aten._histogramdd_bin_edges.default: _edges_of_boxes,
    aten._histogramdd_from_bin_cts.default: _counted_in_boxes,
    aten._histogramdd_from_bin_tensors.default: _counted_in_boxes,
    aten._grouped_mm.default: _grouped_mm,
    aten.adaptive_avg_pool1d.default: _adaptive_avg_pool,
    **dict.fromkeys((aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default), _adaptive_max_pool),
    aten.adaptive_max_pool3d.default: _adaptive_max_pool,
    aten.slice.Tensor: _slice,
    aten.narrow.default: _narrow,
    aten.select.int: _select,
    aten.unbind.int: _unbind,
    aten.copy_.default: _copy,
    aten.fill_diagonal_.default: _fill_diagonal,
    aten.masked_scatter_.default: _masked_scatter_in_place,
    aten.fake_quantize_per_tensor_affine.default: _like_the_first,
    aten.fake_quantize_per_tensor_affine.tensor_qparams: _like_the_first,
    aten.fake_quantize_per_channel_affine.default: _like_the_first,
    aten._sample_dirichlet.default: _like_the_first,
    aten.binomial.default: _like_the_first,
    aten.affine_grid_generator.default: _affine_grid,
    aten.scaled_dot_product_attention.default: _attention,
    aten.pixel_unshuffle.default: _pixel_unshuffle,
    aten.linspace.default: _spaced,
    **{
        overload: _between_tensors
        for packet in (aten.linspace, aten.logspace)
        for overload in (packet.Tensor_Tensor, packet.Tensor_Scalar, packet.Scalar_Tensor)
    },
    aten.group_norm.default: _group_norm,
    **dict.fromkeys((aten.linalg_matrix_norm.default, aten.linalg_matrix_norm.str_ord), _matrix_norm),
    **dict.fromkeys((aten.linalg_norm.default, aten.linalg_norm.ord_str), _norm),
    aten.linalg_multi_dot.default: _multi_dot,
    aten._chunk_cat.default: _chunk_cat,
    aten.block_diag.default: _block_diag,
    aten.embedding_bag.padding_idx: _padded_bags,
    aten.diff.default: _diff,
    aten.hash_tensor.default: _hashed,
    aten.istft.default: signal_of,
    aten._new_zeros_with_same_feature_meta.default: _like_the_second,
    **dict.fromkeys((aten.cov.default, aten.corrcoef.default), _covariance),
    aten.rand.generator: _drawn(aten.rand.default),
    aten.randn.generator: _drawn(aten.randn.default),
    aten.randint.generator: _drawn(aten.randint.default),
    aten.randint.low_generator: _drawn(aten.randint.low),
    aten.randperm.generator: _drawn(aten.randperm.default),
}
