"""View or copy: where sizes choose, and something is written, a graph holds for those that choose as the example's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor

from fxonnx import errors
from fxonnx.capture import capture


def every_second_row(x: Tensor) -> Tensor:
    x[::2].reshape(-1).fill_(9)
    return x


def every_third(x: Tensor) -> Tensor:
    x[:, ::3].reshape(-1).add_(1)
    return x


def first_five(x: Tensor) -> Tensor:
    x[:, :5].flatten().fill_(9)
    return x


def a_half(x: Tensor) -> Tensor:
    x[:, : x.shape[1] // 2].ravel().mul_(2)
    return x


def turned(x: Tensor) -> Tensor:
    x[3:].t().contiguous().zero_()
    return x


def windows(x: Tensor) -> Tensor:
    x.unfold(1, 2, 2).reshape(-1).fill_(3)
    return x


def the_whole_later(x: Tensor) -> Tensor:
    part = x[::2].reshape(-1)
    x.fill_(7)
    return part


MODELS = [every_second_row, every_third, first_five, a_half, turned, windows, the_whole_later]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_call_is_right_or_refused(model: Callable[[Tensor], Tensor]) -> None:
    held = 0
    for example in ((6, 8), (5, 9)):
        try:
            program = capture(
                lambda x: model(x * 1), (torch.randn(example),), dynamic_shapes=[{0: "n", 1: "m"}]
            )
        except errors.CaptureRefused as refused:
            assert "clone()" in refused.cure
            continue
        for rows, columns in (example, (2, 3), (3, 2), (4, 9), (2, 12), (7, 4), (8, 5), (4, 6)):
            if all(each.holds({"n": rows, "m": columns}) for each in program.assumptions):
                x = torch.randn(rows, columns)
                torch.testing.assert_close(run(program, (x,))[0], model(x * 1))
                held += (rows, columns) != example
    assert held


def test_where_nothing_is_written_nothing_is_asked() -> None:
    def reads(x: Tensor) -> Tensor:
        return x[::2].reshape(-1) + x[:, ::3].flatten().sum() + x.unfold(1, 2, 2).contiguous().sum()

    def writes_elsewhere(x: Tensor) -> Tensor:
        return (x[::2].reshape(-1) * 1).add_(1)

    def writes_all(x: Tensor) -> Tensor:
        y = x * 1
        y.reshape(-1).fill_(1)
        return y.view(-1).add_(2)

    for model in (reads, writes_elsewhere, writes_all):
        program = capture(model, (torch.randn(6, 8),), dynamic_shapes=[{0: "n", 1: "m"}])
        assert all(each.required for each in program.assumptions)


def test_an_as_strided_view_counts_the_elements_of_its_own_dtype() -> None:
    def pairs(x: Tensor) -> Tensor:
        numbers = torch.view_as_real(torch.complex(x, -x))
        return numbers.as_strided((3, 2), (2, 1), 1)

    x = torch.randn(4, 6)
    torch.testing.assert_close(run(capture(pairs, (x,)), (x,))[0], pairs(x))


def test_what_is_written_before_is_in_a_view_and_in_a_copy() -> None:
    """Of another layout than the example's: here a padding mask of one row for all, as attention takes it."""

    def weights(mask: Tensor) -> Tensor:
        filled = torch.zeros_like(mask, dtype=torch.float32).masked_fill_(mask, -1)
        return filled.view(2, 1, 1, 3).expand(-1, 2, -1, -1).reshape(4, 1, 3)

    mask = torch.tensor([False, False, True])
    for example in (mask.expand(2, 3), mask.repeat(2, 1), mask.repeat(2, 1).t().contiguous().t()):
        program = capture(weights, (example,))
        assert not program.by_layout
        torch.testing.assert_close(run(program, (mask.repeat(2, 1),))[0], weights(mask.repeat(2, 1)))
