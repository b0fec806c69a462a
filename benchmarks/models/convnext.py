"""ConvNeXt-Tiny. Liu et al. 2022, "A ConvNet for the 2020s"."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import image_case, tags


class ChannelsFirstNorm(nn.LayerNorm):
    """Layer normalization over the channels of f32[n, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7x7, then a two-layer perceptron over channels, scaled per channel, around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, 4 * channels)
        self.activation = nn.GELU()
        self.project = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.depthwise(x).permute(0, 2, 3, 1)
        x = self.project(self.activation(self.expand(self.norm(x))))
        x = (self.gamma * x).permute(0, 3, 1, 2)
        return shortcut + x


class ConvNeXt(nn.Module):
    """f32[n, 3, h, w] -> logits f32[n, classes]."""

    def __init__(
        self, depths: Sequence[int] = (3, 3, 9, 3), widths: Sequence[int] = (96, 192, 384, 768), classes: int = 1000
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelsFirstNorm(widths[0], eps=1e-6))
        self.downsample = nn.ModuleList([stem])
        for inner, out in pairwise(widths):
            self.downsample.append(
                nn.Sequential(ChannelsFirstNorm(inner, eps=1e-6), nn.Conv2d(inner, out, 2, stride=2))
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for downsample, stage in zip(self.downsample, self.stages, strict=True):
            x = stage(downsample(x))
        return self.head(self.norm(x.mean([-2, -1])))


CASES = (image_case("convnext_tiny", ConvNeXt, tags=tags("vision", "convolution")),)
