"""Losses that are no composition of others."""

import pytest
import torch
import torch.nn.functional as F
import torch.nn.modules.linear_cross_entropy  # registers its op
from tests.lowering.support import check

STEPS = torch.randn(7, 3, 5).log_softmax(2)
LENGTHS = torch.tensor([7, 4, 5])
TARGETS = torch.tensor([[1, 1, 2], [3, 4, -7], [0, 0, 0]])  # behind the last one stands anything
COUNTS = torch.tensor([3, 2, 0])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_alignments(reduction):
    def losses(steps, targets, lengths, counts):
        row = F.ctc_loss(steps, targets, lengths, counts, reduction=reduction)
        joined = F.ctc_loss(steps, targets.flatten()[[0, 1, 2, 3, 4]], lengths, counts, reduction=reduction)
        return row, joined

    dynamic = {"steps": {0: "t"}}
    check(losses, STEPS, TARGETS, LENGTHS, COUNTS, dynamic=dynamic, again=(STEPS[:6], TARGETS, LENGTHS - 2, COUNTS))


def test_alignments_that_cannot_be():
    impossible = torch.tensor([3, 2, 0])  # two equal labels have a blank between them

    def losses(steps, targets):
        plain = F.ctc_loss(steps, targets, impossible, COUNTS, blank=4, reduction="none")
        return plain, F.ctc_loss(steps, targets, impossible, COUNTS, blank=4, reduction="none", zero_infinity=True)

    check(losses, STEPS, TARGETS.clamp(0, 3), opset=13)


def test_one_sequence_and_lengths_in_python():
    check(lambda steps, target: F.ctc_loss(steps, target, [6], [2], reduction="none"), STEPS[:, 0], TARGETS[0, :2])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_linear_cross_entropy_in_pieces(reduction, dtype):
    op = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    rows, matrix, bias, weight = (torch.randn(*shape).to(dtype) for shape in ((6, 4), (5, 4), (5,), (5,)))
    classes = torch.tensor([1, 4, -100, 0, 2, 2])

    def loss(rows, matrix, bias, weight, classes):
        given = (rows, matrix, classes, bias, weight.abs())
        if reduction == "none":
            return torch.ops.torch_nn._linear_cross_entropy_batch_chunked_no_reduction(
                *given, -100, 2, "accumulate", torch.float32
            )
        return op(*given, reduction, -100, 0.0, 2, "accumulate", torch.float32, False, False, False, False)[0]

    check(loss, rows, matrix, bias, weight, classes)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_targets_end_at_the_first_that_is_none(reduction):
    def losses(scores, targets):
        row = F.multilabel_margin_loss(scores[0], targets[0], reduction=reduction)
        one = F.multilabel_margin_loss(scores[0, 0], targets[0, 0] * 0, reduction=reduction)
        return F.multilabel_margin_loss(scores, targets, reduction=reduction), row, one

    targets = torch.tensor([[2, -1, 2, 2], [-1, 0, 1, 2], [1, 3, 1, -1], [0, 2, 1, 0]])
    scores = torch.randn(4, 4)
    sizes, again = {"scores": {0: "n"}, "targets": {0: "n"}}, targets.roll(1, 1)[[0, 1, 2, 3, 3]]
    check(losses, scores, targets, dynamic=sizes, again=(torch.randn(5, 4), again))
    scores[1, 2] = torch.nan
    check(losses, scores, targets, opset=13)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_margins_of_one_class(reduction):
    def losses(scores, target):
        weighted = F.multi_margin_loss(scores, target, p=2, margin=0.5, weight=scores.abs(), reduction=reduction)
        return weighted, F.multi_margin_loss(scores, target[None], reduction=reduction)

    check(losses, torch.randn(4), torch.tensor(2))
