"""Squeezes of sizes that come from data: with one element left, eager drops an axis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import fxonnx
from fxonnx import errors

WEIGHT = torch.rand(4, 3)
HITS = ([0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1])



def chunks(x: Tensor) -> Tensor:
    """[batch, chunks, 3], the last one filled up."""
    count = -(-x.shape[1] // 3)
    return functional.pad(x, (0, 3 * count - x.shape[1])).reshape(x.shape[0], count, 3)


OF_EITHER_RANK: dict[str, Callable[[Tensor], object]] = {
    "all axes": lambda m: torch.nonzero(m).squeeze(),
    "a vector": lambda m: m[m > 0].squeeze(0),
    "pointwise after it": lambda m: torch.nonzero(m).squeeze() * 2 + 1,
    "another dtype": lambda m: torch.nonzero(m).squeeze().float().sqrt(),
    "broadcast": lambda m: torch.nonzero(m).squeeze() + WEIGHT.sum(1, keepdim=True),
    "picked rows": lambda m: WEIGHT[torch.nonzero(m).squeeze()] + 1,
    "picked elements": lambda m: m[torch.nonzero(m).squeeze()],
    "a named axis that is no data": lambda m: torch.nonzero(m).squeeze(1),
    "another axis of 1 that stays": lambda m: torch.nonzero(m).squeeze(0),
    "chunks": lambda m: chunks(m[m > 0][None]).squeeze(1),
    "one of two axes": lambda m: torch.nonzero(m)[None, :, None].squeeze((1, 2)),
}


@pytest.mark.parametrize("model", OF_EITHER_RANK.values(), ids=OF_EITHER_RANK)
def test_the_rank_is_that_of_the_data(model: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    compiled = fxonnx.compile(model, (torch.tensor(HITS[0]),))
    compiled.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for hits in HITS:
        m = torch.tensor(hits)
        torch.testing.assert_close(compiled(m), model(m))
        torch.testing.assert_close(torch.as_tensor(session.run(None, {"m": m.numpy()})[0]), model(m))


OF_ONE_RANK: dict[str, Callable[[Tensor], Tensor]] = {
    "a new axis": lambda m: torch.nonzero(m).squeeze()[None],
    "an axis that is named": lambda m: torch.nonzero(m).squeeze().cumsum(0),
}


@pytest.mark.parametrize("model", OF_ONE_RANK.values(), ids=OF_ONE_RANK)
def test_one_element_is_refused_where_what_follows_has_one_rank(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.tensor(HITS[0]),))
    for hits in (HITS[0], *HITS[2:]):
        torch.testing.assert_close(compiled(torch.tensor(hits)), model(torch.tensor(hits)))
    with pytest.raises(errors.CallMismatch, match="one element is left") as caught:
        compiled(torch.tensor(HITS[1]))
    assert caught.value.locations[0].file == __file__


SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "from data": lambda x: chunks(x[:, x[0] > 0]),
    "rounded": lambda x: chunks(x[:, : int(x.shape[1] ** 0.5)]),
    "rounded, and 1 in most calls": lambda x: chunks(x[:, : int(x.shape[1] ** 0.25)]),
    "both": lambda x: chunks(x[:, x[0] > 0][:, : int(x.shape[1] ** 0.7)]),
}


@pytest.mark.parametrize("opset", [None, 13, 9])
@pytest.mark.parametrize("name", SIZES)
def test_axes_of_computed_sizes_go_where_they_are_one(name: str, opset: int | None) -> None:
    """The batch stays, also where it is 1."""

    def model(x: Tensor) -> Tensor:
        return SIZES[name](x).squeeze(1) * 2

    compiled = fxonnx.compile(model, (torch.randn(2, 40),), dynamic_shapes={"x": {0: "b", 1: "n"}}, opset=opset)
    for b, n in ((2, 40), (1, 40), (1, 4), (3, 4), (2, 120), (1, 9)):
        x = torch.randn(b, n)
        x[0, 0] = 1
        torch.testing.assert_close(compiled(x), model(x))


def test_a_computed_size_that_is_one_in_the_run_is_no_layout() -> None:
    """torch asks in some places whether the size is 1, in others whether that is certain."""

    def model(x: Tensor) -> Tensor:
        part = functional.pad(x[:, : int(x.shape[1] ** 0.9)], (0, 60))
        rows = functional.conv1d(part[:, None], kernel, stride=20000)
        return rows.transpose(1, 2).reshape(x.shape[0], -1)

    kernel = torch.randn(4, 1, 50)
    compiled = fxonnx.compile(model, (torch.randn(2, 30),), dynamic_shapes={"x": {0: "b", 1: "n"}})
    for shape in ((2, 30), (1, 30), (3, 60)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("axis", [None, 0, (0, 1)], ids=str)
def test_a_size_that_a_comparison_says_to_be_1(axis: int | tuple[int, ...] | None) -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.ones(x.shape[1] % 2, 1) * x[0, :1]
        return (rows.squeeze() if axis is None else rows.squeeze(axis)), rows

    compiled = fxonnx.compile(function, (torch.rand(3, 7),), dynamic_shapes={"x": {1: "n"}})
    for size in (7, 1, 2, 4, 9):
        x = torch.rand(3, size)
        for found, wanted in zip(compiled(x), function(x), strict=True):
            torch.testing.assert_close(found, wanted)


def test_among_sizes_that_stay() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        return (torch.ones(x.shape[0] % 2, 1, 1) * y[:, None, None].expand(-1, 1, 1).reshape(1, -1, 1)).squeeze((0, 2))

    compiled = fxonnx.compile(function, (torch.rand(5), torch.rand(4)), dynamic_shapes={"x": {0: "n"}, "y": {0: "m"}})
    for n, m in ((5, 4), (3, 2), (2, 3), (7, 1)):
        x, y = torch.rand(n), torch.rand(m)
        torch.testing.assert_close(compiled(x, y), function(x, y))
