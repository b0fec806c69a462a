"""What an op requires of sizes is assumed: calls and files refuse the sizes that eager refuses, and take the others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import fxonnx
from fxonnx.saved.interface import Interface
from fxonnx.saved.model import INTERFACE

KERNEL = torch.ones(2, 3, 3)
LSTM = torch.nn.LSTM(5, 2, batch_first=True).requires_grad_(False)
CASES: dict[str, Callable[[Tensor], Any]] = {
    "max_pool": lambda x: F.max_pool1d(x, 3),
    "max_pool with a dilation": lambda x: F.max_pool1d(x, 2, 1, 0, 2),
    "max_pool with indices": lambda x: F.max_pool1d(x, 3, return_indices=True)[0],
    "avg_pool": lambda x: F.avg_pool1d(x, 3, ceil_mode=True),
    "lp_pool": lambda x: F.lp_pool1d(x, 2, 3),
    "pools in a row": lambda x: F.max_pool1d(F.avg_pool1d(F.conv1d(x, KERNEL), 2, 2), 2),
    "conv": lambda x: F.conv1d(x, KERNEL),
    "unfold": lambda x: x.unfold(-1, 3, 2),
    "columns": lambda x: F.unfold(x[:, :, None], (1, 3)),
    "narrow": lambda x: x.narrow(2, 2, 2),
    "narrow from the end": lambda x: x.narrow(2, -3, 2),
    "cropped": lambda x: F.pad(x, (-2, -2)),
    "reflected": lambda x: F.pad(x, (3, 1), mode="reflect"),
    "replicated, cropped": lambda x: F.pad(x, (-2, -1), mode="replicate"),
    "wrapped": lambda x: F.pad(x, (3, 0), mode="circular"),
    "wrapped, cropped": lambda x: F.pad(x, (-2, -1), mode="circular"),
    "resized": lambda x: F.interpolate(x, size=x.shape[-1] - 2, mode="linear"),
    "halved": lambda x: F.interpolate(x, scale_factor=0.5),
    "halved image": lambda x: F.interpolate(x[:, :, None], size=(1, x.shape[-1] // 2), mode="bicubic"),
    "recurrent": lambda x: LSTM(x.mT.repeat(1, 1, 2)[..., :5])[0],
}


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_refused_where_eager_refuses_them(name: str) -> None:
    function = CASES[name]
    compiled = fxonnx.compile(function, torch.randn(2, 3, 9), dynamic_shapes={"x": {2: "n"}})
    said = {each.key: each.value for each in compiled.model_proto().metadata_props}
    file = Interface.from_text(said[INTERFACE])
    for size in (0, 1, 2, 3, 4, 5, 8, 12):
        x = torch.randn(2, 3, size)
        try:
            expected = function(x)
        except (RuntimeError, IndexError):
            assert not file.admits({"n": size})
            with pytest.raises(fxonnx.errors.CallMismatch):
                compiled(x)
        else:
            torch.testing.assert_close(compiled(x), expected)


def test_a_chain_is_one_bound() -> None:
    compiled = fxonnx.compile(CASES["pools in a row"], torch.randn(2, 3, 9), dynamic_shapes={"x": {2: "n"}})
    assert [str(each) for each in compiled.program.assumptions] == ["n >= 6"]


def test_a_range_that_eager_refuses_in_part_is_taken() -> None:
    dims = {"x": {2: torch.export.Dim("n", max=20)}}
    compiled = fxonnx.compile(CASES["max_pool"], torch.randn(2, 3, 9), dynamic_shapes=dims)
    with pytest.raises(fxonnx.errors.CallMismatch, match="n >= 3"):
        compiled(torch.randn(2, 3, 2))


def test_a_window_over_what_data_selects_is_checked() -> None:
    def selected(x: Tensor) -> Tensor:
        return F.max_pool1d(x[x > 0][None], 3)

    compiled = fxonnx.compile(selected, torch.ones(9))
    torch.testing.assert_close(compiled(torch.tensor([1.0, -1, 2, 3, 4, -1, 5, 6, 7])), torch.tensor([[3.0, 6]]))
    with pytest.raises(fxonnx.errors.Error):
        compiled(torch.tensor([1.0, 2, -1, -1, -1, -1, -1, -1, -1]))


def test_rows_without_elements_do_not_end_the_process() -> None:
    dims = {"x": {0: "n", 1: "m"}}
    compiled = fxonnx.compile(lambda x: torch.unique(x, dim=0), torch.randn(3, 4), dynamic_shapes=dims)
    with pytest.raises(fxonnx.errors.CallMismatch, match="unique"):
        compiled(torch.ones(2, 0))
