"""DenseNet-121. Huang et al. 2016, "Densely Connected Convolutional Networks"."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import image_case, tags


class DenseLayer(nn.Module):
    """The list of all features so far -> `growth` new channels, by a 1x1 bottleneck and a 3x3 convolution."""

    def __init__(self, channels: int, growth: int, bottleneck: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nn.ModuleList):
    """Layers that each read the outputs of all before."""

    def __init__(self, depth: int, channels: int, growth: int) -> None:
        super().__init__(DenseLayer(channels + index * growth, growth) for index in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self:
            features.append(layer(features))
        return torch.cat(features, 1)


def transition(channels: int) -> nn.Sequential:
    """Half the channels, half the resolution."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels // 2, 1, bias=False),
        nn.AvgPool2d(2),
    )


class DenseNet(nn.Module):
    """f32[n, 3, h, w] -> logits f32[n, classes]."""

    def __init__(self, depths: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32, classes: int = 1000) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        for index, depth in enumerate(depths):
            if index:
                layers.append(transition(channels))
                channels //= 2
            layers.append(DenseBlock(depth, channels, growth))
            channels += depth * growth
        layers.append(nn.BatchNorm2d(channels))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        x = torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)
        return self.classifier(x)


CASES = (image_case("densenet121", DenseNet, tags=tags("vision", "convolution", "inplace")),)
