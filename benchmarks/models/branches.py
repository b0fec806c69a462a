"""Models that are trained in branches, as they are exported when nobody folds them: RepVGG-A0 (Ding et al. 2021),
MobileOne-S0 (Vasu et al. 2022), FastViT-T8 (Vasu et al. 2023), and a detector with RepConv (Wang et al. 2022) heads."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from benchmarks.models.case import image_case, tags


def normed(inner: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution whose kernel is centred, and its normalization."""
    conv = nn.Conv2d(inner, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out))


class Branches(nn.Module):
    """The sum of `count` convolutions, one of 1 x 1 and a normalization: f32[n, inner, h, w] -> f32[n, out, …]."""

    def __init__(
        self, inner: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1, count: int = 1,
        activation: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.wide = nn.ModuleList(normed(inner, out, kernel, stride, groups) for _ in range(count))
        self.narrow = normed(inner, out, 1, stride, groups) if kernel > 1 else None
        self.norm = nn.BatchNorm2d(inner) if inner == out and stride == 1 else None
        self.activation = nn.ReLU() if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        total = 0 if self.norm is None else self.norm(x)
        if self.narrow is not None:
            total = total + self.narrow(x)
        for branch in self.wide:
            total = total + branch(x)
        return self.activation(total)


class Classifier(nn.Sequential):
    """A trunk, the global mean, and a linear layer."""

    def __init__(self, *trunk: nn.Module, channels: int) -> None:
        super().__init__(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def rep_vgg(widths: tuple[int, ...] = (48, 96, 192, 1280), depths: tuple[int, ...] = (2, 4, 14, 1)) -> nn.Module:
    """RepVGG-A0."""
    blocks, channels = [Branches(3, 48, stride=2)], 48
    for width, depth in zip(widths, depths, strict=True):
        for block in range(depth):
            blocks.append(Branches(channels, width, stride=1 if block else 2))
            channels = width
    return Classifier(*blocks, channels=channels)


def mobile_one(widths: tuple[int, ...] = (48, 128, 256, 1024), depths: tuple[int, ...] = (2, 8, 10, 1)) -> nn.Module:
    """MobileOne-S0, four branches."""
    blocks, channels = [Branches(3, 48, stride=2)], 48
    for width, depth in zip(widths, depths, strict=True):
        for block in range(depth):
            blocks.append(Branches(channels, channels, stride=1 if block else 2, groups=channels, count=4))
            blocks.append(Branches(channels, width, kernel=1, count=4))
            channels = width
    return Classifier(*blocks, channels=channels)


class RepMixer(nn.Module):
    """Tokens mixed by depthwise branches with a layer scale, then a convolutional feed-forward network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.mixer = Branches(channels, channels, groups=channels, activation=nn.Identity())
        self.spread = normed(channels, channels, 7, groups=channels)
        self.up, self.down = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(3 * channels, channels, 1)
        self.scale = nn.Parameter(1e-5 * torch.ones(channels, 1, 1))
        self.feed_scale = nn.Parameter(1e-5 * torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * (self.mixer(x) - self.norm(x))
        return x + self.feed_scale * self.down(gelu(self.up(self.spread(x))))


class PatchEmbedding(nn.Module):
    """Half the size, by a large and a small depthwise kernel."""

    def __init__(self, inner: int, out: int) -> None:
        super().__init__()
        self.large, self.small = (normed(inner, out, kernel, 2, inner) for kernel in (7, 3))
        self.mix = Branches(out, out, kernel=1, activation=nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(gelu(self.large(x) + self.small(x)))


def fast_vit(widths: tuple[int, ...] = (48, 96, 192, 384), depths: tuple[int, ...] = (2, 2, 4, 2)) -> nn.Module:
    """FastViT-T8."""
    stem = [
        Branches(3, 48, stride=2, activation=nn.GELU()), Branches(48, 48, stride=2, groups=48, activation=nn.GELU()),
        Branches(48, 48, kernel=1, activation=nn.GELU()),
    ]  # fmt: skip
    blocks: list[nn.Module] = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks += [PatchEmbedding(widths[index - 1], width)] if index else []
        blocks += [RepMixer(width) for _ in range(depth)]
    last = Branches(widths[-1], 2 * widths[-1], groups=widths[-1], activation=nn.GELU())
    return Classifier(*stem, *blocks, last, channels=2 * widths[-1])


class Split(nn.Module):
    """Half of the channels go through bottlenecks, and all that comes out on the way is joined."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.begin, self.end = normed(channels, channels, 1), normed((2 + depth) * half, channels, 1)
        self.steps = nn.ModuleList(normed(half, half, 3) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(silu(self.begin(x)).chunk(2, 1))
        for step in self.steps:
            parts.append(parts[-1] + silu(step(parts[-1])))
        return silu(self.end(torch.cat(parts, 1)))


class Detector(nn.Module):
    """Boxes and scores for every place of three maps: f32[n, 3, h, w] -> f32[n, places, 4 + classes]."""

    def __init__(self, classes: int = 80, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.stem = normed(3, widths[0] // 2, 3, 2)
        inner = (widths[0] // 2, *widths)
        self.downs = nn.ModuleList(normed(a, b, 3, 2) for a, b in zip(inner, widths, strict=False))
        self.stages = nn.ModuleList(Split(width, depth) for width, depth in zip(widths, (1, 2, 2, 1), strict=True))
        self.sides = nn.ModuleList(normed(b, a, 1) for a, b in pairwise(widths[1:]))
        self.heads = nn.ModuleList(
            nn.Sequential(Branches(width, width, activation=nn.SiLU()), nn.Conv2d(width, 4 + classes, 1))
            for width in widths[1:]
        )

    def forward(self, x: Tensor) -> Tensor:
        x, maps = silu(self.stem(x)), []
        for down, stage in zip(self.downs, self.stages, strict=True):
            x = stage(silu(down(x)))
            maps.append(x)
        small, middle, large = maps[1:]
        middle = middle + nn.functional.interpolate(self.sides[1](large), scale_factor=2.0)
        small = small + nn.functional.interpolate(self.sides[0](middle), scale_factor=2.0)
        found = [head(each).flatten(2) for head, each in zip(self.heads, (small, middle, large), strict=True)]
        boxes, scores = torch.cat(found, 2).transpose(1, 2).split([4, found[0].shape[1] - 4], 2)
        return torch.cat([boxes.exp(), scores.sigmoid()], 2)


CASES = (
    image_case("repvgg_a0", rep_vgg, "input", tags=tags("vision", "convolution", "branches")),
    image_case("mobileone_s0", mobile_one, "input", tags=tags("vision", "convolution", "branches")),
    image_case("fastvit_t8", fast_vit, "input", tags=tags("vision", "convolution", "branches")),
    image_case("detector", Detector, side=320, tags=tags("vision", "convolution", "branches")),
)
