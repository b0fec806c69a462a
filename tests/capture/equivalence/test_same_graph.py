"""Whether two captures say the same: what makes no difference, and what does."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fxonnx.capture.call.example import Example
from fxonnx.capture.call.inputs import Flat, example_arguments
from fxonnx.capture.call.tree import flatten
from fxonnx.capture.equivalence import value_numbers
from fxonnx.capture.equivalence.captured_graph import CapturedGraph
from fxonnx.capture.equivalence.same_graph import Difference, compare, is_same
from fxonnx.capture.tracer.fake_inputs import SymbolTable
from fxonnx.capture.tracer.run import Run

WEIGHT = nn.Parameter(torch.ones(3))


def graph(model: Callable[..., object], *sizes: int) -> CapturedGraph:
    """The calls that a model makes on an input of these sizes."""
    arguments = example_arguments(inspect.signature(model), (torch.ones(sizes or (4, 3)),), {})
    leaves, _, tree = flatten(arguments.values)
    run = Run.prepare(Example(Flat(model, arguments.without_values(), tree), ["x"], leaves, {}), SymbolTable())
    run()
    return run.captured_graph()


def model(x: Tensor) -> Tensor:
    y = x * 1
    y.add_(WEIGHT)
    return y.exp() + x.sin() + torch.tensor([1.0, 2.0, 3.0])


def with_a_dead_call(x: Tensor) -> Tensor:
    x.cos()
    return model(x)


def in_another_order(x: Tensor) -> Tensor:
    sine, constant = x.sin(), torch.tensor([1.0, 2.0, 3.0])
    y = x * 1
    y.add_(WEIGHT)
    return y.exp() + sine + constant


def with_repetition(x: Tensor) -> Tensor:
    y = x * 1
    x * 1
    y.add_(WEIGHT)
    return y.exp() + x.sin() + torch.tensor([1.0, 2.0, 3.0])


def with_views_of_itself(x: Tensor) -> Tensor:
    return model(x[:].view(x.shape).detach().expand(x.shape))


@pytest.mark.parametrize("other", [with_a_dead_call, in_another_order, with_repetition, with_views_of_itself])
def test_what_makes_no_difference(other: Callable[..., object]) -> None:
    assert is_same(graph(model), graph(other))
    compare(graph(model), graph(other), {})


def writes_before(x: Tensor) -> Tensor:
    y = x * 1
    view = y[0]
    y.mul_(2)
    return view.exp()


def writes_after(x: Tensor) -> Tensor:
    y = x * 1
    view = y[0].exp()
    y.mul_(2)
    return view


def writes_to_the_input(x: Tensor) -> Tensor:
    y = x * 1
    view = y[0].exp()
    x.mul_(2)
    return view


def adds_twice(x: Tensor) -> Tensor:
    y = x * 1
    y.add_(1)
    y.add_(1)
    return y


def adds_once(x: Tensor) -> Tensor:
    y = x * 1
    y.add_(1)
    return y


def draws_twice(x: Tensor) -> Tensor:
    return torch.rand(3) + torch.rand(3)


def draws_once(x: Tensor) -> Tensor:
    drawn = torch.rand(3)
    return drawn + drawn


def another_constant(x: Tensor) -> Tensor:
    y = x * 1
    y.add_(WEIGHT)
    return y.exp() + x.sin() + torch.tensor([1.0, 2.0, 4.0])


def in_a_list(x: Tensor) -> list[Tensor]:
    return [model(x)]


DIFFERING = [
    (writes_before, writes_after),
    (writes_after, writes_to_the_input),
    (adds_once, adds_twice),
    (draws_once, draws_twice),
    (model, another_constant),
    (model, in_a_list),
    (lambda x: x + 1, lambda x: x + True),
    (lambda x: x.sum(0), lambda x: x.sum(1)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERING)
def test_what_makes_one(one: Callable[..., object], other: Callable[..., object]) -> None:
    assert not is_same(graph(one), graph(other))
    with pytest.raises(Difference):
        compare(graph(one), graph(other), {})


def test_a_difference_is_said_with_its_place() -> None:
    with pytest.raises(Difference, match=r"aten\.mul\.Tensor\(3\).* where the captured graph has aten\.mul") as caught:
        compare(graph(lambda x: x.exp() * 2), graph(lambda x: x.exp() * 3), {})
    assert caught.value.location.code.endswith("graph(lambda x: x.exp() * 3), {})")


def test_each_call_is_numbered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    number = value_numbers.NumberedGraph._call
    monkeypatch.setattr(
        value_numbers.NumberedGraph, "_call", lambda self, node: calls.append(node) or number(self, node)
    )

    def deep(x: Tensor) -> Tensor:
        for _ in range(40):
            x = x + x
        return x

    assert is_same(graph(deep), graph(deep))
    assert len(calls) == 80
