"""nn.TransformerEncoder with a padding mask: padded positions are what eager's fast path makes of them."""

from __future__ import annotations

import pytest
import torch
from tests.lowering.support import check
from torch import nn


class Encoder(nn.Module):
    """An encoder, called with a padding mask."""

    def __init__(self, norm: bool = False, norm_first: bool = False, **options: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8) if norm else None, **options).eval()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=mask)


class Attending(nn.Module):
    """Attention of a sequence to itself, called with a padding mask."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.attention, self.options = nn.MultiheadAttention(8, 2, batch_first=True).eval(), options

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.attention(x, x, x, key_padding_mask=mask, **self.options)


def _padding(*lengths: int, size: int = 4) -> torch.Tensor:
    return torch.arange(size) >= torch.tensor(lengths)[:, None]


OPTIONS = [{}, {"norm": True}, {"norm_first": True}, {"enable_nested_tensor": False}, {"mask_check": False}]


@pytest.mark.parametrize("is_dynamic", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_padded_positions(options: dict[str, bool], is_dynamic: bool) -> None:
    sizes = {0: "batch", 1: "length"}
    dynamic = {"x": sizes, "mask": sizes} if is_dynamic else None
    model, x = Encoder(**options), torch.rand(2, 4, 8)
    again = (torch.rand(3, 6, 8), _padding(3, 1, 6, size=6)) if is_dynamic else (x, _padding(4, 1))
    compiled = check(model, x, _padding(3, 2), dynamic=dynamic, again=again)
    if options.get("mask_check", True):  # torch takes it for granted otherwise
        in_front = torch.tensor([[True, False, False, False], [False, False, False, True]])
        torch.testing.assert_close(compiled(x, in_front), model(x, in_front))


@pytest.mark.parametrize("options", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str)
@torch.no_grad()
def test_attention_with_padding(options: dict[str, bool]) -> None:
    check(Attending(**options), torch.rand(2, 4, 8), _padding(3, 2), again=(torch.rand(2, 4, 8), _padding(4, 1)))


@torch.no_grad()
def test_the_encoder_itself_is_left_alone() -> None:
    forward, model = nn.TransformerEncoder.forward, Encoder(norm=True)
    check(model, torch.rand(2, 4, 8), _padding(3, 2))
    assert nn.TransformerEncoder.forward is forward
    assert isinstance(model.encoder.norm, nn.LayerNorm)
