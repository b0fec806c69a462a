"""squeeze_, t_ and the like of a tensor that outlives the call: the caller's has the new shape, a buffer is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors


def new_axis(x: Tensor) -> Tensor:
    x.unsqueeze_(0)
    return x + 1


def written_before_and_after(x: Tensor) -> Tensor:
    x.mul_(2)
    x.t_().add_(1)
    x.unsqueeze_(-1)
    x[0] = 7
    return x.sum(0)


def itself(x: Tensor) -> Tensor:
    y = x.to(x.dtype).contiguous()
    y.unsqueeze_(0)
    return y + 1


def axis_lost(x: Tensor) -> Tensor:
    y = x[:1]
    y.squeeze_(0)
    x.transpose_(0, 1).swapaxes_(0, 1)
    x.swapdims_(-1, -2)
    return y * 2


def returned(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.t_(), x


def another_of_the_same_memory(x: Tensor) -> Tensor:
    y = x.detach()
    y.t_().add_(1)
    x.view_as(x).unsqueeze_(0)
    return x[:].t_()


def one_of_several(x: Tensor) -> Tensor:
    first, second = torch.broadcast_tensors(x, x)
    second.t_()
    torch.atleast_1d(first, second)[0].unsqueeze_(0).add_(1)
    return x * 2


def strided(x: Tensor) -> Tensor:
    x.as_strided_((2, 2), (1, 2))
    return x - 1


MODELS = [
    new_axis, itself, written_before_and_after, axis_lost, returned, another_of_the_same_memory, one_of_several,
    strided,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_caller_sees_the_new_shape(model: Callable[[Tensor], Tensor], dynamic: bool) -> None:
    shapes = {"x": {0: "n"}} if dynamic and model is not strided else None
    compiled = fxonnx.compile(model, torch.randn(4, 3), dynamic_shapes=shapes)
    for size in (4, 6, 1) if shapes else (4, 4):
        x = torch.randn(size, 3)
        y = x.clone()
        torch.testing.assert_close(compiled(x), model(y))
        torch.testing.assert_close(x, y)
        assert x.stride() == y.stride()


def test_the_file_has_what_the_caller_sees() -> None:
    compiled = fxonnx.compile(written_before_and_after, torch.randn(4, 3))
    names = [each.name for each in compiled.model_proto().graph.output]
    sizes = [[dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in compiled.model_proto().graph.output]
    assert dict(zip(names, sizes, strict=True))["x.after"] == [3, 4, 1]


class OfABuffer(nn.Module):
    """The buffer is another one after each call, or as it was."""

    def __init__(self, times: int, size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(2, size))
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        y = self.weight.t_().sum(0)
        for _ in range(self.times - 1):
            self.weight.t_()
        return x + y.sum()


@pytest.mark.parametrize("size", [2, 3])
def test_a_buffer_keeps_its_shape(size: int) -> None:
    x = torch.randn(3)
    with pytest.raises(errors.CaptureRefused, match="t_"):
        fxonnx.compile(OfABuffer(1, size), x)
    model = OfABuffer(2, size)
    compiled, eager = fxonnx.compile(model, x), copy.deepcopy(model)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), eager(x))


def test_a_computed_shape_is_refused() -> None:
    with pytest.raises(errors.CaptureRefused, match="new tensor"):
        fxonnx.compile(lambda x: x.set_(x.t()) * 2, torch.randn(3, 4))


def test_a_literal_is_all_that_an_argument_of_no_axes_holds() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        x[()] = 7
        y[...] = x
        return x + 1

    compiled = fxonnx.compile(model, (torch.tensor(3.0), torch.tensor(4.0)))
    compiled.model_proto()
    x, y = torch.tensor(1.0), torch.tensor(2.0)
    assert (compiled(x, y), x, y) == (8, 7, 7)


def test_out_that_takes_another_shape_is_refused_for_an_argument() -> None:
    with pytest.raises(errors.CaptureRefused, match="changes the shape"):
        fxonnx.compile(lambda x, y: torch.add(x, x, out=y) * 1, (torch.randn(3), torch.randn(0)))


def test_out_that_keeps_its_shape_is_no_change_of_it() -> None:
    def model(x: Tensor) -> Tensor:
        return torch.add(x, x, out=x).swapaxes_(0, -1) * 2

    for shape in ((3, 3), (3, 4)):
        mine, theirs = torch.ones(shape), torch.ones(shape)
        torch.testing.assert_close(fxonnx.compile(model, torch.ones(shape))(mine), model(theirs))
        torch.testing.assert_close(mine, theirs)


def memory_of_another(x: Tensor) -> Tensor:
    other = x * 2
    before = x.view(-1)
    x.set_(other)
    before.add_(1)
    other.sub_(3)
    return x + before.view(x.shape)


class MemoryOfAnother(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        other = x + self.state
        self.state.set_(other)
        return other.mul_(2) + self.state


@pytest.mark.parametrize(
    ("model", "dims"),
    [(memory_of_another, None), (memory_of_another, {"x": {0: "n"}}), (MemoryOfAnother(), None)],
    ids=["argument", "argument of any size", "buffer"],
)
def test_the_memory_of_another_tensor_is_written_to_it(model: Callable[[Tensor], Tensor], dims: Any) -> None:
    reference = copy.deepcopy(model)
    compiled = fxonnx.compile(model, torch.randn(3), dynamic_shapes=dims)
    for _ in range(3):
        mine = torch.randn(3)
        theirs = mine.clone()
        torch.testing.assert_close(compiled(mine), reference(theirs))
        torch.testing.assert_close(mine, theirs)
