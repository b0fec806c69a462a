"""Losses that are no composition of others: of sequences without an alignment, of a linear layer in pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_scan
from fxonnx.ir.dims import Dim, product
from fxonnx.lowering.aten.nn.activation import log_softmax
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, constant, dtype_of, expand, full, number, positions, reshape

_NONE, _MEAN = 0, 1  # reductions, as torch numbers them


# ── connectionist temporal classification ────────────────────────────────────────────────────────────────────────────


@lower("aten.ctc_loss")
def ctc_loss(
    op: Builder, log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int], blank: int = 0, reduction: int = _MEAN, zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """-log of the probability of the targets over all alignments with the steps. Graves et al. 2006, §4.1.

    Step by step, of each sequence: the probability to be at each of its labels, between which blanks may stand.
    """
    is_batch = len(log_probs.shape) == 3
    steps = log_probs if is_batch else op.Unsqueeze(log_probs, [1])
    durations, lengths = (
        reshape(op, _as_numbers(op, each), (steps.shape[1],)) for each in (input_lengths, target_lengths)
    )
    labels = _labels(op, targets, lengths, target_lengths, steps.shape[1])
    labels = op.Clip(labels, number(op, 0, labels), op.size(steps.shape[2] - 1))  # behind the last one stands anything
    loss = -_log_likelihood(op, steps, _between_blanks(op, labels, blank), durations, lengths, blank)
    if zero_infinity:
        loss = op.Where(op.IsInf(loss), number(op, 0, loss), loss)
    if reduction == _NONE:
        return loss if is_batch else op.Squeeze(loss, [0])
    if reduction == _MEAN:
        return op.ReduceMean(loss / cast(op, op.Max(lengths, 1), dtype_of(loss)), keepdims=0)
    return op.ReduceSum(loss, keepdims=0)


def _as_numbers(op: Builder, given: Tensor | Sequence[int]) -> Tensor:
    return cast(op, given if isinstance(given, Tensor) else constant(op, np.array(given, np.int64)), dtypes.INT64)


def _labels(op: Builder, targets: Tensor, lengths: Tensor, given: Tensor | Sequence[int], batch: Dim) -> Tensor:
    """int64[batch, longest]: a row for each sequence, of targets that may be given one behind the other."""
    targets = cast(op, targets, dtypes.INT64)
    if len(targets.shape) == 2:
        return targets
    longest = targets.shape[0] if isinstance(given, Tensor) else max(given, default=0)
    if longest == 0:
        return full(op, [batch, 0], 0, dtypes.INT64)
    first = op.Unsqueeze(op.CumSum(lengths, 0, exclusive=1), [1])
    return op.Gather(targets, op.Min(first + positions(op, longest), op.size(targets.shape[0] - 1)), axis=0)


def _between_blanks(op: Builder, labels: Tensor, blank: int) -> Tensor:
    """int64[batch, 2·longest + 1]: blank, label, blank, label, …, blank."""
    batch, longest = labels.shape
    pairs = op.Concat(op.Unsqueeze(labels, [2]), full(op, [batch, longest, 1], blank, dtypes.INT64), axis=2)
    first = full(op, [batch, 1], blank, dtypes.INT64)
    return op.Concat(first, reshape(op, pairs, (batch, longest * 2)), axis=1)


def _log_likelihood(
    op: Builder, steps: Tensor, labels: Tensor, durations: Tensor, lengths: Tensor, blank: int
) -> Tensor:
    """[batch]: log of the probability to be at the end, the last label or the blank behind it, after all steps."""
    never = number(op, -math.inf, steps)
    scores = op.GatherElements(steps, expand(op, op.Unsqueeze(labels, [0]), (steps.shape[0], *labels.shape)), axis=2)
    running = op.Unsqueeze(positions(op, steps.shape[0]), [1]) < durations
    before = _behind(op, labels, 2, number(op, blank, labels))
    may_skip = op.And(op.Not(op.Equal(labels, before)), op.Not(op.Equal(labels, number(op, blank, labels))))

    def step(inner: Builder, there: Tensor, score: Tensor, is_running: Tensor) -> list[Tensor]:
        """From each label: stay, go to the next one, or skip the blank between two that differ."""
        stop = inner.use(never.value)
        moved = [_behind(inner, there, distance, stop) for distance in (1, 2)]
        moved[1] = inner.Where(inner.use(may_skip.value), moved[1], stop)
        after = _log_add(inner, [there, *moved]) + score
        return [inner.Where(inner.Unsqueeze(is_running, [1]), after, there)]

    at_first = op.Equal(positions(op, labels.shape[1]), 0)
    start = expand(op, op.Where(at_first, number(op, 0, steps), never), tuple(labels.shape))
    there = record_scan(op, [start], [scores, running], step)[0]
    last = op.Unsqueeze(lengths, [1]) * 2
    ends = op.GatherElements(there, op.Concat(last, op.Max(last - 1, 0), axis=1), axis=1)
    is_end = op.Concat(last >= 0, last > 0, axis=1)
    return _log_add(op, op.Split(op.Where(is_end, ends, never), axis=1, num_outputs=2), squeeze=True)


def _behind(op: Builder, x: Tensor, distance: int, fill: Tensor) -> Tensor:
    """Each row moved to the right."""
    block = op.Expand(fill, [x.shape[0], distance])
    return op.Slice(op.Concat(block, x, axis=1), [0], [x.shape[1]], [1])


def _log_add(op: Builder, terms: Sequence[Tensor], squeeze: bool = False) -> Tensor:
    """log Σ exp, of minus infinity as well."""
    greatest = op.Max(*terms)
    anchor = op.Where(op.IsInf(greatest), number(op, 0, greatest), greatest)
    total = op.Sum(*(op.Exp(term - anchor) for term in terms))
    found = op.Log(total) + anchor
    return op.Squeeze(found, [1]) if squeeze else found


# ── margins ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.multilabel_margin_loss_forward", opmath="self")
def multilabel_margin_loss(op: Builder, self: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    """By how much scores of other classes come within 1 of each target's; and which classes are targets.

    A row's targets end at the first -1 (ATen/native/LossMultiLabelMargin.cpp: torch's decomposition counts on).
    """
    rows = self.shape if len(self.shape) == 2 else (1, product(self.shape))
    scores, labels = (reshape(op, each, rows) for each in (self, target))
    zero = number(op, 0, scores)
    ends = cast(op, op.Equal(labels, number(op, -1, labels)), dtypes.INT64)
    is_label = op.Equal(op.CumSum(ends, 1), 0)
    classes = op.Where(is_label, labels, number(op, 0, labels))
    marks = op.ScatterElements(scores * zero, classes, cast(op, is_label, dtype_of(scores)), axis=1, reduction="max")
    margins = 1.0 - op.Unsqueeze(op.GatherElements(scores, classes, axis=1), [2]) + op.Unsqueeze(scores, [1])
    is_pair = op.And(op.Unsqueeze(is_label, [2]), op.Unsqueeze(op.Equal(marks, zero), [1]))
    kept = op.Where(op.And(is_pair, margins > zero), margins, zero)
    loss = op.ReduceMean(op.ReduceSum(kept, [1], keepdims=0), [1], keepdims=0)
    if reduction != _NONE:
        loss = (op.ReduceMean if reduction == _MEAN else op.ReduceSum)(loss, keepdims=0)
    return loss, reshape(op, marks, self.shape)


# ── a linear layer and its cross entropy ─────────────────────────────────────────────────────────────────────────────


_OF_TRAINING = {  # "label_smoothing" is 0: torch has no kernel for another
    "label_smoothing", "batch_chunk_size", "acc_policy", "acc_dtype", "allow_retain_graph",
    "compute_input_grad", "compute_linear_weight_grad", "compute_linear_bias_grad",
}  # fmt: skip


@lower("torch_nn._linear_cross_entropy_batch_chunked", opmath="input", ignore=_OF_TRAINING)
def linear_cross_entropy(
    op: Builder, input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None,
    weight: Tensor | None, reduction: str, ignore_index: int,
) -> tuple[Tensor, None, None, None]:  # fmt: skip
    """The cross entropy of classes and a linear layer, and nothing for the gradients, which serve training."""
    losses, weights = _cross_entropies(op, input, linear_weight, target, linear_bias, weight, ignore_index)
    total = op.ReduceSum(losses, keepdims=0)
    return total / op.ReduceSum(weights, keepdims=0) if reduction == "mean" else total, None, None, None


@lower("torch_nn._linear_cross_entropy_batch_chunked_no_reduction", opmath="input", ignore=_OF_TRAINING)
def linear_cross_entropies(
    op: Builder, input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None,
    weight: Tensor | None, ignore_index: int,
) -> Tensor:  # fmt: skip
    """The same of each row."""
    return _cross_entropies(op, input, linear_weight, target, linear_bias, weight, ignore_index)[0]


def _cross_entropies(
    op: Builder, input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None,
    weight: Tensor | None, ignore_index: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Of each row: its loss, and how much its class weighs; 0 for those that are ignored."""
    if dtype_of(target).is_float:
        raise Unsupported("a linear cross entropy of probabilities: torch's chunked form has classes only")
    logits = input @ op.Transpose(cast(op, linear_weight, dtype_of(input)), perm=[1, 0])
    logits = logits if linear_bias is None else logits + cast(op, linear_bias, dtype_of(input))
    logarithms, nothing = log_softmax(op, logits, -1), number(op, 0, input)
    is_counted = op.Not(op.Equal(target, number(op, ignore_index, target)))
    classes = op.Where(is_counted, target, number(op, 0, target))
    count, dtype = linear_weight.shape[0], dtype_of(input)
    of_classes = full(op, [count], 1, dtype) if weight is None else cast(op, weight, dtype)
    weights = op.Where(is_counted, op.Gather(of_classes, classes, axis=0), nothing)
    picked = op.Squeeze(op.GatherElements(logarithms, op.Unsqueeze(classes, [1]), axis=1), [1])
    return -picked * weights, weights
