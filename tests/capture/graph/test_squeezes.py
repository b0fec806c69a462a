"""Squeezes of sizes that come from data: with one element left, eager drops an axis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors

WEIGHT = torch.rand(4, 3)
HITS = ([0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1])

OF_EITHER_RANK: dict[str, Callable[[Tensor], object]] = {
    "all axes": lambda m: torch.nonzero(m).squeeze(),
    "a vector": lambda m: m[m > 0].squeeze(0),
    "pointwise after it": lambda m: torch.nonzero(m).squeeze() * 2 + 1,
    "another dtype": lambda m: torch.nonzero(m).squeeze().float().sqrt(),
    "broadcast": lambda m: torch.nonzero(m).squeeze() + WEIGHT.sum(1, keepdim=True),
    "picked rows": lambda m: WEIGHT[torch.nonzero(m).squeeze()] + 1,
    "picked elements": lambda m: m[torch.nonzero(m).squeeze()],
    "a named axis that is no data": lambda m: torch.nonzero(m).squeeze(1),
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
    "another axis of 1 that stays": lambda m: torch.nonzero(m).squeeze(0),
}


@pytest.mark.parametrize("model", OF_ONE_RANK.values(), ids=OF_ONE_RANK)
def test_one_element_is_refused_where_what_follows_has_one_rank(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.tensor(HITS[0]),))
    for hits in (HITS[0], *HITS[2:]):
        torch.testing.assert_close(compiled(torch.tensor(hits)), model(torch.tensor(hits)))
    with pytest.raises(errors.CallMismatch, match="one element is left") as caught:
        compiled(torch.tensor(HITS[1]))
    assert caught.value.locations[0].file == __file__
