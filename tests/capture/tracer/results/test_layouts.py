"""Results lie in memory as eager's do, so that what reshapes them is a view, or a copy, where torch's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxonnx
from fxonnx.capture import capture

IMAGES: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: torch.randn(2, 4, 6, 5),
    "channels last": lambda: torch.randn(2, 4, 6, 5).contiguous(memory_format=torch.channels_last),
    "permuted": lambda: torch.randn(2, 6, 5, 4).permute(0, 3, 1, 2),
    "transposed": lambda: torch.randn(2, 4, 5, 6).transpose(2, 3),
    "expanded": lambda: torch.randn(2, 1, 6, 5).expand(2, 4, 6, 5),
    "reversed": lambda: torch.randn(5, 6, 4, 2).permute(3, 2, 1, 0),
    "sliced": lambda: torch.randn(2, 4, 6, 10)[..., ::2],
    "some channels": lambda: torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)[:, :4],
}
SEQUENCES: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: torch.randn(3, 5, 4),
    "batch second": lambda: torch.randn(5, 3, 4).transpose(0, 1),
    "features first": lambda: torch.randn(3, 4, 5).transpose(1, 2),
    "reversed": lambda: torch.randn(4, 5, 3).permute(2, 1, 0),
    "expanded": lambda: torch.randn(1, 5, 4).expand(3, 5, 4),
}
FIRST = torch.tensor([0])
MODES = ("constant", "reflect", "replicate", "circular")
KERNEL = torch.randn(8, 4, 3, 3)
ON_IMAGES: dict[str, Callable[[Tensor], Any]] = {
    "convolution": lambda x: F.conv2d(x, KERNEL, padding=1),
    "convolution by a weight of channels last": lambda x: F.conv2d(
        x, KERNEL.contiguous(memory_format=torch.channels_last)
    ),
    "convolution of one image": lambda x: F.conv2d(x[0], KERNEL),
    "depthwise convolution": lambda x: F.conv2d(x, KERNEL[:4, :1], groups=4),
    "transposed convolution": lambda x: F.conv_transpose2d(x, KERNEL[:4]),
    "float64": lambda x: F.conv2d(x.double(), KERNEL.double()),
    "group_norm": lambda x: F.group_norm(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "pools": lambda x: (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, (3, 2))),
    "padding": lambda x: tuple(F.pad(x, (1, 1, 1, 1), mode=mode) for mode in MODES),
    "resize": lambda x: (F.interpolate(x, scale_factor=2), F.interpolate(x, scale_factor=2, mode="bilinear")),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "roll": lambda x: (x.roll(1, 1), x.roll((1, 1), (1, 2)), x.roll(1)),
    "joined": lambda x: (torch.cat([x, x], 1), torch.cat([x, torch.ones(x.shape)], 1), torch.stack([x, x])),
    "elementwise": lambda x: (x + 1, x + torch.ones(5), x.relu(), x.softmax(1), x > 0, torch.zeros_like(x), x.clone()),
    "reduced": lambda x: (x.sum(1), x.amax(-1, keepdim=True), x.cumsum(1), x.max(2)[0]),
    "indexed": lambda x: (x[:, [0, 0]], x.index_select(1, FIRST), x.index_fill(0, FIRST, 1.0)),
    "one_hot": lambda x: F.one_hot((x > 0).long(), 3),
    "floor_divide": lambda x: (x // 2, x // torch.ones(5), torch.ones(5) // x, x // x.contiguous()),
    "isin": lambda x: (torch.isin(x, FIRST), torch.isin(x, 0)),
    "products": lambda x: (x @ x.mT, F.linear(x, torch.ones(3, x.shape[-1])), torch.einsum("bchw,bcwv->bhvc", x, x.mT)),
}  # fmt: skip
LAYERS = {
    "LSTM": nn.LSTM(4, 6),
    "LSTM batch first": nn.LSTM(4, 6, batch_first=True, num_layers=2),
    "GRU both ways": nn.GRU(4, 6, batch_first=True, bidirectional=True),
    "RNN": nn.RNN(4, 6, batch_first=True),
}
ON_SEQUENCES: dict[str, Callable[[Tensor], Any]] = {
    **{name: layer.eval() for name, layer in LAYERS.items()},
    "conv1d": lambda x: F.conv1d(x, KERNEL[:3, :1, 0].expand(3, x.shape[1], 3)),
    "pools": lambda x: (F.max_pool1d(x, 2), F.avg_pool1d(x, 2)),
    "padding": lambda x: (F.pad(x, (1, 1)), F.pad(x, (1, 1), mode="reflect")),
    "roll": lambda x: x.roll(1, 1),
    "batch_norm": lambda x: F.batch_norm(x, torch.zeros(5), torch.ones(5)),
    "resize": lambda x: tuple(F.interpolate(x, scale_factor=2, mode=mode) for mode in ("nearest", "nearest-exact")),
    "losses": lambda x: (
        F.binary_cross_entropy(x.sigmoid(), torch.ones(3, 5, 4), reduction="none"),
        F.binary_cross_entropy(x.sigmoid(), torch.ones(3, 5, 4)),
    ),
}


def strides(results: Any) -> list[tuple[int, ...]]:
    """The strides of tensors, but for axes of one element, whose stride tells nothing."""
    tensors = [each for each in torch.utils._pytree.tree_leaves(results) if isinstance(each, Tensor)]
    return [tuple(s for s, size in zip(each.stride(), each.shape, strict=True) if size > 1) for each in tensors]


def check(function: Callable[..., Any], x: Tensor) -> None:
    """Compare the strides of the fake results with eager's."""
    with torch.no_grad():
        expected = strides(function(x))
    program = capture(lambda x: function(x), (x,))
    results = [node.meta["val"] for node in program.graph.output_node().args[0]]
    assert strides(results) == expected


@pytest.mark.parametrize("layout", IMAGES)
@pytest.mark.parametrize("function", ON_IMAGES.values(), ids=ON_IMAGES)
def test_images(function: Callable[..., Any], layout: str) -> None:
    check(function, IMAGES[layout]())


@pytest.mark.parametrize("layout", SEQUENCES)
@pytest.mark.parametrize("function", ON_SEQUENCES.values(), ids=ON_SEQUENCES)
def test_sequences(function: Callable[..., Any], layout: str) -> None:
    check(function, SEQUENCES[layout]())


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_volumes(dtype: torch.dtype) -> None:
    kernel = torch.randn(3, 4, 2, 2, 2, dtype=dtype)
    x = torch.randn(2, 4, 3, 4, 5, dtype=dtype)
    for given in (x, x.contiguous(memory_format=torch.channels_last_3d)):
        check(lambda x: (F.conv3d(x, kernel), F.group_norm(x, 2), F.pad(x, (1, 1) * 3, mode="replicate")), given)


RESHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "reshape": lambda y: y.reshape(-1, y.shape[-1]),
    "flatten": lambda y: y.flatten(1),
    "contiguous": lambda y: y.contiguous(),
    "permuted view": lambda y: y.movedim(1, -1).flatten(1),
}
MADE: dict[str, tuple[Callable[[Tensor], Any], Callable[[], Tensor]]] = {
    "convolution": (ON_IMAGES["convolution"], IMAGES["channels last"]),
    "group_norm": (ON_IMAGES["group_norm"], IMAGES["channels last"]),
    "LSTM": (lambda x: LAYERS["LSTM batch first"](x)[0], SEQUENCES["contiguous"]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), SEQUENCES["features first"]),
    "softmax": (lambda x: x.softmax(-1), IMAGES["permuted"]),
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("reshape", RESHAPES.values(), ids=RESHAPES)
def test_a_write_reaches_what_it_reaches_in_torch(made: str, reshape: Callable[[Tensor], Tensor]) -> None:
    make, example = MADE[made]

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        y = make(x)
        part = reshape(y)
        part[0] = 7
        part.mul_(2)
        return y, part

    x = example()
    for dynamic in (None, {"x": {0: "batch"}}):
        with torch.no_grad():
            torch.testing.assert_close(fxonnx.compile(function, (x,), dynamic_shapes=dynamic)(x), function(x))
