"""A session on tensors of a device; here the CPU is one, by the same interface of the runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors


def on_the_cpu(compiled: Any) -> Any:
    return compiled._configured(replace(compiled.configuration, device=torch.device("cpu")))


def mixed(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Results of several dtypes, one of a size that only the data know."""
    return x @ x.mT, mask.any(-1), x[mask].sum(-1)


@pytest.mark.parametrize("rows", [2, 1, 0, 5])
def test_results_are_those_of_the_model(rows: int) -> None:
    compiled = fxonnx.compile(mixed, (torch.randn(3, 4), torch.ones(3, 4, dtype=torch.bool)),
                              dynamic_shapes={"x": {0: "n"}, "mask": {0: "n"}})  # fmt: skip
    on_the_cpu(compiled)
    x = torch.randn(4, rows).mT  # not contiguous
    for _ in range(2):
        mask = torch.rand(rows, 4) > 0.5
        for result, expected in zip(compiled(x, mask), mixed(x, mask), strict=True):
            torch.testing.assert_close(result, expected)


def test_there_and_back() -> None:
    model = nn.Linear(3, 2)
    compiled = on_the_cpu(fxonnx.compile(model, torch.randn(2, 3)).configure(threads=1))
    with pytest.raises(errors.CallMismatch, match="float64"):
        compiled(torch.randn(2, 3).double())
    assert compiled.to("cpu") is compiled
    assert (compiled.configuration.threads, compiled.configuration.device) == (1, None)
    torch.testing.assert_close(compiled(x := torch.randn(2, 3)), model(x))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda"), "mps", "gpu", 3.5, None])
def test_devices_that_are_not_here(device: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("it may be here")
    compiled = fxonnx.compile(nn.Linear(3, 2), torch.randn(2, 3))
    with pytest.raises(errors.InvalidOption) as caught:
        compiled.to(device)
    assert caught.value.cause and ("onnxruntime-gpu" in caught.value.cure or 'to("cuda")' in caught.value.cure)
