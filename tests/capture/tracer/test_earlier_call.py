"""A model that was run before it is compiled is compiled like one that was not, where its caches are no more."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors
from fxonnx.capture.tracer import earlier_call
from fxonnx.capture.tracer.paths.walk import carry_out
from fxonnx.capture.tracer.run import Run

DIMS = {"x": {0: "b", 1: "n"}}


class Caching(nn.Module):
    """What the bodies below keep."""

    shape = None

    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.size, self.table, self.parts, self.body = -1, torch.empty(0), [], body
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def by_size(self: Any, x: Tensor) -> Tensor:
    if x.shape[1] != self.size:
        self.size, self.table = x.shape[1], torch.arange(x.shape[1], dtype=x.dtype)
    return x * self.table


def by_shape(self: Any, x: Tensor) -> Tensor:
    if self.shape != x.shape:
        self.shape, self.table = x.shape, x.new_full((x.shape[1],), 0.5).cumsum(0)
    return x * self.table


def in_a_list(self: Any, x: Tensor) -> Tensor:
    if self.shape != x.shape:
        self.shape, self.parts = x.shape, [torch.ones(x.shape[1]), torch.arange(x.shape[1]) * 2.0]
    return x * self.parts[1] + self.parts[0]


def of_weights(self: Any, x: Tensor) -> Tensor:
    if x.shape[1] != self.size:
        self.size, self.table = x.shape[1], torch.arange(x.shape[1]) * self.weight
    return x * self.table


def at_multiples(self: Any, x: Tensor) -> Tensor:
    if x.shape[1] != self.size:
        self.size, self.table = x.shape[1], torch.arange(x.shape[1], dtype=x.dtype)
    return (x * self.table).reshape(x.shape[0], x.shape[1] // 4, 4).sum(-1)


BODIES = [by_size, by_shape, in_a_list, of_weights, at_multiples]


@pytest.mark.parametrize("first", [None, 8, 12, 24])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_run_before_at_this_size_another_or_never(body: Any, first: int | None) -> None:
    model = Caching(body).eval()
    with torch.no_grad():
        if first:
            model(torch.randn(2, first))
        compiled = fxonnx.compile(model, (torch.randn(2, 12),), dynamic_shapes=DIMS)
        for shape in ((2, 12), (3, 8), (1, 24), (1, 12)):
            x = torch.randn(shape)
            torch.testing.assert_close(compiled(x), Caching(body).eval()(x))


def test_a_table_that_is_stale_is_not_taken_for_the_one_that_is_computed() -> None:
    model = Caching(of_weights).eval()
    with torch.no_grad():
        model(torch.randn(2, 12))
        model.weight.fill_(3.0)
    with pytest.raises(errors.CaptureRefused, match="next call"):
        fxonnx.compile(model, (torch.randn(2, 12),), dynamic_shapes=DIMS)


def drawn_once(self: Any, x: Tensor) -> Tensor:
    if x.shape[1] != self.size:
        self.size, self.table = x.shape[1], torch.randn(x.shape[1])
    return x * self.table


def drawn_each_time(self: Any, x: Tensor) -> Tensor:
    self.table = torch.randn(x.shape[1])
    return x * self.table


def test_what_is_drawn_once_is_not_drawn_at_each_call() -> None:
    fxonnx.compile(Caching(drawn_each_time), (torch.randn(2, 12),))
    with pytest.raises(errors.CaptureRefused, match="next call"):
        fxonnx.compile(Caching(drawn_once), (torch.randn(2, 12),))


def test_where_a_call_leaves_nothing_there_is_none_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Run] = []
    monkeypatch.setattr(earlier_call, "carry_out", lambda run: done.append(run) or carry_out(run))
    with pytest.raises(errors.FrozenDimension):
        fxonnx.compile(Caching(lambda self, x: x.reshape(-1, 5)), (torch.ones(2, 5),), dynamic_shapes=DIMS)
    assert done
    assert not any(node.op == "call_function" for run in done for node in run.tape.graph.nodes)
