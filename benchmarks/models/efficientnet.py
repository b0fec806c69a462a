"""EfficientNet-B0. Tan & Le 2019, "EfficientNet: Rethinking Model Scaling", table 1."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import image_case, tags


class Stage(NamedTuple):
    """A run of `depth` MBConv blocks; the first has the stride."""

    expansion: int
    kernel: int
    stride: int
    out: int
    depth: int


B0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


def convolution(
    inner: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Convolution, batch normalization and, unless told otherwise, an in-place SiLU."""
    layers = [
        nn.Conv2d(inner, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.SiLU(inplace=True),
    ]
    return nn.Sequential(*layers[: 3 if activation else 2])


class SqueezeExcitation(nn.Module):
    """Channels rescaled by a sigmoid gate computed from their global means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = x.mean((2, 3), keepdim=True)
        scale = self.expand(F.silu(self.reduce(scale), inplace=True))
        return x * scale.sigmoid()


class StochasticDepth(nn.Module):
    """Drops a sample's residual branch while training. Huang et al. 2016, "Deep Networks with Stochastic Depth"."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        return x * torch.empty(x.shape[0], 1, 1, 1, device=x.device).bernoulli_(keep).div_(keep)


class MBConv(nn.Module):
    """Expand, depthwise, squeeze and excite, project; a shortcut where shapes allow."""

    def __init__(self, channels: int, out: int, stage: Stage, stride: int, drop: float) -> None:
        super().__init__()
        expanded = channels * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers.append(convolution(channels, expanded, 1))
        layers.append(convolution(expanded, expanded, stage.kernel, stride, groups=expanded))
        layers.append(SqueezeExcitation(expanded, max(1, channels // 4)))
        layers.append(convolution(expanded, out, 1, activation=False))
        self.block = nn.Sequential(*layers)
        self.use_shortcut = stride == 1 and channels == out
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x)
        return self.stochastic_depth(out) + x if self.use_shortcut else out


class EfficientNet(nn.Module):
    """f32[n, 3, h, w] -> logits f32[n, classes]."""

    def __init__(self, stages: tuple[Stage, ...] = B0, classes: int = 1000, drop: float = 0.2) -> None:
        super().__init__()
        total, done, channels = sum(stage.depth for stage in stages), 0, 32
        layers: list[nn.Module] = [convolution(3, channels, 3, stride=2)]
        for stage in stages:
            for index in range(stage.depth):
                layers.append(MBConv(channels, stage.out, stage, 1 if index else stage.stride, drop * done / total))
                channels, done = stage.out, done + 1
        layers.append(convolution(channels, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(drop, inplace=True), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


CASES = (image_case("efficientnet_b0", EfficientNet, tags=tags("vision", "convolution", "inplace")),)
