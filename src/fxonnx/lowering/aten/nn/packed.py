"""Packed sequences: the steps of a batch of sequences, each sequence as long as it is, the longest first.

    padded  a0 a1 a2      steps  a0 b0 c0 │ a1 b1 │ a2  ─▶ data           rows of the padded tensor, step by step
            b0 b1 ·                3         2      1   ─▶ batch sizes    how many sequences are that long
            c0 ·  ·

To pack is to Compress the padded tensor by which of its places are inside a sequence, to pad again is to Gather. What
was packed of a padded tensor is that tensor, though, for whoever knows: `PackedData` and `BatchSizes` do, so that from
pack_padded_sequence through a recurrent layer to pad_packed_sequence nothing is packed. No rewriting of ONNX can find
that: it holds because lengths are sorted, which their values do not show.

Source: torch.nn.utils.rnn; aten/src/ATen/native/PackedSequence.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, maximum, product
from fxonnx.ir.graph import Value
from fxonnx.lowering.aten.tensor import joining, shape
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, number, positions, reshape


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of a batch of sequences, int64[batch], the longest first; and for how many steps there is room."""

    each: Tensor
    steps: Dim

    def inside(self, op: Builder) -> Tensor:
        """Which places of a padded tensor are inside a sequence: bool[steps, batch]."""
        return op.Unsqueeze(positions(op, self.steps), [1]) < self.each

    def longest(self, op: Builder) -> Tensor:
        """The greatest, int64[1]."""
        return op.Slice(self.each, [0], [1], [0])


class PackedData(Tensor):
    """The data of a PackedSequence that knows what it was packed of: [steps, batch, …], zeros beyond the ends if
    `is_clean`."""

    __slots__ = ("is_clean", "padded")

    def __init__(self, builder: Builder, value: Value, padded: Tensor, is_clean: bool) -> None:
        super().__init__(builder, value)
        self.padded, self.is_clean = padded, is_clean


class BatchSizes(Tensor):
    """The batch sizes of a PackedSequence that know the lengths that they were counted of."""

    __slots__ = ("lengths",)

    def __init__(self, builder: Builder, value: Value, lengths: Lengths) -> None:
        super().__init__(builder, value)
        self.lengths = lengths


def pack(op: Builder, padded: Tensor, lengths: Lengths, is_clean: bool) -> PackedData:
    """The data of a PackedSequence of a tensor [steps, batch, …]."""
    rows = reshape(op, padded, (product(padded.shape[:2]), *padded.shape[2:]))
    data = op.Compress(rows, op.Reshape(lengths.inside(op), [-1]), axis=0)
    return PackedData(op, data.value, padded, is_clean)


def lengths_of(op: Builder, batch_sizes: Tensor) -> Lengths:
    """The lengths of the sequences that batch sizes count: of sequence i how many steps have more than i."""
    if isinstance(batch_sizes, BatchSizes):
        return batch_sizes.lengths
    first = op.Gather(batch_sizes, 0)
    is_there = op.Range(0, first, 1) < op.Unsqueeze(batch_sizes, [1])
    return Lengths(op.ReduceSum(cast(op, is_there, dtypes.INT64), [0], keepdims=0), batch_sizes.shape[0])


def padded_of(op: Builder, data: Tensor, lengths: Lengths) -> Tensor:
    """A padded tensor, [steps, batch, …], of which the data may have been packed; what is beyond the ends is any."""
    if isinstance(data, PackedData):
        return data.padded
    counts = _counts(op, lengths)
    starts = op.CumSum(counts, 0, exclusive=1)
    places = op.Unsqueeze(starts, [1]) + positions(op, lengths.each.shape[0])
    return op.Gather(data, op.Min(places, op.size(data.shape[0] - 1)), axis=0)


def _counts(op: Builder, lengths: Lengths) -> Tensor:
    """How many sequences have a step, int64[steps]."""
    return op.ReduceSum(cast(op, lengths.inside(op), dtypes.INT64), [1], keepdims=0)


@lower("aten._pack_padded_sequence")
def pack_padded_sequence(op: Builder, input: Tensor, lengths: Tensor, batch_first: bool) -> Sequence[Tensor]:
    """The rows of a padded tensor that are inside a sequence, step by step, and how many each step has. The lengths are
    positive, and the longest comes first."""
    padded = shape.swap(op, input, 0, 1) if batch_first else input
    known = Lengths(cast(op, lengths, dtypes.INT64), padded.shape[0])
    sizes = op.Slice(_counts(op, known), [0], known.longest(op), [0])
    return pack(op, padded, known, is_clean=False), BatchSizes(op, sizes.value, known)


@lower("aten._pad_packed_sequence")
def pad_packed_sequence(
    op: Builder, data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: Any, total_length: Dim
) -> Sequence[Tensor]:
    """The padded tensor of packed data, as long as its longest sequence or `total_length`; and the lengths."""
    lengths = lengths_of(op, batch_sizes)
    padded = padded_of(op, data, lengths)
    if padding_value != 0 or not isinstance(data, PackedData) or not data.is_clean:
        inside = lengths.inside(op)
        inside = reshape(op, inside, (*inside.shape, *(1,) * (padded.rank - 2)))
        padded = op.Where(inside, padded, number(op, padding_value, padded))
    padded = _of_length(op, padded, lengths, total_length, number(op, padding_value, padded))
    return shape.swap(op, padded, 0, 1) if batch_first else padded, lengths.each


def _of_length(op: Builder, padded: Tensor, lengths: Lengths, total: Dim, padding: Tensor) -> Tensor:
    """A padded tensor of `total` steps, which are at least those of the longest sequence; of those where it is 0."""
    if total == lengths.steps:
        return padded
    if total == 0:
        return op.Slice(padded, [0], lengths.longest(op), [0])
    missing = maximum(total - lengths.steps, 0)
    kept = joining.cut(op, padded, 0, 0, total)
    return kept if missing == 0 else op.Pad(kept, [*[0] * padded.rank, missing, *[0] * (padded.rank - 1)], padding)
