"""Captures that are tried again: the plan in words, what was tried, and that the first remedy that applies is taken."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import fxonnx
from fxonnx.capture import capture
from fxonnx.capture.retry import Remedy, RetryPlan
from fxonnx.capture.tracer.attempts.remedies import PLAN


def test_the_first_remedy_that_applies_is_taken_until_none_does() -> None:
    plan: RetryPlan[int, int] = RetryPlan(
        "as it is",
        (
            Remedy("less one", lambda attempt, outcome: attempt - 1 if outcome % 2 else None),
            Remedy("halved", lambda attempt, outcome: attempt // 2 if outcome > 2 else None),
        ),
    )
    assert str(plan) == "as it is; else less one; else halved"
    tried: list[int] = []
    last, outcome, said = plan.carry_out(13, lambda attempt: tried.append(attempt) or attempt)
    assert tried == [13, 12, 6, 3, 2] and last == outcome == 2
    assert said == ("as it is", "less one", "halved", "halved", "less one")


def test_the_plan_reads_as_a_sentence() -> None:
    loops = "with the loop that data ends rolled up; else with a branch for each turn of loops that data ends"
    states = "with gradients; else with the values of states for data; else telling"
    assert str(PLAN).startswith(f"at primes; else {loops}; else {states}")
    assert "; else at the example's sizes; else at twice the example's sizes; else at multiples of the" in str(PLAN)


def test_a_program_tells_what_was_tried() -> None:
    def model(x: Tensor) -> Tensor:
        return x.view(-1, 6).sum(1)  # no prime has 6 for a factor

    assert capture(lambda x: x + 1, (torch.ones(4, 6),), dynamic_shapes={"x": {0: "n"}}).attempts == ("at primes",)
    compiled = fxonnx.compile(model, (torch.ones(12),), dynamic_shapes={"x": {0: "n"}})
    assert compiled.program.attempts == ("at primes", "at the example's sizes")
    assert "captured at primes; else at the example's sizes" in compiled.report()


def test_an_unnamed_dim_that_is_always_another_is_said_by_that() -> None:
    program = capture(lambda x, y: x.repeat(2, 1) + y, (torch.ones(4, 3), torch.ones(8, 3)), dynamic_shapes="auto")
    assert "with one name for dims that always agree" in program.attempts
    shapes = [[str(program.dim(size)) for size in each.node.meta["val"].shape] for each in program.inputs]
    assert shapes == [["d0", "d1"], ["2*d0", "d1"]]


def test_what_was_wrong_with_dims_that_are_tied_by_now_is_forgotten() -> None:
    """Here larger sizes raise; what is wrong without them names dims that the next attempt no longer has."""

    def model(x: Tensor, y: Tensor, z: Tensor, w: Tensor, b: Tensor, out: Tensor) -> Tensor:
        return F.multi_head_attention_forward(
            x, y, z, 2, 1, w, b, None, None, False, 0.0, out, None, training=False, need_weights=False
        )[0]

    tensors = (torch.rand(3, 2), torch.rand(3, 2), torch.rand(3, 2), torch.rand(6, 2), torch.rand(6), torch.rand(2, 2))
    compiled = fxonnx.compile(model, tensors, dynamic_shapes="auto")
    torch.testing.assert_close(compiled(*tensors), model(*tensors))
    assert len(compiled.program.attempts) < 20
