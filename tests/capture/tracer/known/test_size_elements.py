"""Small tensors that are computed of sizes give sizes where Python asks for their elements."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx

SIZES = ((2, 40), (3, 41), (1, 43), (5, 9))
FORWARDS: list[Callable[[Tensor], Tensor]] = []


def forward(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    FORWARDS.append(function)
    return function


@forward
def divided(x: Tensor) -> Tensor:
    count = torch.div(x.shape[1], 3, rounding_mode="trunc")
    return x[:, : 3 * count].view(x.shape[0], count, 3)


@forward
def product_of_a_shape(x: Tensor) -> Tensor:
    return x.reshape(torch.tensor(x.shape).prod()) * 2


@forward
def levels(x: Tensor) -> Tensor:
    shapes = torch.as_tensor([x.shape, (x.shape[0], x.shape[1] // 2)])
    starts = torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]))
    both = torch.cat([x.flatten(), x[:, : x.shape[1] // 2].flatten()])
    first, second = both.split(shapes.prod(1).tolist())
    return first.sum() + second.mean() + both[starts[1]]


@forward
def each_row(x: Tensor) -> Tensor:
    shapes = torch.tensor([[x.shape[0], x.shape[1]], [x.shape[1], x.shape[0]]], dtype=torch.int32)
    return torch.stack([(x.reshape(n, m) * torch.arange(m)).sum() for n, m in shapes])


@forward
def extrema(x: Tensor) -> Tensor:
    sizes = torch.tensor(x.shape)
    square = torch.minimum(sizes.max(), sizes.min() * 2)
    return F.pad(x, (0, square))[:, square:]


@forward
def compared(x: Tensor) -> Tensor:
    extra = torch.tensor(x.shape[1]) - 30
    return F.pad(x, (0, max(torch.tensor(6), extra)))


@forward
def chunks_that_overlap(x: Tensor) -> Tensor:
    whole = x[:, : x.shape[1] // 8 * 8].t().contiguous().t()  # columns after each other in memory
    chunks = whole.view(x.shape[0], torch.div(whole.shape[1], 8, rounding_mode="trunc"), 8)
    size, stride = list(chunks.shape), list(chunks.stride())
    size[1], stride[1] = 2 * size[1] - 1, stride[1] // 2
    return chunks.as_strided(size, stride)


@forward
def written_before(x: Tensor) -> Tensor:
    sizes = torch.tensor([x.shape[1], 3])
    sizes[1] = x.shape[0]
    return x.reshape(sizes.prod()) + 1


@pytest.mark.parametrize("function", FORWARDS, ids=lambda function: function.__name__)
def test_elements_are_sizes(function: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(function, torch.randn(*SIZES[0]), dynamic_shapes=({0: "n", 1: "m"},))
    for shape in SIZES:
        x = torch.randn(*shape)
        torch.testing.assert_close(compiled(x), function(x))


class Padded(nn.Module):
    """Windows over all of a signal, with what is needed behind it: [n, t] -> [n, 2, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = nn.Conv1d(1, 2, 7, 4)
        for name, value in {"kernel": 7, "stride": 4, "padding": 3}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        count = torch.ceil((x.shape[1] - self.kernel + self.padding) / self.stride + 1).to(torch.int64) - 1
        extra = count * self.stride + self.kernel - self.padding - x.shape[1]
        padded: Tensor = self.windows(F.pad(x[:, None], (self.padding, extra)))
        return padded


def test_quotients_of_buffers_are_rounded() -> None:
    model = Padded().eval()
    compiled = fxonnx.compile(model, torch.randn(2, 40), dynamic_shapes=({0: "n", 1: "t"},))
    for shape in SIZES:
        x = torch.randn(*shape)
        torch.testing.assert_close(compiled(x), model(x))
    assert "t <= " in str(compiled.limits) or "t - 4 <= " in str(compiled.limits)  # float32 says no more
