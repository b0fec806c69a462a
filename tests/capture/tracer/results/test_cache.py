"""The fake cache: calls of one kind are computed once, and each of their results has its own storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.capture.interpret import run, writes
from torch import Tensor

from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.tracer.results import cache
from fxonnx.capture.tracer.results.sample import sample


def siblings(x: Tensor) -> Any:
    a, b, c = x.relu(), x.relu(), x.relu()
    b.add_(1)
    return a, b, c


def each_beside_itself_and_others(x: Tensor) -> Any:
    y = x * 2
    one, other = torch.broadcast_tensors(x, x)
    first, second = torch.broadcast_tensors(x, y)
    return one + other, first - second


def sibling_views(x: Tensor) -> Any:
    a, b = (x + 1).view(-1), (x + 1).view(-1)
    a[1:].mul_(3)
    return a, b, b.sum()


def broadcast_siblings(x: Tensor) -> Any:
    a, b, c = x * 2, x * 2, x * 2
    p, q, r = torch.broadcast_tensors(a, b, c)
    q.add_(1)
    return a, b, c, p + r


def view_as_sibling(x: Tensor) -> Any:
    a, b = x.sin(), x.sin()
    c = a.view_as(b)
    b.zero_()
    return c, a, b


def written_through_a_repeated_view(x: Tensor) -> Any:
    y = x * 1
    for column in range(3):
        y[:, column].add_(column)
    return y


def squeezed(x: Tensor) -> Any:
    a, b = (x + 1).unsqueeze(0), (x + 1).unsqueeze(0)
    a.squeeze_(0)
    a[0] += 1
    return a, b


def pieces(x: Tensor) -> Any:
    first = (x + 1).split(1, dim=1)
    second = (x + 1).split(1, dim=1)
    second[0].mul_(5)
    return torch.cat(first, 1), torch.cat(second, 1)


def same_weight_twice(x: Tensor) -> Any:
    table = torch.zeros(4)
    a = x + table
    table.add_(1)
    return a, x + table


def transposed(x: Tensor) -> Any:
    a, b = x.t().contiguous(), x.t().contiguous()
    a.t()[0] = 7
    return a, b


def views_of_another_dtype(x: Tensor) -> Any:
    a, b = (x + 1).view(-1, 2, 2), (x + 1).view(-1, 2, 2)
    p, q = torch.view_as_real(torch.view_as_complex(a)), torch.view_as_real(torch.view_as_complex(b))
    p.mul_(2)
    return a, b, q


def factories(x: Tensor) -> Any:
    a, b = torch.zeros(3, 4), torch.zeros(3, 4)
    a.add_(x)
    return a, b, torch.arange(4) + torch.arange(4)


def made_like_an_argument(x: Tensor) -> Any:
    a, b, c = torch.zeros_like(x), torch.zeros_like(x), x.new_zeros(x.shape)
    a.add_(x)
    c += 1
    return a, b, c, x.to(torch.float64) + x.to(torch.float64)


MODELS: list[Callable[[Tensor], Any]] = [
    siblings, sibling_views, each_beside_itself_and_others, broadcast_siblings, view_as_sibling,
    written_through_a_repeated_view, squeezed, pieces,
    same_weight_twice, transposed, views_of_another_dtype, factories, made_like_an_argument,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
def test_repeated_calls_keep_their_own_memory(model: Callable[[Tensor], Any], dims: Any) -> None:
    dims = None if model is factories else dims
    program = capture(model, (torch.randn(3, 4),), dynamic_shapes=dims)
    assert not writes(program.graph)
    for rows in (3, 5) if dims else (3,):
        x = torch.randn(rows, 4)
        torch.testing.assert_close(run(program, (x,))[0], model(x.clone()))


def test_a_second_layer_is_a_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = []

    def noted(func: Any, *rest: Any) -> Any:
        sampled.append(str(func))
        return sample(func, *rest)

    monkeypatch.setattr(cache, "sample", noted)
    layers = [torch.nn.Linear(4, 4) for _ in range(5)]
    capture(torch.nn.Sequential(*layers), (torch.randn(2, 4),))
    assert sampled == ["aten.linear.default"]


@pytest.mark.parametrize(
    "layer", [torch.nn.BatchNorm1d(5), torch.nn.LayerNorm(5), torch.nn.LayerNorm((1, 2, 4))], ids=str
)
def test_arguments_that_do_not_fit_are_refused(layer: torch.nn.Module) -> None:
    with pytest.raises(errors.ModelRaised, match="4"):
        capture(layer.eval(), (torch.randn(2, 4),))


ODD: dict[str, Callable[[Tensor], Any]] = {
    "linear": lambda x: torch.nn.functional.linear(x, torch.ones(3, 5)),
    "matmul": lambda x: x @ torch.ones(3, 5),
    "cat": lambda x: torch.cat([x, torch.ones(2, 5)]),
    "cat along no axis": lambda x: torch.cat([x, x], 2),
    "view": lambda x: x.view(3, 3),
    "expand": lambda x: x.expand(2, 7),
}


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", ODD)
def test_what_torch_refuses_is_refused(name: str, dims: Any) -> None:
    with pytest.raises(errors.Error) as caught:
        capture(ODD[name], (torch.ones(2, 4),), dynamic_shapes=dims)
    assert all(isinstance(each, (errors.ModelRaised, errors.FrozenDimension)) for each in each_error(caught.value))


def each_error(error: errors.Error) -> list[errors.Error]:
    return list(error.errors) if isinstance(error, errors.Failures) else [error]


LAYERS: dict[str, Callable[[Tensor], Any]] = {
    "linear": lambda x: torch.nn.functional.linear(x.transpose(0, 1), torch.ones(3, 2)),
    "matmul": lambda x: x[None].expand(3, -1, -1) @ x.t()[None].expand(3, -1, -1),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x.t().contiguous().t(), (4,)),
    "cat": lambda x: torch.cat([x, x * 2, x[:0]], -2),
    "resize": lambda x: torch.nn.functional.interpolate(x[None, None], (5, 7), mode="bilinear"),
    "channels last": lambda x: torch.nn.functional.interpolate(
        x[None, None].repeat(1, 2, 1, 1).contiguous(memory_format=torch.channels_last), (5, 7)
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_results_have_the_metadata_that_torch_gives_them(name: str) -> None:
    """Shape, dtype and strides: what a view after it, or a kernel, could tell apart."""
    x = torch.randn(2, 4)
    program = capture(LAYERS[name], (x,))
    (found,) = (node.meta["val"] for node in program.outputs)
    expected = LAYERS[name](x)
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())


def test_the_data_of_a_tensor() -> None:
    x = torch.randn(3)
    program = capture(lambda x: (x + 1).data * 2, (x,))
    torch.testing.assert_close(run(program, (x,))[0], (x + 1) * 2)


def test_the_data_of_one_of_several_like_it() -> None:
    def model(x: Tensor) -> Tensor:
        a, b, c = x.sin(), x.cos(), x.sin()
        return a + c.data * 2 + b

    x = torch.randn(3)
    torch.testing.assert_close(run(capture(model, (x,)), (x,))[0], model(x))


def test_random_numbers_and_generators() -> None:
    generator = torch.Generator().manual_seed(0)
    program = capture(lambda x: x + torch.rand(3, generator=generator), (torch.randn(3),))
    assert "aten.rand.generator" in [str(node.target) for node in program.graph.nodes]


def test_tensors_made_of_tensors_are_refused() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    weight = TwoTensor(torch.ones(3), torch.ones(3))
    with pytest.raises(errors.CaptureRefused, match="TwoTensor"):
        capture(lambda x: x + weight, (torch.randn(3),))
