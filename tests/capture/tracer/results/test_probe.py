"""The concrete meta probe beside torch: sizes, dtype and strides of results, at sizes other than those of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fxonnx import errors
from fxonnx.capture import capture
from fxonnx.capture.tracer.results.probe import MetaProbe
from fxonnx.capture.tracer.sizes.nodes import dim_of
from fxonnx.ir.dims import evaluate

CALLS: dict[str, Callable[[Tensor], Any]] = {
    "broadcast": lambda x: x * torch.ones(6, 1) + x[:, :1],
    "promoted": lambda x: (x > 0) * torch.ones(1, dtype=torch.float64),
    "transposed": lambda x: x.transpose(0, 1) * 2,
    "permuted": lambda x: x.permute(2, 0, 1).exp2(),
    "in place": lambda x: (x * 1).add_(x),
    "a mean": lambda x: x.mean((0, 2), keepdim=True) + x.sum(1).amax(),
    "an index": lambda x: x.flatten(1).argmax(1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "expanded": lambda x: x[:, :, None].expand(-1, -1, 3, -1),
    "a lookup": lambda x: F.embedding(x.long(), torch.ones(5, 7)),
    "an equation": lambda x: torch.einsum("bik,bjk->bji", x, x),
    "convolved": lambda x: F.conv1d(x.transpose(1, 2), torch.ones(3, 4, 3), stride=2, padding=1),
    "convolved, channels last": lambda x: F.conv2d(
        x[:, None].contiguous(memory_format=torch.channels_last), torch.ones(2, 1, 3, 3)
    ),
    "convolved by halves, channels last": lambda x: F.conv2d(
        x.repeat(1, 1, 2)[None].transpose(1, 3), torch.ones(16, 8, 2, 2), stride=2
    ),
    "convolved where it is cut": lambda x: F.conv2d(x[:, None, :6], torch.ones(6, 1, 3, 3), stride=2, padding=1),
    "enlarged": lambda x: F.conv_transpose1d(x.transpose(1, 2), torch.ones(4, 3, 3), stride=2, output_padding=1),
    "pooled": lambda x: F.max_pool2d(x, (2, 1), padding=(1, 0)),
    "pooled in a row": lambda x: F.max_pool1d(x.flatten(1), 3, stride=2, padding=1),
    "averaged": lambda x: F.avg_pool1d(x.transpose(1, 2), 2),
    "pooled to a size": lambda x: F.adaptive_max_pool2d(x[:, None], (2, 3), return_indices=True),
    "columns": lambda x: F.unfold(x[:, None], (2, 3), padding=1, stride=2),
    "from columns": lambda x: F.fold(x.transpose(1, 2), (2, x.shape[1] + 1), (2, 2)),
    "shuffled": lambda x: F.pixel_shuffle(x[:, None].expand(-1, 4, -1, -1), 2),
    "joined": lambda x: torch.cat([x, x[:, :2], x * 2], 1),
    "stacked": lambda x: torch.stack([x, x], -1),
    "viewed": lambda x: x.view(x.shape[0] * x.shape[1], 2, 2).flatten(1),
    "reshaped": lambda x: x.transpose(0, 1).reshape(x.shape[1], -1).unflatten(1, (-1, 2)),
    "a view of a copy": lambda x: x.transpose(0, 1).contiguous().view(-1, 4),
    "repeated": lambda x: x.repeat(2, 1, x.shape[0], 1),
    "padded": lambda x: F.pad(x, (1, 2, x.shape[0], 0)),
    "windows": lambda x: x.unfold(1, 3, 2),
    "frequencies": lambda x: torch.fft.rfft(x, dim=1).abs(),
    "points": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1), dim=1),
    "rolled": lambda x: x.roll((1, 2), (0, 1)).flip(1),
    "the best": lambda x: x.topk(2, dim=-1),
    "resized": lambda x: F.interpolate(x.unsqueeze(1), (5, x.shape[1]), mode="bilinear"),
    "resized to twice": lambda x: F.interpolate(x.transpose(1, 2), scale_factor=2),
    "resized, channels last": lambda x: F.interpolate(
        x[:, None].repeat(1, 2, 1, 1).contiguous(memory_format=torch.channels_last), scale_factor=3.0, mode="bicubic"
    ),
    "resized by a fraction": lambda x: F.interpolate(x, scale_factor=1.5, mode="linear"),
    "sampled": lambda x: F.grid_sample(x[:, None], x.new_zeros(x.shape[0], 5, x.shape[1], 2), align_corners=False),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_are_torchs(name: str) -> None:
    model = CALLS[name]
    fixed = name == "broadcast"
    dims = {0: "n"} if fixed else {0: "n", 1: "m"}
    program = capture(model, (torch.randn(4, 6, 4),), dynamic_shapes={"x": dims})
    for n, m in ((2, 6), (5, 6)) if fixed else ((2, 5), (5, 8), (7, 6)):
        results = model(torch.randn(n, m, 4).abs())
        values = [node.meta["val"] for node in program.outputs]
        for value, expected in zip(values, results if isinstance(results, tuple) else (results,), strict=True):
            layout = value.shape, value.stride()
            sizes, strides = ([evaluate(dim_of(each), {"n": n, "m": m}) for each in dims] for dims in layout)
            assert (sizes, value.dtype) == (list(expected.shape), expected.dtype)
            assert strides == list(expected.stride())


def test_the_probe_is_conclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    """For none of these calls torch computes with symbolic sizes."""
    inconclusive: list[str] = []
    probe = MetaProbe.__call__

    def noted(self: Any, func: Any, *rest: Any) -> Any:
        result = probe(self, func, *rest)
        inconclusive.extend([str(func)] if result is None else [])
        return result

    monkeypatch.setattr(MetaProbe, "__call__", noted)
    for name in (
        "promoted", "a mean", "attention", "convolved",
        "convolved where it is cut", "reshaped", "repeated", "padded", "frequencies", "resized",
        "resized to twice",
    ):  # fmt: skip
        capture(CALLS[name], (torch.randn(4, 6, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    assert not set(inconclusive) - {"aten.ones.default"}


def test_sizes_that_divide_by_0_where_the_probe_looks() -> None:
    """Which is at sizes with many divisors: the remainder is 0 there, in the example and at most sizes it is not."""

    def model(x: Tensor) -> Tensor:
        rest = x.shape[0] // (x.shape[0] % 4)
        return x.new_ones(x.shape[0], rest, 3).mT.reshape(x.shape[0], -1)

    program = capture(model, (torch.randn(6),), dynamic_shapes={"x": {0: "n"}})
    (size,) = (node.meta["val"].shape[1] for node in program.outputs)
    assert [evaluate(dim_of(size), {"n": n}) for n in (1, 3, 6, 9, 10)] == [3, 3, 9, 27, 15]


MISFITS: dict[str, Callable[[Tensor], Any]] = {
    "sizes that differ": lambda x: x + torch.ones(6, 4),
    "a table of positions": lambda x: x + torch.ones(1, 6, 4),
    "a batch of weights": lambda x: torch.bmm(x, torch.ones(4, 4, 2)),
    "half of an odd size": lambda x: x.view(x.shape[0], x.shape[1] // 2, 2, 4),
}


@pytest.mark.parametrize("name", MISFITS)
def test_sizes_that_only_agree_in_the_example_freeze(name: str) -> None:
    """Or are a condition that every call must meet."""
    try:
        program = capture(
            MISFITS[name], (torch.randn(4, 6, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}}
        )
    except errors.Error as error:
        assert isinstance(error, errors.FrozenDimension)
    else:
        assert not all(each.holds({"n": 5, "m": 7}) for each in program.assumptions)
