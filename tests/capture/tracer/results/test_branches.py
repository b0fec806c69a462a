"""Branch probes: what an op decides by sizes inside is kept where its result depends on it, and dropped where it is
about memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.capture.interpret import run
from torch import Tensor

import fxonnx
from fxonnx import errors
from fxonnx.capture import capture

CHOOSING: dict[str, Callable[[Tensor], Any]] = {
    "points": lambda x: torch.fft.fft2(x, s=(10, 10)).abs(),
    "points of one axis": lambda x: torch.fft.ifft(x, n=10, dim=1).abs(),
    "a tall matrix": lambda x: torch.linalg.qr(x)[1].abs(),
}


@pytest.mark.parametrize("name", CHOOSING)
@pytest.mark.parametrize("rows", [7, 9, 14])
def test_a_call_is_right_or_refused(name: str, rows: int) -> None:
    model, x = CHOOSING[name], torch.randn(2, rows, 8)
    program = capture(model, (x,), dynamic_shapes={"x": {1: "n"}})
    assert all(each.holds({"n": rows}) for each in program.assumptions)
    for size in (3, 6, 7, 8, 11, 13, 24):
        values = [value for value in program.outputs if isinstance(value, torch.fx.Node)]
        if all(each.holds({"n": size}) for each in program.assumptions):
            y = torch.randn(2, size, 8)
            for value, found, expected in zip(values, _leaves(run(program, (y,))[0]), _leaves(model(y)), strict=True):
                assert found.shape == expected.shape
                dims = [program.dim(each) for each in value.meta["val"].shape]
                assert [fxonnx.ir.dims.evaluate(dim, {"n": size}) for dim in dims] == list(expected.shape)


def _leaves(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, tuple) else [value]


def test_memory_is_no_choice() -> None:
    def model(x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(-1, 4).contiguous().view(x.shape[1], -1)

    program = capture(model, (torch.randn(5, 3, 4),), dynamic_shapes={"x": {0: "n", 1: "m"}})
    assert not program.assumptions


def test_what_a_decomposition_decides_is_kept() -> None:
    """An op without a lowering pads what does not divide, and only that."""
    with torch.library._scoped_library("fxonnx_branches", "DEF") as library:
        library.define("chunks(Tensor x) -> Tensor")
        library.impl("chunks", _chunks, "CompositeImplicitAutograd")
        _check_of_chunks(lambda x: torch.ops.fxonnx_branches.chunks(x))


def _chunks(x: Tensor) -> Tensor:
    missing = -x.shape[0] % 3
    padded = torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing != 0 else x
    return padded.reshape(3, -1)


def _check_of_chunks(model: Callable[[Tensor], Tensor]) -> None:
    compiled = fxonnx.compile(model, (torch.randn(7, 2),), dynamic_shapes={"x": {0: "n"}})
    for size in (7, 8, 10):
        torch.testing.assert_close(compiled(y := torch.randn(size, 2)), model(y))
    with pytest.raises(errors.CallMismatch, match="the sizes of this call"):
        compiled(torch.randn(9, 2))
    with pytest.raises(errors.FrozenDimension, match="example"):
        fxonnx.compile(model, (torch.randn(9, 2),), dynamic_shapes={"x": {0: "n"}})
