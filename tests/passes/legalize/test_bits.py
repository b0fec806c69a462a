"""The bits of values below opset 26, where no operator of ONNX sees them: every pattern of 16 bits, and drawn ones of
more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fxonnx
from fxonnx import errors

INTEGERS = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
FLOATS = {
    torch.float16: 16, torch.bfloat16: 16, torch.float32: 32, torch.float64: 64, torch.float8_e4m3fn: 8,
    torch.float8_e5m2: 8,
}  # fmt: skip


def patterns(bits: int) -> Tensor:
    """All of up to 16 bits; of more, drawn ones, among them the least numbers, infinities and zeros of both signs."""
    if bits <= 16:
        return torch.arange(2**bits).to(INTEGERS[bits])
    drawn = torch.randint(-(2**63), 2**63 - 1, (4000,), generator=torch.manual_seed(0))
    dtype = torch.float32 if bits == 32 else torch.float64
    few = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, torch.inf, -torch.inf, torch.finfo(dtype).tiny, torch.finfo(dtype).max]
    least = torch.arange(9).to(INTEGERS[bits])
    powers = 2.0 ** torch.arange(-120, 120, dtype=dtype)
    return torch.cat([drawn.view(INTEGERS[bits]), torch.tensor(few, dtype=dtype).view(INTEGERS[bits]), least,
                      powers.view(INTEGERS[bits]), powers.view(INTEGERS[bits]) - 1])  # fmt: skip


@pytest.mark.parametrize("opset", [13, 24])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_there_and_back(dtype: torch.dtype, opset: int) -> None:
    bits, integer = FLOATS[dtype], INTEGERS[FLOATS[dtype]]
    if bits == 8 and opset < 19:
        pytest.skip("floats of 8 bits are younger")
    every = patterns(bits)
    numbers = every.view(dtype)
    is_nan = numbers.to(torch.float64).isnan()
    found = fxonnx.compile(lambda x: x.view(integer), (numbers[:5],), dynamic_shapes="auto", opset=opset)(numbers)
    assert torch.equal(found[~is_nan], every[~is_nan])
    assert found[is_nan].view(dtype).to(torch.float64).isnan().all()
    back = fxonnx.compile(lambda x: x.view(dtype), (every[:5],), dynamic_shapes="auto", opset=opset)(every)
    torch.testing.assert_close(back.to(torch.float64), numbers.to(torch.float64), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(back.view(integer)[~is_nan], every[~is_nan])  # zeros keep their sign


@pytest.mark.parametrize("wanted", [torch.int8, torch.uint8, torch.int16, torch.float16, torch.uint32, torch.int64])
def test_of_other_integers_and_of_truths(wanted: torch.dtype) -> None:
    for x in (torch.arange(-64, 64).to(torch.int8)[None], torch.rand(3, 16) > 0.5, torch.randn(8, dtype=torch.cfloat)):
        given = x.view(wanted).contiguous()
        compiled = fxonnx.compile(lambda x: x.view(wanted), (x,))
        torch.testing.assert_close(compiled(x).double(), given.double(), rtol=0, atol=0, equal_nan=True)
    octets = torch.tensor([[0, 1, 1, 0]], dtype=torch.uint8)
    assert torch.equal(fxonnx.compile(lambda x: x.view(torch.bool), (octets,))(octets), octets.bool())


def test_a_scale_alone_is_refused() -> None:
    with pytest.raises(errors.NotInOpset, match="BitCast"):
        fxonnx.compile(lambda x: x.view(torch.uint8), (torch.ones(3).to(torch.float8_e8m0fnu),))
