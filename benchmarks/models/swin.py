"""Swin-T. Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows"."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import image_case, tags

WINDOW = 7


def relative_position_index(window: int) -> Tensor:
    """int64[window², window²]: the row of the bias table for each pair of places in a window."""
    axis = torch.arange(window)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    offsets = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0) + window - 1
    return offsets[..., 0] * (2 * window - 1) + offsets[..., 1]


def split_windows(x: Tensor, window: int) -> Tensor:
    """f32[n, h, w, c] -> f32[n * windows, window², c]."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def join_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `split_windows`."""
    x = x.view(-1, height // window, width // window, window, window, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, x.shape[-1])


def shift_mask(x: Tensor, height: int, width: int, window: int, shift: int) -> Tensor:
    """f32[windows, window², window²]: -100 between places that only the cyclic shift brought together."""
    regions = x.new_zeros((1, height, width, 1))
    cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    count = 0
    for rows in cuts:
        for columns in cuts:
            regions[:, rows, columns, :] = count
            count += 1
    places = split_windows(regions, window).squeeze(-1)
    differ = places.unsqueeze(1) - places.unsqueeze(2)
    return differ.masked_fill(differ != 0, -100.0).masked_fill(differ == 0, 0.0)


class WindowAttention(nn.Module):
    """Attention inside (shifted) windows with a learned bias per relative position: f32[n, h, w, c] -> the same."""

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads).normal_(std=0.02))
        self.register_buffer("bias_index", relative_position_index(WINDOW))

    def position_bias(self) -> Tensor:
        """f32[1, heads, window², window²]."""
        bias = self.bias_table[self.bias_index.view(-1)].view(WINDOW**2, WINDOW**2, -1)
        return bias.permute(2, 0, 1).contiguous().unsqueeze(0)

    def attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """f32[n * windows, window², c] -> the same; `mask` f32[windows, window², window²]."""
        count, places, channels = windows.shape
        qkv = self.qkv(windows).reshape(count, places, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query * self.scale) @ key.transpose(-2, -1) + self.position_bias()
        if mask is not None:
            scores = scores.view(-1, mask.shape[0], self.heads, places, places) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, self.heads, places, places)
        mixed = F.softmax(scores, dim=-1) @ value
        return self.project(mixed.transpose(1, 2).reshape(count, places, channels))

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        padded = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        _, tall, wide, _ = padded.shape
        shift = self.shift if min(tall, wide) > WINDOW else 0
        if not shift:
            windows = self.attend(split_windows(padded, WINDOW), None)
            return join_windows(windows, WINDOW, tall, wide)[:, :height, :width, :].contiguous()
        shifted = torch.roll(padded, shifts=(-shift, -shift), dims=(1, 2))
        mask = shift_mask(x, tall, wide, WINDOW, shift)
        windows = self.attend(split_windows(shifted, WINDOW), mask)
        joined = torch.roll(join_windows(windows, WINDOW, tall, wide), shifts=(shift, shift), dims=(1, 2))
        return joined[:, :height, :width, :].contiguous()


class Block(nn.Module):
    """Pre-norm window attention and perceptron."""

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, shift)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbours become one place of twice the channels: f32[n, h, w, c] -> f32[n, h/2, w/2, 2c]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class SwinTransformer(nn.Module):
    """f32[n, 3, h, w] -> logits f32[n, classes]."""

    def __init__(
        self,
        channels: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)
        stages: list[nn.Module] = []
        for index, (depth, head) in enumerate(zip(depths, heads, strict=True)):
            if index:
                stages.append(PatchMerging(channels))
                channels *= 2
            stages += [Block(channels, head, shift=0 if block % 2 == 0 else WINDOW // 2) for block in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.final_norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patches(x).permute(0, 2, 3, 1))
        x = self.final_norm(self.stages(x))
        return self.head(x.mean(dim=(1, 2)))


CASES = (image_case("swin_t", SwinTransformer, tags=tags("vision", "attention", "inplace")),)
