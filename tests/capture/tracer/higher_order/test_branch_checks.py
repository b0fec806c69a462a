"""What a branch checks of its data, where it is taken, a call is checked for; a loop that checks is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors

check = torch.ops.aten._assert_async.msg


def triples(x: Tensor) -> Tensor:
    return x * 3


def one(x: Tensor) -> Any:
    def positive(x: Tensor) -> Tensor:
        check((x > 0).all(), "negative")
        return x * 2

    return torch.cond(x.sum() > 0, positive, triples, (x,))


def several(x: Tensor) -> Any:
    def positive(x: Tensor) -> tuple[Tensor, Tensor]:
        check((x > 0).all(), "negative")
        check(x.amax() < 100, "large")
        return x * 2, x + 1

    def other(x: Tensor) -> tuple[Tensor, Tensor]:
        check(x.amin() > -100, "small")
        return x * 3, x - 1

    return torch.cond(x.sum() > 0, positive, other, (x,))


def nested(x: Tensor) -> Any:
    def large(x: Tensor) -> Tensor:
        check((x > 0).all(), "negative")
        return x * 5

    def positive(x: Tensor) -> Any:
        return torch.cond(x.max() > 10, large, triples, (x,))

    return torch.cond(x.sum() > 0, positive, triples, (x,))


@torch.no_grad()
def without_gradients(x: Tensor) -> Any:
    return one(x) + 1


INPUTS = [[1.0, 2, 3], [-5.0, -1, 2], [5.0, -1, 2], [20.0, -1, 2], [1.0, 200, 3], [-200.0, 1, 1]]


@pytest.mark.parametrize("model", [one, several, nested, without_gradients], ids=lambda model: model.__name__)
def test_a_branch_checks_where_it_is_taken(model: Any) -> None:
    compiled = fxonnx.compile(model, (torch.tensor(INPUTS[0]),))
    for values in INPUTS:
        x = torch.tensor(values)
        try:
            expected = model(x)
        except RuntimeError as error:
            with pytest.raises(errors.CheckFailed, match=str(error)):
                compiled(x)
        else:
            torch.testing.assert_close(compiled(x), expected)


def test_a_loop_that_checks_is_refused() -> None:
    def model(x: Tensor) -> Any:
        def body(step: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            check((x > 0).all(), "negative")
            return step + 1, x * 2

        start = torch.zeros((), dtype=torch.int64)
        return torch._higher_order_ops.while_loop(lambda step, x: step < 3, body, (start, x))[1]

    with pytest.raises(errors.CaptureRefused, match="a loop checks") as caught:
        fxonnx.compile(model, (torch.ones(3),))
    assert caught.value.locations[0].file == __file__
